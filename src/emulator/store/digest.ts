/** MD5 and CRC-64 of bytes in one pass. */
import { createHash, randomBytes } from 'node:crypto'
import { Crc64 } from '../../crc64.js'

/** The digests of some bytes. */
export interface Digest {
  /** Number of bytes. */
  readonly size: number
  /** Upper-case hex. Random if MD5 is off, since OSS guarantees only that an ETag is unique. */
  readonly md5: string
  /** Absent if CRC-64 is off. */
  readonly crc64?: bigint
}

/** A running digest. */
export interface Digester {
  update(bytes: Uint8Array): void
  end(): Digest
}

/**
 * Creates a digester.
 *
 * @param verify – true for MD5 and CRC-64, `'crc64'` for CRC-64 only, false to count bytes only
 */
export function createDigester(verify: boolean | 'crc64'): Digester {
  let size = 0
  const md5 = verify === true ? createHash('md5') : undefined
  const crc = verify === false ? undefined : new Crc64()
  return {
    update(bytes) {
      size += bytes.length
      md5?.update(bytes)
      crc?.update(bytes)
    },
    end() {
      const hex = md5?.digest('hex') ?? randomBytes(16).toString('hex')
      return { size, md5: hex.toUpperCase(), ...(crc && { crc64: crc.digest() }) }
    },
  }
}

/**
 * Returns the ETag of a multipart object: MD5 over the upper-case hex MD5s of its parts, a hyphen, their
 * number. Derived from a recorded reply of the service; its documentation guarantees only uniqueness.
 */
export function multipartETag(md5s: readonly string[]): string {
  const md5 = createHash('md5').update(md5s.join('')).digest('hex').toUpperCase()
  return `${md5}-${md5s.length}`
}
