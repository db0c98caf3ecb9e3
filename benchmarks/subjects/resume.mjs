/** Finishes an upload that an earlier process sealed, from the same spool directory and without a source. */
import { Spool } from '../../dist/index.js'

export const where = 'oss'

export async function run({ places, spool: dir, id, parallel }) {
  const spool = new Spool({ client: places.oss, dir, parallel })
  const { sent, skipped, sourceRead } = await spool.resume(id)
  if (sourceRead || skipped === 0) throw new Error('the resume skipped no bytes')
  return { sent, skipped }
}
