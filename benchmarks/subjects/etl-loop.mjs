/**
 * The same objects with a hand-written loop: gzip to a file per object, then `client.put`. It batches its writes and
 * uploads in the background, as `rotate` does, and checks nothing.
 */
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import OSS from 'ali-oss'
import { sourceOfRecords } from '../records.mjs'

export const where = 'many'
export { check } from '../records.mjs'

const BATCH_CHARACTERS = 64 * 1024
const MAX_UPLOADS = 8

export async function run({ places, dir, key, size, perObject }) {
  const client = new OSS(places.oss)
  const open = new Map()
  const sequences = new Map()
  const uploads = new Set()

  const begin = partition => {
    const seq = sequences.get(partition) ?? 0
    sequences.set(partition, seq + 1)
    const name = `${partition}-${seq}.jsonl.gz`
    const path = join(dir, name)
    const gzip = createGzip()
    const file = gzip.pipe(createWriteStream(path))
    const object = { name, path, gzip, file, text: '', records: 0 }
    open.set(partition, object)
    return object
  }
  const upload = async ({ name, path, gzip, file, text }) => {
    gzip.end(text)
    await finished(file)
    await client.put(`${key}/${name}`, path)
    await unlink(path)
  }
  const end = async partition => {
    const uploading = upload(open.get(partition)).finally(() => uploads.delete(uploading))
    open.delete(partition)
    uploads.add(uploading)
    if (uploads.size > MAX_UPLOADS) await Promise.race(uploads)
  }

  for await (const record of sourceOfRecords(size)) {
    const { partition } = record
    const object = open.get(partition) ?? begin(partition)
    object.text += `${JSON.stringify(record)}\n`
    if (object.text.length >= BATCH_CHARACTERS) {
      const text = object.text
      object.text = ''
      if (!object.gzip.write(text)) await once(object.gzip, 'drain')
    }
    if (++object.records >= perObject) await end(partition)
  }
  for (const partition of open.keys()) await end(partition)
  await Promise.all(uploads)
}
