/** `fs.createWriteStream` alone, without an upload. */
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

export const where = 'disk'

export async function run({ dir, source }) {
  await pipeline(source, createWriteStream(join(dir, 'file')))
}
