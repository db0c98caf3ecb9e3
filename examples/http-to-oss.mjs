/**
 * An HTTP response, passed on to OSS: `node http-to-oss.mjs URL KEY`. What is published is the whole
 * response: a status that is not 200, a connection that is cut, or fewer bytes than promised publish
 * nothing, and a response whose end can't be told from a cut is not taken at all.
 */
import { pipeline } from 'node:stream/promises'
import { Spool } from 'oss-spool'
import { openOss } from './oss.mjs'

const [url, key] = process.argv.slice(2)
const oss = await openOss()
const spool = new Spool({ client: oss.client })

// The bytes as they are: fetch() would unpack what is compressed on the way, and nothing would count them.
const response = await fetch(url, { headers: { 'accept-encoding': 'identity' } })
const length = response.headers.get('content-length')
const isChunked = response.headers.get('transfer-encoding') === 'chunked'
if (response.status !== 200) throw new Error(`GET ${url}: ${response.status}`)
if (length === null && !isChunked) throw new Error(`GET ${url}: a cut would not be noticed`)

const sink = spool.createWriteStream(key, {
  ...(length !== null && { size: Number(length) }),
  mime: response.headers.get('content-type') ?? 'application/octet-stream',
})
await pipeline(response.body, sink)

console.log(await sink.result)
await oss.close()
