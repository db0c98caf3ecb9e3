/**
 * Where things lie in the data directory. Names that clients choose never become path segments as
 * they are: bucket names are checked against the rules of OSS, keys are encoded into one safe file
 * name. So no key can leave the directory, whatever it holds.
 *
 *     DIR/locks/<00..ff>                             kernel lock files, see lock.ts
 *     DIR/tmp/<owner>/                               what a live process is writing, see workspace.ts
 *     DIR/buckets/<bucket>/bucket.json
 *     DIR/buckets/<bucket>/objects/<name>/record.json    the object: replaced by one rename
 *     DIR/buckets/<bucket>/objects/<name>/<body>         its bytes: one file, or ...
 *     DIR/buckets/<bucket>/objects/<name>/<upload id>/   ... the parts of the upload that made it
 *     DIR/buckets/<bucket>/uploads/<upload id>/upload.json
 *     DIR/buckets/<bucket>/uploads/<upload id>/<00..99>/<part>
 */
import { createHash } from 'node:crypto'
import { join } from 'node:path'

/** Longer encoded keys are hashed: 255 bytes is what common file systems take. */
const MAX_ENCODED_KEY_BYTES = 200

/** The paths of one data directory. Pure. */
export function createLayout(root: string) {
  const buckets = join(root, 'buckets')
  const bucket = (name: string) => join(buckets, name)
  const objects = (name: string) => join(buckets, name, 'objects')
  const uploads = (name: string) => join(buckets, name, 'uploads')
  return {
    root,
    locks: join(root, 'locks'),
    temp: join(root, 'tmp'),
    buckets,
    bucket,
    bucketRecord: (name: string) => join(bucket(name), 'bucket.json'),
    objects,
    object: (name: string, key: string) => join(objects(name), keyFileName(key)),
    uploads,
    upload: (name: string, id: string) => join(uploads(name), id),
  }
}

/** Paths of one data directory. */
export type Layout = ReturnType<typeof createLayout>

/**
 * The file name of a key: readable where it can be, the same on file systems that ignore case,
 * never `.` or `..`, never longer than 255 bytes.
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

/** The key of a file name; undefined where the name is a hash and the record must be asked. */
export function keyOfFileName(name: string): string | undefined {
  if (name.startsWith('~')) return undefined
  return decodeURIComponent(name.slice(0, -'.object'.length))
}

/** Upload ids as OSS makes them: 32 upper-case hex digits. Anything else cannot exist here. */
export function isStoredUploadId(id: string): boolean {
  return /^[0-9A-F]{32}$/.test(id)
}
