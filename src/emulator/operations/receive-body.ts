/**
 * Receives a body into a temp file, hashes it on the way, and checks it against the client's digests.
 * The file is not visible until an operation moves it into the store; an interrupted request leaves
 * nothing.
 */
import { closeSync, openSync, writeFile, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { OssError } from '../oss-error.js'
import { createDigester, type Digest } from '../store/digest.js'
import { removeFile } from '../store/files.js'
import type { StagedBody } from '../store/object-dir.js'
import type { OperationContext } from './operation-context.js'
import { checkTrafficLimit } from './traffic-limit.js'

/** Maximum body of a single PUT, POST or part: 5 GB. */
export const MAX_UPLOAD_BODY_BYTES = 5 * 1024 ** 3

/** Bodies of up to this many bytes are written synchronously: the thread pool would take longer. */
const MAX_SYNC_BODY_BYTES = 256 * 1024

/** Appends bytes to an open file. */
type Append = (fd: number, bytes: Uint8Array) => Promise<void>

const appendAsync: Append = promisify(writeFile)
const appendSync: Append = async (fd, bytes) => writeFileSync(fd, bytes)

/** Bytes in a temp file, or discarded. */
export type StagedFile = Exclude<StagedBody, { readonly kind: 'parts' }>

/** A body that was received completely. */
export interface ReceivedBody {
  readonly staged: StagedFile
  readonly digest: Digest
}

/** Receives the body and passes it to `use`. Removes the temp file afterwards unless it was moved. */
export async function receiveBody<T>(
  context: OperationContext,
  use: (received: ReceivedBody) => Promise<T>,
): Promise<T> {
  const md5 = checkBodyHeaders(context)
  const file = context.store.tempPath()
  try {
    const digest = await writeAndDigest(incomingBytes(context.body), file, context.settings)
    checkReceivedBody(context, context.settings.verify === true ? md5 : undefined, digest)
    const staged: StagedFile = context.settings.discard
      ? { kind: 'none' }
      : { kind: 'file', path: file }
    return await use({ staged, digest })
  } finally {
    await removeFile(file)
  }
}

/** Bytes to write, with their number if it is known. */
export interface IncomingBytes {
  readonly chunks: AsyncIterable<Uint8Array>
  readonly length: number | undefined
}

/** Returns the bytes of a body. One of unknown length is refused as soon as it is too large. */
function incomingBytes(body: OperationContext['body']): IncomingBytes {
  const { length } = body
  const chunks = body.chunks()
  return { chunks: length === undefined ? upTo(MAX_UPLOAD_BODY_BYTES, chunks) : chunks, length }
}

/** Passes on bytes; throws 400 EntityTooLarge once there are more than `max`. */
export async function* upTo(
  max: number,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > max) throw new OssError('EntityTooLarge')
    yield chunk
  }
}

/** Writes bytes to a new file and digests them. With `discard` it only digests them. */
export async function writeAndDigest(
  { chunks, length }: IncomingBytes,
  file: string,
  { verify, discard }: Pick<OperationContext['settings'], 'verify' | 'discard'>,
): Promise<Digest> {
  const digester = createDigester(verify)
  if (discard) {
    for await (const chunk of chunks) digester.update(chunk)
    return digester.end()
  }
  const isSmall = length !== undefined && length <= MAX_SYNC_BODY_BYTES
  const append = isSmall ? appendSync : appendAsync
  const fd = openSync(file, 'wx', 0o600)
  try {
    for await (const chunk of chunks) {
      const written = append(fd, chunk)
      digester.update(chunk)
      await written
    }
  } finally {
    closeSync(fd)
  }
  return digester.end()
}

function checkBodyHeaders(context: OperationContext): string | undefined {
  const { headers, body } = context
  checkTrafficLimit(context)
  if (!body.isPresent) throw new OssError('MissingContentLength')
  if ((body.length ?? 0) > MAX_UPLOAD_BODY_BYTES)
    throw new OssError('InvalidArgument', {
      message: 'The size of the body must not exceed 5 GB.',
    })
  const md5 = headers.get('content-md5')
  if (md5 !== undefined && Buffer.from(md5, 'base64').toString('base64') !== md5)
    throw new OssError('InvalidDigest', { ec: '0017-00000502' })
  if (md5 !== undefined && Buffer.from(md5, 'base64').length !== 16)
    throw new OssError('InvalidDigest', { ec: '0017-00000502' })
  return md5
}

function checkReceivedBody(
  { headers }: OperationContext,
  md5: string | undefined,
  digest: Digest,
): void {
  const actual = hexToBase64(digest.md5)
  if (md5 !== undefined && md5 !== actual)
    throw new OssError('InvalidDigest', {
      ec: '0017-00000503',
      extra: { ExpectedDigest: md5, CalculatedDigest: actual },
    })
  const crc64 = headers.get('x-oss-hash-crc64ecma')
  if (digest.crc64 === undefined) return // hashing is off
  if (crc64 !== undefined && crc64 !== String(digest.crc64)) throw new OssError('InvalidCRC64')
}

/** Converts an MD5 in hex to the base64 of `Content-MD5`. */
export function hexToBase64(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}

/** Returns the reply headers with the digests of the received body. */
export function digestHeaders(
  { md5, crc64 }: Digest,
  { settings }: Pick<OperationContext, 'settings'>,
): Record<string, string> {
  return {
    ETag: `"${md5}"`,
    ...(crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': String(crc64) }),
    ...(settings.verify === true ? { 'Content-MD5': hexToBase64(md5) } : {}), // else it is random
  }
}
