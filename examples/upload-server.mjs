/**
 * Takes a file of a form by HTTP and streams it to OSS: `node upload-server.mjs [PORT]`, then
 * `curl -F file=@photo.jpg http://127.0.0.1:8080/`. A request that is cut, or a file that is too large, publishes nothing.
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { finished, pipeline } from 'node:stream/promises'
import busboy from 'busboy'
import { Spool } from 'oss-spool'
import { openOss } from './oss.mjs'

const MAX_BYTES = Number(process.env.MAX_BYTES ?? 100 * 1024 * 1024)
const oss = await openOss()
const spool = new Spool({ client: oss.client })

/** Also a handler of Express. In Fastify, call it with `request.raw` and `reply.raw` after `reply.hijack()`. */
export async function receive(request, response) {
  const uploads = []
  try {
    const form = busboy({ headers: request.headers, limits: { fileSize: MAX_BYTES, files: 1 } })
    form.on('filesLimit', () => form.destroy(new Error('Expected one file for each request')))
    form.on('file', (_field, file, { mimeType }) => {
      // busboy ends a file that is too large as if it were whole.
      file.on('limit', () => file.destroy(new Error(`The file has more than ${MAX_BYTES} bytes`)))
      const id = randomUUID()
      const sink = spool.createWriteStream(`uploads/${id}`, { id, mime: mimeType })
      pipeline(file, sink).catch(error => form.destroy(error))
      uploads.push(
        sink.result.catch(async error => {
          await spool.abort(id) // nobody sends these bytes again
          throw error
        }),
      )
    })
    request.on('error', error => form.destroy(error))
    await finished(request.pipe(form))
    const objects = (await Promise.all(uploads)).map(({ key, size }) => ({ key, size }))
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify(objects))
  } catch (error) {
    await Promise.allSettled(uploads)
    console.error(error.message)
    request.unpipe().resume() // a client that is still sending does not read the response
    if (!response.destroyed) response.writeHead(400).end('Upload failed\n')
  }
}

const server = createServer((request, response) => void receive(request, response))
server.listen(Number(process.argv[2] ?? 8080), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`)
})
process.once('SIGTERM', () => {
  server.close(() => void oss.close())
})
