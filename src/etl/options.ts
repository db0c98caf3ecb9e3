/** Options of `rotate`: documentation, limits and validation. */
import { types } from 'node:util'
import type { Duplex } from 'node:stream'
import { checkInteger, checkObject, checkProperties, invalidType, invalidValue } from '../errors.js'
import type { UploadOptions } from '../index.js'
import { checkKey } from '../upload/model/names.js'
import { checkOptions } from '../upload/model/options.js'
import type { CommitLimits } from './commit-queue.js'
import { Calendar } from './date-fields.js'
import type { Format } from './format.js'
import type { BadRecord, OnBadRecord } from './bad-records.js'
import type { RecordId } from './manifest.js'
import { encoderFactory, type ObjectEncoder, type ObjectFormat } from './object-format.js'
import { KeyTemplate } from './key-template.js'
import type { PartitionValue } from './partition.js'
import { recordOfChunk, recordsOfChunk, type ChunkReader } from './record-chunk.js'
import { transformFactory, type ObjectTransform } from './transform-option.js'

/** Upload options of the objects of a job. Options that the job sets itself are excluded. */
export type ObjectUpload = Omit<
  UploadOptions,
  | 'id'
  | 'size'
  | 'expect'
  | 'replay'
  | 'checkpoint'
  | 'maxAge'
  | 'inPlace'
  | 'once'
  | 'signal'
  | 'progress'
  | 'onProgress'
>

/** Options that `ObjectUpload` excludes. */
const RESERVED_UPLOAD_OPTIONS = [
  'id',
  'size',
  'expect',
  'replay',
  'checkpoint',
  'maxAge',
  'inPlace',
  'once',
  'signal',
  'progress',
  'onProgress',
] as const satisfies readonly Exclude<keyof UploadOptions, keyof ObjectUpload>[]

