/**
 * Parts on disk. A part's file name holds all its properties, so that one rename stores it and one
 * directory listing returns up to a hundred. If two files have the same number, the newer one counts; the
 * older one was replaced by another upload of the part.
 */
import { join } from 'node:path'
import type { Digest } from './digest.js'
import { createEmptyFile, listDir, makeChildDir, removeFile, rename } from './files.js'

/** An uploaded part. */
export interface StoredPart extends Digest {
  /** Part number, 1 to 10,000. */
  readonly number: number
  /** Time of upload, in ms since the epoch. */
  readonly modified: number
  /** File, relative to the directory of the upload. */
  readonly file: string
}

const PART_FILE_NAME = /^(\d{5})-(\d{16})-(\d+)-([0-9A-F]{32})-(\d+|x)$/

const shardName = (number: number): string => String(Math.floor(number / 100)).padStart(3, '0')

/** Start of the names of all files of a part. */
const namePrefix = (number: number): string => `${String(number).padStart(5, '0')}-`

function partFileName(number: number, micros: number, { size, md5, crc64 }: Digest): string {
  return `${namePrefix(number)}${String(micros).padStart(16, '0')}-${size}-${md5}-${crc64 ?? 'x'}`
}

function parsePartFileName(
  shard: string,
  name: string,
): (StoredPart & { micros: number }) | undefined {
  const [, number, micros, size, md5 = '', crc64] = PART_FILE_NAME.exec(name) ?? []
  if (number === undefined) return undefined
  return {
    number: Number(number),
    micros: Number(micros),
    modified: Math.floor(Number(micros) / 1000),
    size: Number(size),
    md5,
    ...(crc64 === undefined || crc64 === 'x' ? {} : { crc64: BigInt(crc64) }),
    file: `${shard}/${name}`,
  }
}

function parsePartFileNames(shard: string, names: readonly string[]) {
  return names.map(name => parsePartFileName(shard, name)).filter(part => part !== undefined)
}

async function readShard(dir: string, shard: string) {
  return parsePartFileNames(shard, await listDir(join(dir, shard)))
}

/**
 * Stores part `number` in the upload's directory. Requires the key's lock.
 * @param source – file to move there; undefined if the bytes were discarded
 */
export async function storePart(
  dir: string,
  number: number,
  source: string | undefined,
  digest: Digest,
): Promise<StoredPart> {
  const shard = shardName(number)
  const names = await listDir(join(dir, shard))
  if (names.length === 0) await makeChildDir(join(dir, shard))
  const ofNumber = names.filter(name => name.startsWith(namePrefix(number)))
  const replaced = parsePartFileNames(shard, ofNumber)
  // newer than the file it replaces even if the clock was set back
  const micros = Math.max(Date.now() * 1000, ...replaced.map(part => part.micros + 1))
  const name = partFileName(number, micros, digest)
  const path = join(dir, shard, name)
  if (source === undefined) await createEmptyFile(path)
  else await rename(source, path)
  for (const part of replaced) await removeFile(join(dir, part.file))
  return { ...digest, number, modified: Math.floor(micros / 1000), file: `${shard}/${name}` }
}

/** Lists the parts of an upload in order of their numbers. */
export async function readStoredParts(dir: string): Promise<StoredPart[]> {
  const shards = (await listDir(dir)).filter(name => /^\d{3}$/.test(name))
  const all = (await Promise.all(shards.map(shard => readShard(dir, shard)))).flat()
  all.sort((a, b) => a.number - b.number || b.micros - a.micros)
  return all.filter((part, i) => part.number !== all[i - 1]?.number)
}

/** Removes a part. Resolves with false if it does not exist. */
export async function removeStoredPart(dir: string, number: number): Promise<boolean> {
  const files = (await readShard(dir, shardName(number))).filter(part => part.number === number)
  for (const part of files) await removeFile(join(dir, part.file))
  return files.length > 0
}
