/**
 * The floor of a durable upload: the steps on the disk that each small object of oss-spool takes, without a library,
 * and then `client.put` from memory. What oss-spool costs beyond this is its own.
 */
import { randomBytes } from 'node:crypto'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import OSS from 'ali-oss'
import { inParallel, objects } from '../small-objects.mjs'

export const where = 'many'
export { check } from '../small-objects.mjs'

// Cheaper than `node:fs/promises`, and a synchronous call where no disk is waited for: as in oss-spool.
const [mkdir, open, write, fsync, rename, unlink, rmdir] = [
  fs.mkdir,
  fs.open,
  fs.write,
  fs.fdatasync,
  fs.rename,
  fs.unlink,
  fs.rmdir,
].map(call => promisify(call))

/** Bytes of a checkpoint of a small object. */
const RECORD = Buffer.alloc(1_100, '{"a":1} ')

export async function run({ places, dir, key, size, parallel }) {
  const client = new OSS(places.oss)
  const syncs = sharedSyncs(dir)
  await inParallel(parallel, objects(key, size), async ({ name, bytes }) => {
    const upload = join(dir, randomBytes(8).toString('hex'))
    await mkdir(upload)
    await syncs.run()
    fs.writeFileSync(join(upload, 'lock'), 'owner')
    await writeSynced(join(upload, 'bytes'), bytes)
    await writeSynced(join(upload, 'record.tmp'), RECORD)
    await rename(join(upload, 'record.tmp'), join(upload, 'record'))
    await sync(upload)
    await client.put(name, bytes)
    const removed = `${upload}.removed`
    await rename(upload, removed)
    await syncs.run()
    for (const file of ['lock', 'bytes', 'record']) await unlink(join(removed, file))
    await rmdir(removed)
  })
}

async function writeSynced(path, bytes) {
  const file = await open(path, 'wx')
  try {
    await write(file, bytes)
    await fsync(file)
  } finally {
    fs.closeSync(file)
  }
}

async function sync(path) {
  const directory = fs.openSync(path)
  try {
    await fsync(directory)
  } finally {
    fs.closeSync(directory)
  }
}

/** Syncs `dir` for all who ask at the same time. */
function sharedSyncs(dir) {
  let running = Promise.resolve()
  let next
  return {
    run() {
      next ??= running.then(() => {
        next = undefined
        return (running = sync(dir))
      })
      return next
    },
  }
}
