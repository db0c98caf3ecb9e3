/**
 * Digests of a sealed temp file, for an expectation that came after the seal.
 */
import { createHash } from 'node:crypto'
import { TempFile } from '../disk/temp-file.js'
import type { Expectation } from './options.js'

/** The digests that `expect` names, in hex. Reads the file only if there are any. */
export async function digestsOf(
  directory: string,
  name: string,
  size: number,
  expect: Expectation,
): Promise<{ md5?: string; sha256?: string }> {
  const names = (['md5', 'sha256'] as const).filter(algorithm => expect[algorithm] !== undefined)
  if (names.length === 0) return {}
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
