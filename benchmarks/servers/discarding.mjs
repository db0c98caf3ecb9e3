/**
 * A server that costs next to nothing: it discards bodies after computing their CRC-64, keeps names, sizes and CRC-64
 * in memory, and ignores signatures. It has the requests with which S3 and OSS take uploads, which are the same in
 * both protocols. `@aws-sdk/lib-storage` and `rclone` send to it, and cases that an emulator would slow down.
 */
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { combineCrc64, Crc64, EMPTY_CRC64 } from '../../.build/crc64.js'
import { listening } from './listening.mjs'

const CRC_HEADER = 'x-oss-hash-crc64ecma'

export function startDiscarding() {
  const uploads = new Map()
  const objects = new Map()

  const answers = {
    initiate({ path }) {
      const id = randomBytes(8).toString('hex')
      uploads.set(id, new Map())
      return xml('InitiateMultipartUploadResult', `<Key>${path}</Key><UploadId>${id}</UploadId>`)
    },
    put({ id, number, path }, body) {
      if (id === null) objects.set(path, body)
      else uploads.get(id)?.set(number, body)
      return { status: 200, headers: { etag: body.etag, [CRC_HEADER]: String(body.crc) } }
    },
    complete({ id, path }) {
      const parts = [...(uploads.get(id) ?? [])].toSorted(([a], [b]) => a - b)
      let crc = EMPTY_CRC64
      for (const [, part] of parts) crc = combineCrc64(crc, part.crc, part.size)
      const size = parts.reduce((sum, [, part]) => sum + part.size, 0)
      objects.set(path, { size, crc, etag: '"multipart"' })
      uploads.delete(id)
      const reply = xml('CompleteMultipartUploadResult', `<ETag>"multipart"</ETag>`)
      return { ...reply, headers: { ...reply.headers, [CRC_HEADER]: String(crc) } }
    },
    head({ path }) {
      const object = objects.get(path)
      if (object === undefined) return { status: 404 }
      const { size, etag, crc } = object
      const modified = { 'last-modified': new Date().toUTCString() }
      const headers = { 'content-length': size, etag, [CRC_HEADER]: String(crc), ...modified }
      return { status: 200, headers }
    },
  }

  return listening(
    createServer((request, response) => {
      const { pathname: path, searchParams } = new URL(request.url, 'http://server')
      const id = searchParams.get('uploadId')
      const number = Number(searchParams.get('partNumber'))
      const answer = answers[nameOf(request.method, searchParams)]
      take(request, received => {
        const { status, headers, body } = answer({ id, number, path }, received)
        response.writeHead(status, { 'x-oss-request-id': 'bench', ...headers }).end(body)
      })
    }),
  )
}

function nameOf(method, query) {
  if (method === 'PUT') return 'put'
  if (method === 'POST') return query.has('uploads') ? 'initiate' : 'complete'
  return 'head'
}

function xml(name, inner) {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<${name}>${inner}</${name}>`
  return { status: 200, headers: { 'content-type': 'application/xml' }, body }
}

/** Reads a body, which may be in AWS's own chunked encoding. */
function take(request, then) {
  const crc = new Crc64()
  let size = 0
  const put = bytes => {
    size += bytes.length
    crc.update(bytes)
  }
  const chunked = (request.headers['content-encoding'] ?? '').includes('aws-chunked')
  request.on('data', chunked ? awsChunks(put) : put)
  request.on('end', () => {
    then({ size, crc: crc.digest(), etag: `"${randomBytes(16).toString('hex')}"` })
  })
}

/** Decodes `SIZE;...\r\n`, SIZE bytes, `\r\n`, ..., a chunk of 0 bytes, trailers. */
function awsChunks(put) {
  let head = ''
  let left = -2 // the line end after the bytes of a chunk
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
