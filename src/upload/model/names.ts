/** Names of uploads, objects and the spool directory: checks and defaults. */
import { createHash } from 'node:crypto'
import { isAbsolute, join } from 'node:path'
import { invalidType, invalidValue, SpoolError } from '../../errors.js'
import type { Place } from '../../oss/bucket.js'
import { homeDirectory } from '../../util/home-directory.js'

/**
 * Returns whether a text is a valid upload id. It is also a directory name, so names that are special on any
 * platform are invalid on all of them.
 */
export function isId(id: string): boolean {
  const special = /^(quarantine|(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.)$/i
  return /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(id) && !special.test(id)
}

/** @throws TypeError if `id` is not a valid upload id */
export function checkId(id: unknown): asserts id is string {
  if (typeof id !== 'string') throw invalidType('id', 'a string', id)
  if (!isId(id)) {
    throw invalidValue(
      'id',
      'must be 1 to 128 of A-Za-z0-9._-, not start or end with a dot, and not be a reserved name',
      id,
    )
  }
}

/**
 * Checks that OSS accepts a key (OSS documentation, "Object naming") and that URLs do not change it: they
 * collapse `.` and `..` segments, but signatures do not.
 * @throws SpoolError `ERR_SPOOL_INVALID_KEY`
 */
export function checkKey(key: unknown): asserts key is string {
  const why = invalidKeyReason(key)
  if (why === undefined) return
  const received = typeof key === 'string' ? JSON.stringify(key) : `type ${typeof key}`
  throw new SpoolError('ERR_SPOOL_INVALID_KEY', `The key ${why}. Received ${received}`, {
    hint: 'Use another key.',
  })
}

function invalidKeyReason(key: unknown): string | undefined {
  if (typeof key !== 'string') return 'must be a string'
  if (key === '') return 'must not be empty'
  if (!key.isWellFormed()) return 'must be well-formed Unicode'
  if (Buffer.byteLength(key) > 1023) return 'must not be longer than 1023 bytes in UTF-8'
  if (/^[/\\]/.test(key)) return 'must not start with a slash or a backslash'
  if (/(^|\/)\.\.?(\/|$)/.test(key)) return 'must not contain "." or ".." segments'
  return undefined
}

/** Returns the default id of an upload to `key`: readable, and different for different objects. */
export function defaultId(place: Place, key: string): string {
  const hash = createHash('sha256').update(JSON.stringify([place.endpoint, place.bucket, key]))
  const name = key
    .slice(key.lastIndexOf('/') + 1)
    .replace(/[^A-Za-z0-9_-]+/g, '-')
    .slice(0, 40)
  return `${name.replace(/^-+|-+$/g, '') || 'upload'}-${hash.digest('hex').slice(0, 24)}`
}

/**
 * Returns `$OSS_SPOOL_DIR`, else `oss-spool` in the user's state directory (XDG Base Directory, which ignores relative
 * paths).
 * @throws TypeError if the user has no home directory
 */
export function defaultDirectory(env: NodeJS.ProcessEnv = process.env): string {
  if (env['OSS_SPOOL_DIR']) return env['OSS_SPOOL_DIR']
  const stateHome = env['XDG_STATE_HOME'] ?? ''
  if (isAbsolute(stateHome)) return join(stateHome, 'oss-spool')
  const home = homeDirectory(env)
  if (home === undefined) {
    throw invalidValue(
      'dir',
      'or OSS_SPOOL_DIR is required: this user has no home directory',
      undefined,
    )
  }
  return join(home, '.local', 'state', 'oss-spool')
}
