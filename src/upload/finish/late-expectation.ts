/** Checks an expectation that is given after the seal, against the sealed bytes. Changes nothing. */
import { createHash } from 'node:crypto'
import { isFinishable, type Finishable, type UploadRecord } from '../../disk/checkpoint.js'
import { openSpoolFile } from '../../disk/open-spool-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { SpoolError } from '../../errors.js'
import type { UploadContext } from '../run/context.js'
import { firstMismatch, type Expectation } from '../model/expectation.js'
import { hasFreedParts } from '../model/freed-parts.js'
import type { UploadSettings } from '../model/options.js'

/** Placeholder for a digest that cannot be computed; matches nothing. */
const UNKNOWN_DIGEST = 'unknown (its bytes are only on OSS)'

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
  const digests = await computeDigests(claim.directory, record, settings.expect).catch(
    async (error: unknown) => {
      throw error instanceof TempFileDamagedError ? await claim.quarantine(error) : error
    },
  )
  const mismatch = firstMismatch(settings, { bytes: record.size, crc64: record.crc64, ...digests })
  if (mismatch === undefined) return
  throw new SpoolError(
    'ERR_SPOOL_EXPECTATION',
    `The sealed upload ${id} does not meet the expectation: ${mismatch}. It was not changed`,
    { id, hint: say => `To publish it anyway, ${say.resume(id)}.` },
  )
}

/** Returns the digests that `expect` contains, in hex. Reads the file only if there are any. */
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
  const file = await openSpoolFile(directory, name)
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
