/**
 * Archives a folder of log files as one tar.gz: `node archive-logs.mjs FOLDER`. If a log grows meanwhile,
 * the archive has the bytes that it had when it was opened; if one shrinks or disappears, nothing is
 * published. Run again on the same day after a failure of OSS, the script finishes the sealed upload.
 */
import { open, readdir } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { Spool } from 'oss-spool'
import chain from 'stream-chain'
import { pack } from 'tar-stream'
import { openOss } from './oss.mjs'

const folder = resolve(process.argv[2] ?? '.')
const day = new Date().toISOString().slice(0, 10)
const oss = await openOss()
const spool = new Spool({ client: oss.client })

function archive() {
  const tar = pack()
  fill(tar).then(
    () => tar.finalize(),
    error => tar.destroy(error),
  )
  return chain([tar, createGzip()])
}

async function fill(tar) {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const file = await open(path)
    const { size, mtime, mode } = await file.stat()
    const header = { name: relative(dirname(folder), path), size, mtime, mode }
    const bytes = size === 0 ? [] : file.createReadStream({ end: size - 1 })
    await pipeline(bytes, tar.entry(header))
    await file.close()
  }
}

const key = `logs/${basename(folder)}-${day}.tar.gz`
console.log(await spool.upload(key, archive, { mime: 'application/gzip' }))
await oss.close()
