/** A temp file, then `multipartUpload`, which writes its checkpoint to `lowdb` after each part. */
import { createWriteStream } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import { JSONFilePreset } from 'lowdb/node'

export const where = 'oss'

export async function run({ places, dir, key, partSize, parallel, source }) {
  const file = join(dir, 'temp')
  await pipeline(source, createWriteStream(file))
  const db = await JSONFilePreset(join(dir, 'checkpoints.json'), {})
  await new OSS({ ...places.oss, timeout: 600_000 }).multipartUpload(key, file, {
    partSize,
    parallel,
    progress: async (_fraction, checkpoint) => {
      db.data[key] = checkpoint
      await db.write()
    },
  })
  await unlink(file)
}
