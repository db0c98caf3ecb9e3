/**
 * Bytes from the wire into a temp file, hashed on the way and held against what the client said
 * about them. Until an operation takes the file into the store it is nobody's, and a request that
 * breaks off leaves nothing.
 */
import { open } from 'node:fs/promises'
import { OssError } from '../oss-error.js'
import { createDigester, type Digest } from '../store/digest.js'
import { removeFile } from '../store/files.js'
import { touch, type Bytes } from '../store/object-dir.js'
import type { Call } from './call.js'

/** The most a single PUT, POST or part may hold: 5 GB. */
export const MAX_PUT = 5 * 1024 ** 3

/** A body that came in whole. */
export interface Received {
  /** The temp file with its bytes; an empty one where bodies are thrown away. */
  readonly file: string
  /** The same as the body of an object. */
  readonly bytes: Bytes
  readonly digest: Digest
}

/** Takes in the body and hands it to `use`; the temp file is gone after that, if it was not moved. */
export async function receive<T>(call: Call, use: (received: Received) => Promise<T>): Promise<T> {
  const md5 = checkAnnounced(call)
  const file = call.store.fresh()
  try {
    const digest = await save(call.body.chunks(), file, call.settings)
    checkArrived(call, call.settings.verify === true ? md5 : undefined, digest)
    const bytes: Bytes = call.settings.discard ? { kind: 'none' } : { kind: 'file', path: file }
    return await use({ file, bytes, digest })
  } finally {
    await removeFile(file)
  }
}

/** Writes bytes to a new file and digests them; `discard` writes none. */
export async function save(
  bytes: AsyncIterable<Uint8Array>,
  file: string,
  { verify, discard }: Pick<Call['settings'], 'verify' | 'discard'>,
): Promise<Digest> {
  const digester = createDigester(verify)
  if (discard) {
    await touch(file)
    for await (const chunk of bytes) digester.update(chunk)
    return digester.end()
  }
  const handle = await open(file, 'wx', 0o600)
  try {
    for await (const chunk of bytes) {
      const written = handle.writeFile(chunk) // goes on behind what was written before
      digester.update(chunk)
      await written
    }
  } finally {
    await handle.close()
  }
  return digester.end()
}

function checkAnnounced({ headers, body }: Call): string | undefined {
  if (!body.present) throw new OssError('MissingContentLength')
  if ((body.length ?? 0) > MAX_PUT)
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

function checkArrived({ headers }: Call, md5: string | undefined, digest: Digest): void {
  if (digest.size > MAX_PUT) throw new OssError('EntityTooLarge')
  const actual = base64OfHex(digest.md5)
  if (md5 !== undefined && md5 !== actual)
    throw new OssError('InvalidDigest', {
      ec: '0017-00000503',
      extra: { ExpectedDigest: md5, CalculatedDigest: actual },
    })
  const crc64 = headers.get('x-oss-hash-crc64ecma')
  if (digest.crc64 === undefined) return // hashing is off
  if (crc64 !== undefined && crc64 !== String(digest.crc64)) throw new OssError('InvalidCRC64')
}

/** `Content-MD5` of an MD5 in hex. */
export function base64OfHex(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64')
}

/** The reply headers that tell what came in. */
export function digestHeaders({ md5, crc64 }: Digest): Record<string, string> {
  return {
    ETag: `"${md5}"`,
    ...(crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': String(crc64) }),
    'Content-MD5': base64OfHex(md5),
  }
}