/** Options of `rotate`. `T` is the type of a record; records that are not strings or bytes need a `format`. */
export type RotateOptions<T> = {
  /**
   * Name of the job: 1 to 64 of `A-Za-z0-9._-`, not starting with a dot. Runs with the same name must have the
   * same records in the same order; a rerun sends only what is missing.
   */
  readonly job: string
  /**
   * Template of the keys of the objects. Placeholders: `{job}`, `{partition}` (escaped as Hive does, so that it
   * is one segment; `{partition:path}` inserts a path as it is), `{seq}` (counts from 0 the objects whose keys
   * are otherwise equal; `{seq:05}` pads to 5 digits), and the fields of the record's time `{yyyy}` `{MM}`
   * `{dd}` `{HH}` `{mm}` `{ss}`. Records with different keys go to different objects. Without `{job}`, a late
   * record can get the key of an earlier job's object; then the job fails.
   */
  readonly key: string
  /**
   * Returns the value of `{partition}` for a record. Required if `key` has that placeholder. `null`, `undefined`
   * and `''` give `__HIVE_DEFAULT_PARTITION__`.
   */
  readonly partitionBy?: (record: T) => PartitionValue
  /**
   * Returns the time of a record for the date placeholders, as a `Date` or in ms since the epoch. Required if
   * `key` has a date placeholder. `'arrival'`, which needs `commit`, is the time at which an object gets its
   * first record: dates do not split records then, and `{seq}` counts on when they change.
   */
  readonly time?: ((record: T) => Date | number) | 'arrival'
  /** Time zone of dates in keys, as an IANA name such as `Asia/Shanghai`. @default 'UTC' */
  readonly timeZone?: string
  /**
   * Limits of one object; it ends at the first limit it reaches. Needs `{seq}` in `key`, as `cutBefore` does.
   * Default: no limits.
   */
  readonly every?: {
    /** Number of records, 1 or more. */
    readonly records?: number
    /**
     * Bytes as stored on OSS, that is after `transform`, 1 or more. An object ends with the record that
     * reaches this size; with a transform, one or two batches (64 KiB of text each) later.
     */
    readonly bytes?: number
    /**
     * Age in ms at which an object ends even if no more records arrive, 1 to 2^31 - 1. Use it only for
     * records that cannot be read again, because another run would split them differently.
     */
    readonly ms?: number
    /**
     * Time in ms without a record after which an object ends, 1 to 2^31 - 1. Like `ms`, only for records that
     * cannot be read again.
     */
    readonly idleMs?: number
  }
  /**
   * Returns whether `record` starts a new object. `previous` is the latest record of the current object.
   */
  readonly cutBefore?: (record: T, previous: T) => boolean
  /**
   * For records that cannot be read again, such as those of a queue: makes all records durable at least this
   * often, and allows `commit()`. Such a job cannot be rerun. It publishes no manifest, leaves no receipts, and
   * never overwrites an object, so `job` must differ in every run and `key` must contain `{job}`. Excludes
   * `manifest`, `transform` functions, and `upload.overwrite: true`. At least one limit must be set.
   */
  readonly commit?: {
    /** Time in ms from the first record that is not durable to the next commit, 1 to 2^31 - 1. */
    readonly ms?: number
    /** Number of records that are not durable, over all objects, at which a commit starts; 1 or more. */
    readonly records?: number
    /**
     * Called for each failed attempt to store an ended object on OSS. With this function, such a failure does not
     * end the job: the object waits on the disk and is retried, and records do not wait for OSS, unless
     * `upload.maxSpoolBytes` is set, which then also limits the bytes of the objects that wait. The job fails at
     * its end if an object is left on the disk, where `resume` finds it. `result` lists no objects then, since
     * such a job may run for long: listen to the event `object`. `maxEnding` limits the objects that are sent
     * concurrently.
     */
    readonly onUploadFailure?: (error: unknown) => void
  }
  /**
   * Whether a record is an array, such as a row of CSV. Each `write()` takes one record then; without it, an
   * array is a chunk of several records. @default false
   */
  readonly arrayRecords?: boolean
  /** Transform of the bytes of each object, such as compression. Default: none. */
  readonly transform?: ObjectTransform
  /**
   * Maximum number of objects that accept records concurrently, 1 to 10,000. Beyond that, the least recently
   * used object ends, and its next record starts another one; the event `warning` reports it. Each object takes
   * up to 68 KiB of memory for its records. @default 1000
   */
  readonly maxOpen?: number
  /**
   * Maximum number of objects that accept records and have a temp file, 1 to 1,000. An object has one from
   * its first 64 KiB of text on, or with `commit` from its first record on. Beyond that, the least recently used
   * of them ends, as with `maxOpen`. @default 256
   */
  readonly maxOpenFiles?: number
  /**
   * Maximum number of ended objects that are not yet stored on OSS, 1 to 1,000. Beyond that, records wait.
   * @default 8
   */
  readonly maxEnding?: number
  /**
   * Returns the id of a record for `first` and `last` in the manifest. Default: its number in the job, from 0.
   */
  readonly recordId?: (record: T) => RecordId
  /**
   * Decides about a bad record, one for which `format`, `partitionBy`, `time`, `cutBefore` or `recordId` throws,
   * or whose key is invalid: returns `'skip'` to leave it out, or throws to fail the job. It must decide in the
   * same way in every run. Default: bad records fail the job, unless `deadLetter` is set.
   */
  readonly onBadRecord?: (error: Error, bad: BadRecord<T>) => 'skip'
  /**
   * Writes bad records that are skipped to an object of JSON lines, `{ number, partition, reason, record }`, which
   * is published before the manifest and listed in it. Without `onBadRecord`, all bad records are skipped.
   */
  readonly deadLetter?: {
    /** Key of the object; may contain `{job}`. */
    readonly key: string
  }
  /**
   * Key of the manifest; may contain `{job}`. @default `_manifest-{job}.json` in the folder of `key` before
   * its first placeholder
   */
  readonly manifest?: string
  /**
   * Publishes an empty object after the manifest, for tools that look for one. `true`: `_SUCCESS` in the folder of
   * `key` before its first placeholder; a string: its key, which may contain `{job}`. Replaces the marker of an
   * earlier job. Excludes `commit`. @default false
   */
  readonly successMarker?: boolean | string
  /** Upload options of each object. `overwrite` defaults to `false`. */
  readonly upload?: ObjectUpload
} & ([T] extends [string | Uint8Array]
  ? {
      /** Serialises a record to a string or bytes. Default: writes the record as it is. */
      readonly format?: Format<T> | ObjectFormat<T>
    }
  : {
      /** Serialises a record to a string or bytes, with its newline: `jsonl`, `await csv()` or your own. */
      readonly format: Format<T> | ObjectFormat<T>
    }) &
  (0 extends 1 & T // `any`
    ? unknown
    : [T] extends [readonly unknown[]]
      ? {
          /** Records are arrays. */
          readonly arrayRecords: true
        }
      : unknown)

