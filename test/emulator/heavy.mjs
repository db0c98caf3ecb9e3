/**
 * Checks that are too heavy for every run of the tests: the emulator's memory during 64 parallel uploads of
 * 8 MiB parts, and while a 5 GiB object is uploaded and downloaded. Needs about 8 GiB of disk.
 *
 *     npm run build && node test/emulator/heavy.mjs
 *
 * The emulator runs in its own process, so that its memory can be measured. Exits with 1 if the limit is
 * exceeded or a checksum differs.
 */
import { spawn } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Crc64, combineCrc64 } from '../../.build/crc64.js'
import { startEmulator } from '../../dist/emulator/index.js'

const MIB = 2 ** 20
const LIMIT = 200 * MIB

if (process.argv[2] === 'serve') await serve(process.argv[3])
else await main()

async function serve(dir) {
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  process.on('message', message => {
    if (message === 'close') void oss.close().then(() => process.disconnect())
    else
      process.send({ rss: process.memoryUsage().rss, peak: process.resourceUsage().maxRSS * 1024 })
  })
  process.send({ port: oss.port, credentials: oss.credentials })
}

async function main() {
  const cases = [
    { name: '64 parallel uploads of 4 parts of 8 MiB', run: manyUploads },
    { name: 'upload and download of a 5 GiB object', run: bigObject },
  ]
  for (const { name, run } of cases) {
    const dir = await mkdtemp(join(tmpdir(), 'oss-heavy-'))
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), 'serve', dir], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    try {
      const [{ port, credentials }] = await once(child, 'message')
      const before = await memory(child)
      const start = performance.now()
      const bytes = await run(clientOf(port, credentials))
      const seconds = (performance.now() - start) / 1000
      const { peak } = await memory(child)
      const mib = value => (value / MIB).toFixed(0)
      console.log(
        `${name}: ${seconds.toFixed(1)} s, ${mib(bytes / seconds)} MiB/s, ` +
          `peak RSS ${mib(peak)} MiB (idle ${mib(before.rss)} MiB)`,
      )
      if (peak > LIMIT) {
        console.error(`peak RSS exceeds ${LIMIT / MIB} MiB`)
        process.exitCode = 1
      }
      child.send('close')
      await once(child, 'exit')
    } finally {
      child.kill()
      await rm(dir, { recursive: true, force: true })
    }
  }
}

async function memory(child) {
  child.send('memory')
  const [usage] = await once(child, 'message')
  return usage
}

async function manyUploads(send) {
  const part = Buffer.alloc(8 * MIB, 'some bytes')
  const uploads = Array.from({ length: 64 }, async (_, i) => {
    const key = `/bkt/k${i}`
    const { body } = await send('POST', `${key}?uploads`)
    const id = /<UploadId>(.*)<\/UploadId>/.exec(body)[1]
    const etags = []
    for (let number = 1; number <= 4; number++) {
      const put = await send('PUT', `${key}?partNumber=${number}&uploadId=${id}`, [part])
      etags.push(`<Part><PartNumber>${number}</PartNumber><ETag>${put.headers.etag}</ETag></Part>`)
    }
    const xml = `<CompleteMultipartUpload>${etags.join('')}</CompleteMultipartUpload>`
    const done = await send('POST', `${key}?uploadId=${id}`, [Buffer.from(xml)])
    if (done.status !== 200) throw new Error(done.body)
  })
  await Promise.all(uploads)
  return 64 * 4 * part.length
}

async function bigObject(send) {
  const chunk = Buffer.alloc(4 * MIB, 'more bytes')
  const count = 5 * 256
  const crc = new Crc64()
  crc.update(chunk)
  const one = crc.digest()
  let whole = 0n
  for (let i = 0; i < count; i++) whole = combineCrc64(whole, one, chunk.length)
  const put = await send(
    'PUT',
    '/bkt/big',
    Array.from({ length: count }, () => chunk),
  )
  if (put.headers['x-oss-hash-crc64ecma'] !== String(whole))
    throw new Error('CRC64 of the uploaded object differs')
  let size = 0
  crc.reset()
  await send('GET', '/bkt/big', [], bytes => {
    size += bytes.length
    crc.update(bytes)
  })
  if (crc.digest() !== whole || size !== count * chunk.length)
    throw new Error('size or CRC64 of the downloaded object differs')
  return 2 * size
}

function clientOf(port, { accessKeyId, accessKeySecret }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  return async (method, resource, body = [], onData) => {
    const date = new Date().toUTCString()
    const text = `${method}\n\n\n${date}\nx-oss-date:${date}\n${resource}`
    const signature = createHmac('sha1', accessKeySecret).update(text).digest('base64')
    const headers = {
      'x-oss-date': date,
      Authorization: `OSS ${accessKeyId}:${signature}`,
      'Content-Length': body.reduce((sum, chunk) => sum + chunk.length, 0),
    }
    const outgoing = request({ host: '127.0.0.1', port, method, path: resource, headers, agent })
    const answered = once(outgoing, 'response')
    for (const chunk of body) if (!outgoing.write(chunk)) await once(outgoing, 'drain')
    outgoing.end()
    const [incoming] = await answered
    const chunks = []
    for await (const chunk of incoming)
      if (onData) onData(chunk)
      else chunks.push(chunk)
    return {
      status: incoming.statusCode,
      headers: incoming.headers,
      body: Buffer.concat(chunks).toString(),
    }
  }
}
