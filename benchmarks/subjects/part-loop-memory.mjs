/** The bare loop: `parallel` workers send parts that are in memory by `uploadPart` calls of `ali-oss`, and nothing else. */
import OSS from 'ali-oss'
import { bytesOf } from '../source.mjs'
import { inParallel } from '../small-objects.mjs'

export const where = 'oss'

export async function run({ places, key, size, partSize, parallel }) {
  const client = new OSS({ ...places.oss, timeout: 600_000 })
  const { uploadId } = await client.initMultipartUpload(key)
  const done = []
  const numbers = Array.from({ length: Math.ceil(size / partSize) }, (_, i) => i + 1)
  await inParallel(parallel, numbers, async number => {
    const bytes = bytesOf((number - 1) * partSize, Math.min(size, number * partSize))
    const { etag } = await client.uploadPart(key, uploadId, number, bytes, 0, bytes.length)
    done.push({ number, etag })
  })
  await client.completeMultipartUpload(key, uploadId, done)
}