/** Validated option `commit`. */
export interface CommitSettings extends CommitLimits {
  readonly onUploadFailure: ((error: unknown) => void) | undefined
}
/** Validated option `deadLetter`. */
export interface DeadLetterSettings {
  readonly key: string
  /** Whether the key contains the name of the job. */
  readonly isPerJob: boolean
}

/** Validated options with all defaults applied. */
export interface RotateSettings<T> {
  readonly job: string
  readonly keyTemplate: KeyTemplate
  readonly calendar: Calendar
  readonly manifestKey: string
  readonly successMarkerKey: string | undefined
  /** Whether the key of the manifest contains the name of the job. */
  readonly isManifestPerJob: boolean
  readonly partitionBy: ((record: T) => PartitionValue) | undefined
  readonly time: ((record: T) => Date | number) | 'arrival' | undefined
  readonly every: {
    readonly records: number
    readonly bytes: number
    readonly ms: number | undefined
    readonly idleMs: number | undefined
  }
  readonly cutBefore: ((record: T, previous: T) => boolean) | undefined
  readonly commit: CommitSettings | undefined
  readonly recordsOf: ChunkReader<T>
  readonly createEncoder: () => ObjectEncoder<T>
  /** `undefined` if the bytes are stored as they are. */
  readonly createTransforms: (() => readonly Duplex[]) | undefined
  readonly maxOpen: number
  readonly maxOpenFiles: number
  readonly maxEnding: number
  readonly recordId: (record: T, number: number) => RecordId
  readonly onBadRecord: OnBadRecord<T> | undefined
  readonly deadLetter: DeadLetterSettings | undefined
  /** Keys of the job that are not those of its objects. */
  readonly reservedKeys: ReadonlySet<string>
  readonly upload: ObjectUpload
}

/** Names of the options of `rotate`. */
const ROTATE_OPTIONS: Readonly<Record<keyof RotateOptions<unknown>, true>> = {
  job: true,
  key: true,
  partitionBy: true,
  time: true,
  timeZone: true,
  every: true,
  cutBefore: true,
  commit: true,
  arrayRecords: true,
  format: true,
  transform: true,
  maxOpen: true,
  maxOpenFiles: true,
  maxEnding: true,
  recordId: true,
  onBadRecord: true,
  deadLetter: true,
  manifest: true,
  successMarker: true,
  upload: true,
}

const SAMPLE_KEY_FIELDS = { partition: 'x', seq: 0 }

