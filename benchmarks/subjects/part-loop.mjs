/**
 * The loop that most people write: the bytes go to a file while `parallel` concurrent workers send them by `uploadPart`
 * calls of `ali-oss`. Nothing is checked, retried or remembered.
 */
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import { sourceOf } from '../source.mjs'

export const where = 'oss'

export async function run({ places, dir, key, size, partSize, parallel, source }) {
  const client = new OSS({ ...places.oss, timeout: 600_000 })
  const writing = pipeline(source, createWriteStream(join(dir, 'file')))
  const { uploadId } = await client.initMultipartUpload(key)
  const parts = []
  const bodies = inParts(sourceOf(size), partSize)
  const worker = async () => {
    for await (const { number, bytes } of bodies) {
      const { etag } = await client.uploadPart(key, uploadId, number, bytes, 0, bytes.length)
      parts.push({ number, etag })
    }
  }
  await Promise.all([writing, ...Array.from({ length: parallel }, worker)])
  await client.completeMultipartUpload(key, uploadId, parts)
}

/** Yields parts to all workers from one generator, which a worker cannot end for the others. */
function inParts(source, partSize) {
  const cut = (async function* () {
    let number = 1
    let held = []
    let size = 0
    for await (let chunk of source) {
      while (size + chunk.length >= partSize) {
        const piece = chunk.subarray(0, partSize - size)
        yield { number: number++, bytes: Buffer.concat([...held, piece]) }
        chunk = chunk.subarray(piece.length)
        held = []
        size = 0
      }
      if (chunk.length > 0) held.push(chunk)
      size += chunk.length
    }
    if (size > 0) yield { number, bytes: Buffer.concat(held) }
  })()
  return { [Symbol.asyncIterator]: () => ({ next: () => cut.next() }) }
}
