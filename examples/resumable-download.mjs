/**
 * Uploads a large download, and resumes it where it stopped: `node resumable-download.mjs URL KEY`. After a
 * cut, or a rerun after kill -9, it fetches only the bytes after the last whole part (8 MiB). The server
 * must support ranges and strong ETags. The ETag is part of the upload's id ("same id, same content"), so
 * a file that has changed is a new upload.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Spool } from 'oss-spool'
import { openOss } from './oss.mjs'

const [url, key] = [new URL(process.argv[2]), process.argv[3]]
const identity = { 'accept-encoding': 'identity' } // fetch() decompresses responses otherwise
const oss = await openOss()
const { bucket } = oss.client
const spool = new Spool({ client: oss.client })

async function download() {
  const { status, headers } = await fetch(url, { method: 'HEAD', headers: identity })
  const etag = headers.get('etag')
  const size = Number(headers.get('content-length'))
  if (status !== 200 || !etag?.startsWith('"')) throw new Error(`HEAD ${url}: ${status}, ${etag}`)
  const id = createHash('sha256').update(`${bucket} ${key} ${url} ${etag}`).digest('hex')

  for (const begun of await spool.uploads()) {
    const isEarlier = begun.bucket === bucket && begun.key === key && begun.id !== id
    if (isEarlier) await spool.abort(begun.id) // it is of a version that no longer exists
  }
  const source = options => rest(etag, size, options)
  return spool.upload(key, source, { id, size, replay: 'offset' })
}

/** Fetches the bytes from `offset` on, and only if the file still has this ETag. */
async function rest(etag, size, { offset, signal }) {
  if (offset === size) return []
  const headers = { ...identity, range: `bytes=${offset}-`, 'if-range': etag }
  const response = await fetch(url, { headers, signal })
  const [, from] = response.headers.get('content-range')?.match(/^bytes (\d+)-/) ?? []
  if (response.status === 206 && Number(from) === offset) return response.body
  await response.body?.cancel()
  throw new Error(
    `GET ${url} from ${offset}: ${response.status}: the file has changed, or the server does not support ranges`,
  )
}

for (let attempt = 1; ; attempt++) {
  try {
    console.log(await download())
    break
  } catch (error) {
    // fetch() rejects with a TypeError if the connection fails.
    const isCut = error.code === 'ERR_SPOOL_SOURCE_FAILED' || error instanceof TypeError
    if (!isCut || attempt === 10) throw error
    console.error(`${(error.cause ?? error).message}; retrying`)
    await sleep(attempt * 500)
  }
}
await oss.close()