/** @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function checkRotateOptions<T = string | Uint8Array>(
  options: RotateOptions<T>,
): RotateSettings<T> {
  checkObject('options', options)
  checkProperties('options', options, ROTATE_OPTIONS)
  const { job, every = {}, upload = {} } = options
  if (typeof job !== 'string') throw invalidType('job', 'a string', job)
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(job)) {
    throw invalidValue('job', 'must be 1 to 64 of A-Za-z0-9._- and not start with a dot', job)
  }
  const { time, commit } = options
  if (time === 'arrival' && commit === undefined) {
    throw invalidValue(
      'time',
      `must not be 'arrival' without "commit": reruns need equal keys`,
      time,
    )
  }
  if (time !== undefined && time !== 'arrival' && typeof time !== 'function') {
    throw invalidType('time', "a function or 'arrival'", time)
  }
  for (const name of ['partitionBy', 'cutBefore', 'recordId', 'onBadRecord'] as const) {
    const value = options[name]
    if (value !== undefined && typeof value !== 'function')
      throw invalidType(name, 'a function', value)
  }
  if (options.arrayRecords !== undefined && typeof options.arrayRecords !== 'boolean')
    throw invalidType('arrayRecords', 'a boolean', options.arrayRecords)
  const keyTemplate = new KeyTemplate('key', options.key)
  checkOptionAndPlaceholder(
    'partitionBy',
    options.partitionBy !== undefined,
    '{partition}',
    keyTemplate.placeholders.has('partition'),
  )
  checkOptionAndPlaceholder('time', options.time !== undefined, 'a date', keyTemplate.hasDate)
  const manifestTemplate = options.manifest ?? `${keyTemplate.folder}_manifest-{job}.json`
  const manifestKey = resolveJobKey('manifest', manifestTemplate, job)
  const calendar = new Calendar(options.timeZone)
  checkKey(keyTemplate.key({ ...SAMPLE_KEY_FIELDS, job, date: calendar.fields(0) }))
  checkObject('every', every)
  checkProperties('every', every, { records: true, bytes: true, ms: true, idleMs: true })
  checkInteger('every.records', every.records, 1, Number.MAX_SAFE_INTEGER)
  checkInteger('every.bytes', every.bytes, 1, Number.MAX_SAFE_INTEGER)
  checkInteger('every.ms', every.ms, 1, 2 ** 31 - 1)
  checkInteger('every.idleMs', every.idleMs, 1, 2 ** 31 - 1)
  const isCut = options.cutBefore !== undefined || Object.values(every).some(isSet)
  if (isCut && !keyTemplate.placeholders.has('seq')) {
    const reason = 'must contain {seq} with "every" or "cutBefore", which start further objects'
    throw invalidValue('key', reason, options.key)
  }
  checkInteger('maxOpen', options.maxOpen, 1, 10_000)
  checkInteger('maxOpenFiles', options.maxOpenFiles, 1, 1000)
  checkInteger('maxEnding', options.maxEnding, 1, 1000)
  checkOptions(upload)
  for (const name of RESERVED_UPLOAD_OPTIONS) {
    if (Object.hasOwn(upload, name)) throw invalidValue('upload', `must not have "${name}"`, upload)
  }
  const deadLetter = checkDeadLetter(options.deadLetter, job)
  const successMarkerKey = checkSuccessMarker(options, keyTemplate.folder, manifestKey)
  // A committed job has no manifest.
  const jobKeys = [options.commit === undefined ? manifestKey : undefined, successMarkerKey]
  if (deadLetter !== undefined && jobKeys.includes(deadLetter.key)) {
    const reason = 'must not be the key of the manifest or the success marker'
    throw invalidValue('deadLetter.key', reason, deadLetter.key)
  }
  const reservedKeys = [...jobKeys, deadLetter?.key].filter(key => key !== undefined)
  checkKeyIsFree(options, keyTemplate, reservedKeys)
  return {
    job,
    keyTemplate,
    calendar,
    manifestKey,
    successMarkerKey,
    deadLetter,
    reservedKeys: new Set(reservedKeys),
    onBadRecord: options.onBadRecord,
    isManifestPerJob: manifestTemplate.includes('{job}'),
    partitionBy: options.partitionBy,
    time: options.time,
    every: {
      records: every.records ?? Infinity,
      bytes: every.bytes ?? Infinity,
      ms: every.ms,
      idleMs: every.idleMs,
    },
    cutBefore: options.cutBefore,
    commit: checkCommit(options),
    recordsOf: options.arrayRecords === true ? recordOfChunk : recordsOfChunk,
    createEncoder: checkFormat(options),
    createTransforms: transformFactory(options.transform),
    maxOpen: options.maxOpen ?? 1000,
    maxOpenFiles: options.maxOpenFiles ?? 256,
    maxEnding: options.maxEnding ?? 8,
    recordId: options.recordId ?? ((_record, index) => index),
    upload,
  }
}

/** @throws TypeError for a format that cannot be combined with other options */
function checkFormat<T>({
  format = passThroughFormat,
  commit,
  transform,
}: {
  readonly format?: Format<T> | ObjectFormat<T>
  readonly commit?: object
  readonly transform?: ObjectTransform
}): () => ObjectEncoder<T> {
  if (typeof format === 'function') return encoderFactory(format)
  const given: { readonly createEncoder?: unknown } | null = format // callers in JavaScript
  if (typeof given?.createEncoder !== 'function') {
    throw invalidType('format', 'a function or an object with createEncoder()', format)
  }
  if (commit !== undefined) {
    const reason = 'must be a function with "commit": a part of such an object is no object'
    throw invalidValue('format', reason, format)
  }
  if (transform !== undefined) {
    throw invalidValue('format', 'must be a function with "transform"', format)
  }
  return encoderFactory(format)
}

