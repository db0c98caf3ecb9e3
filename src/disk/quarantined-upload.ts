/** Describes a quarantined upload: where its bytes are, and how they can be uploaded. */
import { lstat, readdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { SpoolError } from '../errors.js'
import type { Hint } from '../hint.js'
import type { RecordStore } from './record-store.js'

/** Creates the error for an id that has no upload. It names the files in the quarantine, if there are any. */
export async function notFoundError(
  records: Pick<RecordStore, 'quarantined'>,
  id: string,
): Promise<SpoolError> {
  const entries = await records.quarantined().catch(() => [])
  const found = entries
    .filter(({ name }) => name.startsWith(`${id}-`) && TIME.test(name.slice(id.length + 1)))
    .toSorted((a, b) => a.since - b.since)
    .at(-1)
  if (found === undefined) {
    return new SpoolError('ERR_SPOOL_NOT_FOUND', `There is no upload ${id}`, { id })
  }
  const { name } = found
  const path = found.path === undefined ? undefined : resolve(found.path)
  const message = `There is no upload ${id}: it was damaged and moved to ${path ?? `the quarantine of its host, as ${name}`}`
  const hint = path === undefined ? SOURCE_HINT : await bytesHint(path)
  return new SpoolError('ERR_SPOOL_NOT_FOUND', message, { id, hint })
}

/** Time in the name of a quarantined upload. */
const TIME = /^\d{4}-\d\d-\d\dT[\d-]+\.\d{3}Z$/

const SOURCE_HINT = 'Upload again from the source.'

async function bytesHint(directory: string): Promise<Hint> {
  const file = await findBytes(directory)
  if (file === undefined) return SOURCE_HINT
  const { path, size, hasHoles } = file
  const record = parseRecord(
    await readFile(join(directory, 'checkpoint.json'), 'utf8').catch(() => ''),
  )
  if (record.hasFreedParts ?? hasHoles) {
    return `${SOURCE_HINT} Some of its bytes may be missing in ${path}: they were only on OSS.`
  }
  const { object, expected } = record
  if (expected !== undefined && expected.size !== size) {
    return `${SOURCE_HINT} ${path} has ${size} of ${expected.size} bytes.`
  }
  if (expected === undefined) {
    return say =>
      `Its first ${size} bytes are in ${path}; the source may have had more. To upload them after a check, ${say.upload(path, { object, size })}.`
  }
  return say =>
    `Its bytes are in ${path}. To upload them if they have the recorded CRC64, ${say.upload(path, { object, ...expected })}.`
}

/** Returns the file with the bytes, unless there are several or it is a link to the caller's file. */
async function findBytes(
  directory: string,
): Promise<{ path: string; size: number; hasHoles: boolean } | undefined> {
  const names = await readdir(directory).catch(() => [])
  const [name, ...others] = names.filter(each => each.startsWith('spool-'))
  if (name === undefined || others.length > 0) return undefined
  const path = join(directory, name)
  const stats = await lstat(path).catch(() => undefined)
  if (!stats?.isFile()) return undefined
  return { path, size: stats.size, hasHoles: stats.blocks * 512 < stats.size }
}

interface UntrustedRecord {
  readonly object?: { readonly bucket: string; readonly key: string }
  /** Size and CRC64 of the object, if it was sealed. */
  readonly expected?: { readonly size: number; readonly crc64: string }
  /** Absent if the record cannot be parsed. */
  readonly hasFreedParts?: boolean
}

/** Parses what is left of a damaged record. */
function parseRecord(text: string): UntrustedRecord {
  const envelope = parseJson(text)
  const checkpoint = property(envelope, 'checkpoint')
  const upload = property(checkpoint, 'upload')
  const [bucket, key] = [property(checkpoint, 'bucket'), property(checkpoint, 'key')]
  const [size, crc64] = [property(upload, 'size'), property(upload, 'crc64')]
  return {
    ...(isName(bucket) && isName(key) ? { object: { bucket, key } } : {}),
    ...(Number.isSafeInteger(size) && typeof crc64 === 'string' && /^\d{1,20}$/.test(crc64)
      ? { expected: { size: Number(size), crc64 } }
      : {}),
    ...(upload === undefined ? {} : { hasFreedParts: property(upload, 'freed') !== undefined }),
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Readonly<Record<string, unknown>>)[name] // an object, as checked above
}

/** Returns whether a value can be part of a command that is printed. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && /^\P{Cc}+$/u.test(value)
}
