/**
 * Digests of a sealed temp file, for an expectation that came after the seal.
 */
import { createHash } from 'node:crypto'
import { TempFile } from '../disk/temp-file.js'
import { isAnyFreed } from './freed.js'
import type { Expectation } from './options.js'
import type { Finishable } from './phase.js'

/** Of bytes that are not here any more: equal to no digest. */
const UNKNOWN = 'not known (its bytes are only on OSS)'

/** The digests that `expect` names, in hex. Reads the file only if there are any. */
export async function digestsOf(
  directory: string,
  record: Finishable,
  expect: Expectation,
): Promise<{ md5?: string; sha256?: string }> {
  const names = (['md5', 'sha256'] as const).filter(algorithm => expect[algorithm] !== undefined)
  if (names.length === 0) return {}
  const { file: name, size, met } = record
  if (isAnyFreed(record)) {
    return Object.fromEntries(names.map(algorithm => [algorithm, met?.[algorithm] ?? UNKNOWN]))
  }
  const hashes = names.map(algorithm => createHash(algorithm))
  const file = await TempFile.open(directory, name)
  try {
    if (file.size !== size) {
      throw file.damage(`The temp file has ${file.size} bytes instead of ${size}`)
    }
    for await (const chunk of file.chunks(0, size)) {
      for (const hash of hashes) hash.update(chunk)
    }
  } finally {
    await file.close()
  }
  return Object.fromEntries(names.map((algorithm, i) => [algorithm, hashes[i]!.digest('hex')]))
}
