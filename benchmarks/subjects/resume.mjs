/** Finishes what an earlier process had sealed: the same spool directory, no source. */
import { Spool } from '../../dist/index.js'

export const where = 'oss'

export async function run({ places, spool: dir, id, parallel }) {
  const spool = new Spool({ client: places.oss, dir, parallel })
  const { sent, skipped, sourceRead } = await spool.resume(id)
  if (sourceRead || skipped === 0) throw new Error('nothing was there to be skipped')
  return { sent, skipped }
}
