/**
 * Records of buckets, objects and uploads. They are plain data, stored as JSON. A record is replaced as a
 * whole, so its fields are always consistent.
 */

/** Access that a bucket grants to anonymous requests. */
export type Acl = 'private' | 'public-read' | 'public-read-write'

/** Access that an object grants to anonymous requests; `default` inherits the ACL of its bucket. */
export type ObjectAcl = Acl | 'default'

/** Name and value of a tag. */
export type Tag = readonly [key: string, value: string]

/** State of the versioning of a bucket. */
export type Versioning = 'Enabled' | 'Suspended'

/** A bucket. */
export interface BucketRecord {
  readonly name: string
  /** ISO 8601. */
  readonly created: string
  readonly acl: Acl
  readonly storageClass: string
  /** Whether data is in one zone or several; absent for `LRS`. Stored and returned. */
  readonly redundancy?: 'LRS' | 'ZRS'
  readonly tags: readonly Tag[]
  /** Configuration documents as sent, by sub-resource; an inventory as `inventory/ID`. */
  readonly configurations?: Readonly<Record<string, string>>
  readonly retention?: RetentionPolicy
  /** Absent until versioning is enabled for the first time. */
  readonly versioning?: Versioning
}

/** The account that owns all buckets. */
export interface AccountRecord {
  /** Configuration documents as sent, by sub-resource. */
  readonly configurations?: Readonly<Record<string, string>>
}

/** A retention policy of a bucket. */
export interface RetentionPolicy {
  readonly id: string
  /** Number of days that objects are protected. */
  readonly days: number
  /** ISO 8601. */
  readonly created: string
  readonly isLocked: boolean
}

/** Encryption by the server. */
export interface Encryption {
  /** `AES256`, `KMS` or `SM4`. */
  readonly method: string
  /** Algorithm of data under KMS, `SM4`. */
  readonly dataMethod?: string
  /** Id of the KMS key. */
  readonly keyId?: string
}

/** Metadata that a client sends when it creates an object, with PutObject or Initiate. */
export interface ObjectMetadata {
  /** Stored response headers by lower-case name (content-type, cache-control, expires, ...). */
  readonly headers: Readonly<Record<string, string>>
  /** `x-oss-meta-*` by lower-case name without the prefix; bytes as latin1. */
  readonly meta: Readonly<Record<string, string>>
  readonly storageClass: string
  readonly acl: ObjectAcl
  readonly tags: readonly Tag[]
  /** Encryption that the client requested. Stored and returned, never applied. */
  readonly encryption?: Encryption
}

/** Location of an object's bytes. */
export type ObjectBody =
  /** One file next to the record; bytes past the object's size are not part of it. */
  | { readonly kind: 'file'; readonly name: string }
  /** Concatenation of the parts listed in `<id>/manifest.json`. */
  | { readonly kind: 'parts'; readonly id: string }
  /** No file: the bytes were discarded (`discard`) and are read as zeros. */
  | { readonly kind: 'none' }

/** An object, or one of its versions. */
export interface ObjectRecord extends ObjectMetadata {
  readonly key: string
  /** Absent for the version `null`. */
  readonly versionId?: string
  /** As in `x-oss-object-type`; a delete marker stands for a deleted object. */
  readonly type: 'Normal' | 'Multipart' | 'Appendable' | 'Symlink' | 'DeleteMarker'
  /** Key that a symlink names. */
  readonly target?: string
  /** The last restore of an object of an archive class. */
  readonly restore?: Restore
  /** Time until which the version must not be deleted. Stored and returned, never applied. */
  readonly retention?: ObjectRetention
  /** Whether the version is under a legal hold. Stored and returned, never applied. */
  readonly isOnHold?: boolean
  /** Size in bytes. */
  readonly size: number
  /** Upper case, without quotes. */
  readonly etag: string
  /** MD5 of the content in base64; only of Normal objects and of sequential uploads. */
  readonly md5?: string
  /** Unsigned decimal; absent if the content was not hashed. */
  readonly crc64?: string
  /** ISO 8601 with ms. */
  readonly modified: string
  readonly body: ObjectBody
}

/** A restore of an archived object. */
export interface Restore {
  /** ISO 8601. */
  readonly requested: string
  /** Number of days that the restored object can be read. */
  readonly days: number
}

/** A retention of an object version. */
export interface ObjectRetention {
  readonly mode: 'COMPLIANCE' | 'GOVERNANCE'
  /** ISO 8601. */
  readonly until: string
}

/** A segment of a body: a file, relative to the manifest's directory, and its size in bytes. */
export type Segment = readonly [file: string, size: number]

/** An unfinished multipart upload. */
export interface MultipartUploadRecord extends ObjectMetadata {
  readonly id: string
  readonly key: string
  /** ISO 8601. */
  readonly initiated: string
  /** Whether parts must be uploaded in order and cannot be replaced. */
  readonly sequential: boolean
}