/** @throws TypeError for options that need a rerun, or whose bytes cannot be cut at a commit */
function checkCommit({
  commit,
  manifest,
  transform,
  upload,
}: Pick<RotateOptions<never>, 'commit' | 'manifest' | 'transform' | 'upload'>):
  CommitSettings | undefined {
  if (commit === undefined) return undefined
  checkObject('commit', commit)
  checkProperties('commit', commit, { ms: true, records: true, onUploadFailure: true })
  checkInteger('commit.ms', commit.ms, 1, 2 ** 31 - 1)
  checkInteger('commit.records', commit.records, 1, Number.MAX_SAFE_INTEGER)
  const { ms, records, onUploadFailure } = commit
  if (onUploadFailure !== undefined && typeof onUploadFailure !== 'function') {
    throw invalidType('commit.onUploadFailure', 'a function', onUploadFailure)
  }
  if (ms === undefined && records === undefined) {
    throw invalidValue('commit', 'must have "ms" or "records"', commit)
  }
  if (manifest !== undefined) {
    throw invalidValue(
      'manifest',
      'must not be set with "commit": a manifest needs reruns',
      manifest,
    )
  }
  if (typeof transform === 'function') {
    const reason = `must be 'gzip' or 'zstd' with "commit", which concatenates the output of several streams`
    throw invalidValue('transform', reason, transform)
  }
  if (upload?.overwrite === true) {
    throw invalidValue('upload', 'must not have "overwrite: true" with "commit"', upload)
  }
  return { ms, records: records ?? Infinity, onUploadFailure }
}

/** @throws TypeError if the first object has the key of another object of the job in any case */
function checkKeyIsFree(
  { key, job, commit }: Pick<RotateOptions<never>, 'key' | 'job' | 'commit'>,
  template: KeyTemplate,
  reservedKeys: readonly string[],
): void {
  const { placeholders } = template
  if (placeholders.has('partition') || template.hasDate) return
  if (commit !== undefined && placeholders.has('seq')) return // the number is skipped
  if (!reservedKeys.includes(template.key({ ...SAMPLE_KEY_FIELDS, job, date: undefined }))) return
  const reason = 'must not be the key of the manifest, the success marker or the dead letter object'
  throw invalidValue('key', reason, key)
}

/** @returns the key of the marker, or `undefined` if there is none */
function checkSuccessMarker(
  {
    successMarker = false,
    job,
    commit,
  }: Pick<RotateOptions<never>, 'successMarker' | 'job' | 'commit'>,
  folder: string,
  manifestKey: string,
): string | undefined {
  if (typeof successMarker !== 'boolean' && typeof successMarker !== 'string') {
    throw invalidType('successMarker', 'a boolean or a string', successMarker)
  }
  if (successMarker === false) return undefined
  if (commit !== undefined) {
    const reason = 'must not be set with "commit": such a job has no manifest'
    throw invalidValue('successMarker', reason, successMarker)
  }
  const template = successMarker === true ? `${folder}_SUCCESS` : successMarker
  const key = resolveJobKey('successMarker', template, job)
  if (key === manifestKey) {
    throw invalidValue('successMarker', 'must not be the key of the manifest', successMarker)
  }
  return key
}

function checkDeadLetter(
  deadLetter: { key: string } | undefined,
  job: string,
): DeadLetterSettings | undefined {
  if (deadLetter === undefined) return undefined
  checkObject('deadLetter', deadLetter)
  checkProperties('deadLetter', deadLetter, { key: true })
  const key = resolveJobKey('deadLetter.key', deadLetter.key, job)
  return { key, isPerJob: deadLetter.key.includes('{job}') }
}

/** Fills in the key of an object that a job has once. */
function resolveJobKey(option: string, text: string, job: string): string {
  const template = new KeyTemplate(option, text)
  if ([...template.placeholders].some(name => name !== 'job')) {
    throw invalidValue(option, 'must have no placeholder other than {job}', text)
  }
  const key = template.key({ ...SAMPLE_KEY_FIELDS, job, date: undefined })
  checkKey(key)
  return key
}

function isSet(value: unknown): boolean {
  return value !== undefined
}

function checkOptionAndPlaceholder(
  option: string,
  isGiven: boolean,
  placeholder: string,
  isUsed: boolean,
): void {
  if (isGiven === isUsed) return
  const reason = isGiven ? `needs ${placeholder} in "key"` : `is needed for ${placeholder} in "key"`
  throw invalidValue(option, reason, isGiven ? 'a function' : undefined)
}

/** Default format, for records that are strings or bytes. */
function passThroughFormat(record: unknown): string | Uint8Array {
  if (typeof record === 'string' || types.isUint8Array(record)) return record
  throw invalidType('format', 'set for records that are not strings or bytes', record)
}
