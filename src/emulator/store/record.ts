/**
 * What is written down about buckets, objects and uploads: plain data, JSON on disk. A record is
 * replaced as a whole, so its fields always belong together.
 */

/** Who may do what without a signature. */
export type Acl = 'private' | 'public-read' | 'public-read-write'

/** The same for an object, which may also leave it to its bucket. */
export type ObjectAcl = Acl | 'default'

/** Name and value of a tag, in the order given. */
export type Tag = readonly [key: string, value: string]

/** A bucket. */
export interface BucketRecord {
  readonly name: string
  /** ISO 8601. */
  readonly created: string
  readonly acl: Acl
  readonly storageClass: string
  readonly tags: readonly Tag[]
}

/** What a client says about an object when it is made, at PutObject or Initiate. */
export interface ObjectMetadata {
  /** Stored response headers by lower-case name: content-type, cache-control, expires, ... */
  readonly headers: Readonly<Record<string, string>>
  /** `x-oss-meta-*` by lower-case name without the prefix; bytes as latin1. */
  readonly meta: Readonly<Record<string, string>>
  readonly storageClass: string
  readonly acl: ObjectAcl
  readonly tags: readonly Tag[]
  /** Stored and returned, never applied: `AES256`, `KMS` or `SM4`. */
  readonly encryption?: string
}

/** Where an object's bytes are. */
export type ObjectBody =
  /** One file beside the record; bytes past the object's size are not part of it. */
  | { readonly kind: 'file'; readonly name: string }
  /** The parts listed in `<id>/manifest.json`, read one after the other. */
  | { readonly kind: 'parts'; readonly id: string }
  /** None: thrown away (`discard`), read as zeros. */
  | { readonly kind: 'none' }

/** An object. */
export interface ObjectRecord extends ObjectMetadata {
  readonly key: string
  /** `Normal`, `Multipart` or `Appendable`, as in `x-oss-object-type`. */
  readonly type: 'Normal' | 'Multipart' | 'Appendable'
  /** Bytes. */
  readonly size: number
  /** Upper case, without quotes. */
  readonly etag: string
  /** MD5 of the content in base64, for Normal objects. */
  readonly md5?: string
  /** Unsigned decimal; absent where nothing was hashed. */
  readonly crc64?: string
  /** ISO 8601 with ms. */
  readonly modified: string
  readonly body: ObjectBody
}

/** One piece of a body: a file below the manifest's directory, and its bytes. */
export type Segment = readonly [file: string, size: number]

/** An unfinished multipart upload. */
export interface MultipartUploadRecord extends ObjectMetadata {
  readonly id: string
  readonly key: string
  /** ISO 8601. */
  readonly initiated: string
  /** Parts must come in order and stay. */
  readonly sequential: boolean
}
