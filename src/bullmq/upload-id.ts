/**
 * Ids of jobs and of their uploads. BullMQ and its users choose job ids freely, but an upload id is also the name
 * of a directory. Two ids that are not valid get different names unless 128 bits of SHA-256 collide.
 */
import { createHash } from 'node:crypto'
import { isId } from '../upload/model/names.js'

/** Maximum length of the part of a hashed id that people read. */
const MAX_READABLE_CHARS = 60

/** Form of the ids that this file makes. */
const HASHED_ID = /-[0-9a-f]{32}$/

/**
 * Names that follow the name of the queue in keys of BullMQ and of this package. BullMQ takes a job with such an
 * id for one that exists, and adds nothing.
 */
const RESERVED_NAMES: ReadonlySet<string> = new Set(
  (
    'active wait waiting-children paused id delayed prioritized stalled-check completed failed stalled ' +
    'repeat limiter meta events pc marker de dn cancel homes homes-turn metrics'
  ).split(' '),
)

/**
 * Returns the id of a job's upload: the id of the job if it is a valid upload id, else its readable characters and
 * a hash.
 */
export function uploadIdOf(jobId: string): string {
  return isId(jobId) ? jobId : `${readablePart(jobId)}-${hash(jobId)}`
}

/**
 * Returns the id of the job for an id that a user chose, which may have any characters. It is the same id if that
 * is a valid upload id that BullMQ accepts: it refuses integers, and `:` separates the names in its keys. Ids of
 * the hashed form are hashed too, so that no id can name the job of another one.
 */
export function jobIdOf(id: string): string {
  const isUsable = isId(id) && !/^-?\d+$/.test(id) && !RESERVED_NAMES.has(id) && !HASHED_ID.test(id)
  // The prefix keeps the result apart from the upload id of a job that BullMQ named, such as `repeat:nightly:...`.
  return isUsable ? id : `${readablePart(id)}-${hash(`chosen:${id}`)}`
}

/** Returns whether BullMQ may have a job with this id. The key of any other id may hold something else. */
export function mayNameJob(id: string): boolean {
  const [name = '', ...others] = id.split(':')
  if (name === 'repeat') return /^repeat:.+:\d+$/.test(id)
  return !RESERVED_NAMES.has(name) && (others.length === 0 || others.length === 2)
}

/** Returns the characters of a text that are allowed in ids, for people who read them. */
export function readablePart(text: string): string {
  const readable = text.replace(/[^A-Za-z0-9_-]+/g, '-').slice(-MAX_READABLE_CHARS)
  const words = readable.split('-').filter(word => word !== '')
  return words.join('-') || 'job'
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32)
}
