/**
 * An expectation that came after the seal: the sealed bytes are held against it, and nothing is changed.
 */
import { createHash } from 'node:crypto'
import type { UploadRecord } from '../disk/checkpoint.js'
import { TempFile, TempFileDamagedError } from '../disk/temp-file.js'
import { SpoolError } from '../errors.js'
import type { UploadContext } from './context.js'
import { firstMismatch, type Expectation } from './expectation.js'
import { hasFreedParts } from './freed-parts.js'
import type { UploadSettings } from './options.js'
import type { Finishable } from './phase.js'

/** Of bytes that are not here any more: equal to no digest. */
const UNKNOWN_DIGEST = 'not known (its bytes are only on OSS)'

/** @throws SpoolError `ERR_SPOOL_EXPECTATION`, or `ERR_SPOOL_CORRUPT` for bytes that are not what they were */
export async function checkSealedBytes(
  { id, claim }: UploadContext,
  record: UploadRecord | undefined,
  settings: UploadSettings,
): Promise<void> {
  if (record?.phase !== 'sealed' && record?.phase !== 'completing') return
  const digests = await computeDigests(claim.directory, record, settings.expect).catch(
    async (error: unknown) => {
      throw error instanceof TempFileDamagedError ? await claim.quarantine(error) : error
    },
  )
  const miss = firstMismatch(settings, { bytes: record.size, crc64: record.crc64, ...digests })
  if (miss === undefined) return
  throw new SpoolError(
    'ERR_SPOOL_EXPECTATION',
    `The sealed upload ${id} is not what was expected: ${miss}; it stays as it is`,
    { id, hint: `"oss-spool resume ${id}" publishes it all the same.` },
  )
}

/** The digests that `expect` names, in hex. Reads the file only if there are any. */
async function computeDigests(
  directory: string,
  record: Finishable,
  expect: Expectation,
): Promise<{ md5?: string; sha256?: string }> {
  const names = (['md5', 'sha256'] as const).filter(algorithm => expect[algorithm] !== undefined)
  if (names.length === 0) return {}
  const { file: name, size, met } = record
  if (hasFreedParts(record)) {
    return Object.fromEntries(
      names.map(algorithm => [algorithm, met?.[algorithm] ?? UNKNOWN_DIGEST]),
    )
  }
  const hashes = names.map(algorithm => createHash(algorithm))
  const file = await TempFile.open(directory, name)
  try {
    if (file.size !== size) {
      throw file.damagedError(`The temp file has ${file.size} bytes instead of ${size}`)
    }
    for await (const chunk of file.chunks(0, size)) {
      for (const hash of hashes) hash.update(chunk)
    }
  } finally {
    await file.close()
  }
  return Object.fromEntries(names.map((algorithm, i) => [algorithm, hashes[i]!.digest('hex')]))
}
