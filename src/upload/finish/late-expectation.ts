/**
 * Checks an expectation that is given after the seal, against the sealed bytes. It refers to the bytes of the source:
 * those of a compressed upload are described in its record, or decompressed again. Changes nothing.
 */
import { createHash } from 'node:crypto'
import { isFinishable, type Finishable, type UploadRecord } from '../../disk/checkpoint.js'
import { openSpoolFile } from '../../disk/open-spool-file.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { SpoolError } from '../../errors.js'
import type { UploadContext } from '../run/context.js'
import { firstMismatch, type Expectation } from '../model/expectation.js'
import { hasFreedParts } from '../model/freed-parts.js'
import type { UploadSettings } from '../model/options.js'
import { ByteTransform } from '../../util/byte-transform.js'
import { createDecompressor } from '../../util/compression.js'
import { errorMessage } from '../../util/error-shape.js'

type Digests = Pick<Expectation, 'md5' | 'sha256'>
type DigestName = keyof Digests

/** Placeholder for a digest that cannot be computed; matches nothing. */
const ONLY_ON_OSS = 'unknown (its bytes are only on OSS)'

/**
 * Checks the sealed bytes of `record`, if it is sealed, against `settings.expect` and `settings.size`.
 * @throws SpoolError `ERR_SPOOL_EXPECTATION`, or `ERR_SPOOL_CORRUPT` if the bytes are damaged
 */
export async function checkLateExpectation(
  { id, claim }: UploadContext,
  record: UploadRecord | undefined,
  settings: UploadSettings,
): Promise<void> {
  if (!isFinishable(record)) return
  const { size, crc64 } = record.source ?? record
  const digests = await findDigests(claim.directory, record, settings.expect).catch(
    async (error: unknown) => {
      throw error instanceof TempFileDamagedError ? await claim.quarantine(error) : error
    },
  )
  const mismatch = firstMismatch(settings, { size, crc64, ...digests })
  if (mismatch === undefined) return
  throw new SpoolError(
    'ERR_SPOOL_EXPECTATION',
    `The sealed upload ${id} does not meet the expectation: ${mismatch}. It was not changed`,
    { id, hint: say => `To publish it anyway, ${say.resume(id)}.` },
  )
}

/** Returns the digests that `expect` contains, in hex. Reads the file only if the record does not have them. */
async function findDigests(
  directory: string,
  record: Finishable,
  expect: Expectation,
): Promise<Digests> {
  const { met, source } = record
  const expected = (['md5', 'sha256'] as const).filter(name => expect[name] !== undefined)
  const recorded: Digests = source ?? met ?? {}
  const missing = expected.filter(name => recorded[name] === undefined)
  if (missing.length === 0) return recorded
  return { ...recorded, ...(await computeDigests(directory, record, missing)) }
}

async function computeDigests(
  directory: string,
  record: Finishable,
  names: readonly DigestName[],
): Promise<Digests> {
  const unknown = (reason: string): Digests => Object.fromEntries(names.map(name => [name, reason]))
  if (hasFreedParts(record)) return unknown(ONLY_ON_OSS)
  const { file: fileName, size, source } = record
  const decompressor = source === undefined ? undefined : createDecompressor(source.compression)
  if (source !== undefined && decompressor === undefined) {
    return unknown(`unknown (Node ${process.version} cannot decompress ${source.compression})`)
  }
  const hashes = names.map(name => createHash(name))
  const update = (chunk: Uint8Array): void => hashes.forEach(hash => void hash.update(chunk))
  const file = await openSpoolFile(directory, fileName)
  try {
    if (file.size !== size) {
      throw file.damagedError(`The temp file has ${file.size} bytes instead of ${size}`)
    }
    if (decompressor === undefined) {
      for await (const chunk of file.chunks(0, size)) update(chunk)
    } else {
      await decompress(file, new ByteTransform(decompressor, update))
    }
  } finally {
    await file.close()
  }
  return Object.fromEntries(names.map((name, i) => [name, hashes[i]!.digest('hex')]))
}

/** Passes the whole file through a decompressor. @throws TempFileDamagedError if it is not what was compressed */
async function decompress(file: SpoolFile, transform: ByteTransform): Promise<void> {
  try {
    for await (const chunk of file.chunks(0, file.size)) await transform.write(chunk)
    await transform.end()
  } catch (error) {
    if (error instanceof TempFileDamagedError) throw error
    throw file.damagedError(`The temp file cannot be decompressed: ${errorMessage(error)}`)
  } finally {
    transform.destroy()
  }
}
