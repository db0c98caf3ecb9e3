/**
 * Uploads an HTTP response to OSS: `node http-to-oss.mjs URL KEY`. Only a whole response is published: not
 * one with a status other than 200, with a cut connection, or with fewer bytes than announced. A response
 * whose end cannot be distinguished from a cut is rejected at once.
 */
import { pipeline } from 'node:stream/promises'
import { Spool } from 'oss-spool'
import { openOss } from './oss.mjs'

const [url, key] = process.argv.slice(2)
const oss = await openOss()
const spool = new Spool({ client: oss.client })

// Request the bytes as they are: fetch() decompresses responses, and then their length could not be checked.
const response = await fetch(url, { headers: { 'accept-encoding': 'identity' } })
const length = response.headers.get('content-length')
const isChunked = response.headers.get('transfer-encoding') === 'chunked'
if (response.status !== 200) throw new Error(`GET ${url}: ${response.status}`)
if (length === null && !isChunked) throw new Error(`GET ${url}: a cut could not be detected`)

const sink = spool.createWriteStream(key, {
  ...(length !== null && { size: Number(length) }),
  mime: response.headers.get('content-type') ?? 'application/octet-stream',
})
await pipeline(response.body, sink)

console.log(await sink.result)
await oss.close()
