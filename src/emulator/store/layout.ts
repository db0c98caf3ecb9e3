/**
 * Layout of the data directory. Names chosen by clients never become path segments unchanged: bucket names
 * are checked against OSS's rules, keys are encoded into one safe file name. So no key can escape the
 * directory.
 *
 *     DIR/locks/<00..ff>                             kernel lock files, see lock.ts
 *     DIR/tmp/<owner>/                               unfinished files of a live process, see workspace.ts
 *     DIR/account.json                               configuration of all buckets
 *     DIR/buckets/<bucket>/bucket.json
 *     DIR/buckets/<bucket>/objects/<name>/record.json    the object with all its versions, replaced by one rename
 *     DIR/buckets/<bucket>/objects/<name>/<body>         the bytes of a version in one file, or ...
 *     DIR/buckets/<bucket>/objects/<name>/<upload id>/   ... in the parts of its upload
 *     DIR/buckets/<bucket>/uploads/<upload id>/upload.json
 *     DIR/buckets/<bucket>/uploads/<upload id>/<00..99>/<part>
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'

/** Maximum length of an encoded key; longer ones are hashed, because common file systems allow 255 bytes. */
const MAX_ENCODED_KEY_BYTES = 200

/** Returns the paths of a data directory. Pure. */
export function createLayout(root: string) {
  const buckets = join(root, 'buckets')
  const bucket = (name: string) => join(buckets, name)
  const objects = (name: string) => join(buckets, name, 'objects')
  const uploads = (name: string) => join(buckets, name, 'uploads')
  return {
    root,
    locks: join(root, 'locks'),
    temp: join(root, 'tmp'),
    accountRecord: join(root, 'account.json'),
    buckets,
    bucket,
    bucketRecord: (name: string) => join(bucket(name), 'bucket.json'),
    objects,
    object: (name: string, key: string) => join(objects(name), keyFileName(key)),
    uploads,
    upload: (name: string, id: string) => join(uploads(name), id),
  }
}

/** Paths of a data directory. */
export type Layout = ReturnType<typeof createLayout>

/**
 * Returns the file name of a key. It is readable if possible, unique on case-insensitive file systems,
 * never `.` or `..`, and at most 255 bytes long.
 */
export function keyFileName(key: string): string {
  let name = ''
  for (const byte of Buffer.from(key)) {
    const char = String.fromCharCode(byte)
    name += /[a-z0-9_.-]/.test(char) ? char : `%${byte.toString(16).padStart(2, '0')}`
  }
  return name.length <= MAX_ENCODED_KEY_BYTES
    ? `${name}.object`
    : `~${createHash('sha256').update(key).digest('hex')}.object`
}

/** Returns the key of a file name; undefined if the name is a hash, so that only the record has the key. */
export function keyOfFileName(name: string): string | undefined {
  if (name.startsWith('~')) return undefined
  return decodeURIComponent(name.slice(0, -'.object'.length))
}

/** Returns whether a string has the form of OSS's upload ids, 32 upper-case hex digits. */
export function isStoredUploadId(id: string): boolean {
  return /^[0-9A-F]{32}$/.test(id)
}
