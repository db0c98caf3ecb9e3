/**
 * A server in S3's form that throws bodies away and does to each byte what the emulator does: CRC-64,
 * no MD5. Only what `@aws-sdk/lib-storage` and `rclone` ask for; signatures are not looked at. The
 * whole object's size and CRC-64 are in the reply to Complete, where the bench checks them.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { combineCrc64, Crc64, EMPTY_CRC64 } from '../../dist/crc64.js'
import { listening } from './listening.mjs'

export function startS3() {
  const uploads = new Map()
  const objects = new Map()
  return listening(
    createServer((request, response) => {
      const url = new URL(request.url, 'http://s3')
      const id = url.searchParams.get('uploadId')
      const xml = (name, inner) =>
        response
          .writeHead(200, { 'content-type': 'application/xml' })
          .end(`<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${inner}</${name}>`)
      if (request.method === 'POST' && url.searchParams.has('uploads')) {
        const made = randomBytes(8).toString('hex')
        uploads.set(made, new Map())
        request.resume()
        return xml('InitiateMultipartUploadResult', `<UploadId>${made}</UploadId>`)
      }
      if (request.method === 'PUT') {
        return take(request).then(part => {
          if (id === null) objects.set(url.pathname, part)
          else uploads.get(id)?.set(Number(url.searchParams.get('partNumber')), part)
          response.writeHead(200, { etag: part.etag }).end()
        })
      }
      if (request.method === 'POST' && id !== null) {
        const parts = [...(uploads.get(id) ?? [])].toSorted(([a], [b]) => a - b)
        let crc = EMPTY_CRC64
        for (const [, part] of parts) crc = combineCrc64(crc, part.crc, part.size)
        const size = parts.reduce((sum, [, part]) => sum + part.size, 0)
        objects.set(url.pathname, { size, crc, etag: '"multipart"' })
        request.resume()
        return xml('CompleteMultipartUploadResult', `<ETag>"${size}-${crc}"</ETag>`)
      }
      request.resume()
      const object = objects.get(url.pathname)
      const headers = object && {
        'content-length': object.size,
        etag: object.etag,
        'last-modified': new Date().toUTCString(),
        'x-bench-crc64': String(object.crc),
      }
      response.writeHead(object ? 200 : 404, headers).end()
    }),
  )
}

/** Reads a body, also one in AWS's own chunks. */
async function take(request) {
  const crc = new Crc64()
  let size = 0
  const put = bytes => {
    size += bytes.length
    crc.update(bytes)
  }
  const chunked = (request.headers['content-encoding'] ?? '').includes('aws-chunked')
  const feed = chunked ? awsChunks(put) : put
  for await (const chunk of request) feed(chunk)
  return { size, crc: crc.digest(), etag: `"${randomBytes(16).toString('hex')}"` }
}

/** `SIZE;...\r\n`, so many bytes, `\r\n`, ..., a chunk of 0 bytes, trailers. */
function awsChunks(put) {
  let head = ''
  let left = -2 // what follows a chunk's bytes: its line end
  return bytes => {
    let at = 0
    while (at < bytes.length) {
      if (left > 0) {
        const piece = bytes.subarray(at, at + left)
        put(piece)
        left -= piece.length
        at += piece.length
        continue
      }
      const end = bytes.indexOf(10, at)
      head += bytes.toString('latin1', at, end < 0 ? bytes.length : end)
      at = end < 0 ? bytes.length : end + 1
      if (end < 0) continue
      if (head.trim() !== '') left = Number.parseInt(head, 16) || 0
      head = ''
    }
  }
}
