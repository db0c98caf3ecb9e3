/** The options of a rotation: what they mean, their limits, and the check of all of them. */
import type { Duplex } from 'node:stream'
import { checkInteger, invalidType, invalidValue } from '../errors.js'
import type { UploadOptions } from '../index.js'
import { checkKey } from '../upload/names.js'
import { checkOptions } from '../upload/options.js'
import { Calendar } from './calendar.js'
import type { Format } from './format.js'
import type { RecordId } from './manifest.js'
import { KeyTemplate } from './key-template.js'
import { transformFactory, type ObjectTransform } from './transforms.js'

/** What each object is uploaded with. The rest of an upload's options is the job's own business. */
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
>

/** What `ObjectUpload` leaves out. */
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
] as const satisfies readonly Exclude<keyof UploadOptions, keyof ObjectUpload>[]

/** The options of `rotate` but for `format`; `T`: a record. */
export interface RotateBase<T> {
  /**
   * Names the job: 1 to 64 of `A-Za-z0-9._-`, not starting with a dot. The same job means the same
   * records in the same order: run again, it sends only what is missing.
   */
  readonly job: string
  /**
   * Keys of the objects, with placeholders: `{job}`, `{partition}`, `{seq}` (number of the object among
   * those with the same rest of the key, from 0; `{seq:05}` with at least 5 digits), and of the
   * record's time `{yyyy}` `{MM}` `{dd}` `{HH}` `{mm}` `{ss}`. Records with different keys go to
   * different objects.
   */
  readonly key: string
  /** Gives `{partition}`. */
  readonly partitionBy?: (record: T) => string | number
  /** Gives the record's time, for the placeholders of dates: a `Date`, or ms since 1970. */
  readonly time?: (record: T) => Date | number
  /** IANA name of the time zone of dates in keys. @default 'UTC' */
  readonly timeZone?: string
  /** When an object is full; what comes first counts. Default: never. */
  readonly every?: {
    /** Number of records: 1 or more. */
    readonly records?: number
    /**
     * Bytes as they are on OSS, so after `transform`, 1 or more. An object ends with the record that
     * makes it as large; with a transform, one or two batches (of 64 KiB of text each) later.
     */
    readonly bytes?: number
    /**
     * ms since the object was begun, whether records come or not: 1 to 2^31 - 1. For records that
     * cannot be read again: another run would cut elsewhere.
     */
    readonly ms?: number
  }
  /** Whether a new object begins with `record`; `previous` is the last one of the object so far. */
  readonly cutBefore?: (record: T, previous: T) => boolean
  /** Per object. Default: none. */
  readonly transform?: ObjectTransform
  /**
   * Objects that are open for records at once, 1 to 1,000; above that the least recently used one is
   * ended, and its next record begins another. @default 16
   */
  readonly maxOpen?: number
  /** Objects that have ended and are still on their way, 1 to 1,000; above that records wait. @default 8 */
  readonly maxEnding?: number
  /**
   * What the manifest's `first` and `last` say of a record, such as its id. Default: its number in
   * the job, from 0.
   */
  readonly recordId?: (record: T) => RecordId
  /** Key of the manifest; may have `{job}`. @default `_manifest-{job}.json` in the folder of `key` */
  readonly manifest?: string
  /** What each object is uploaded with. `overwrite` is false unless given. */
  readonly upload?: ObjectUpload
}

/** Records that are not text or bytes need a `format`. */
export type RotateOptions<T> = RotateBase<T> &
  ([T] extends [string | Uint8Array]
    ? {
        /** Makes text or bytes of a record. Default: it is one. */
        readonly format?: Format<T>
      }
    : {
        /** Makes text or bytes of a record, with its newline: `jsonl`, `await csv()`, or your own. */
        readonly format: Format<T>
      })

/** The options with every default filled in. */
export interface RotateSettings<T> {
  readonly job: string
  readonly keyTemplate: KeyTemplate
  readonly calendar: Calendar
  readonly manifestKey: string
  readonly partitionBy: ((record: T) => string | number) | undefined
  readonly time: ((record: T) => Date | number) | undefined
  readonly every: {
    readonly records: number
    readonly bytes: number
    readonly ms: number | undefined
  }
  readonly cutBefore: ((record: T, previous: T) => boolean) | undefined
  readonly format: Format<T>
  readonly createTransforms: () => readonly Duplex[]
  readonly maxOpen: number
  readonly maxEnding: number
  readonly recordId: (record: T, index: number) => RecordId
  readonly upload: ObjectUpload
}

const SAMPLE_KEY_FIELDS = { partition: 'x', seq: 0 }

/** @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function checkRotateOptions<T>(
  options: RotateBase<T> & { format?: Format<T> },
): RotateSettings<T> {
  if (typeof options !== 'object' || options === null) {
    throw invalidType('options', 'an object', options)
  }
  const { job, every = {}, upload = {} } = options
  if (typeof job !== 'string') throw invalidType('job', 'a string', job)
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(job)) {
    throw invalidValue('job', 'must be 1 to 64 of A-Za-z0-9._- , not starting with a dot', job)
  }
  for (const name of ['partitionBy', 'time', 'cutBefore', 'format', 'recordId'] as const) {
    const value = options[name]
    if (value !== undefined && typeof value !== 'function')
      throw invalidType(name, 'a function', value)
  }
  const keyTemplate = new KeyTemplate('key', options.key)
  checkOptionAndPlaceholder(
    'partitionBy',
    options.partitionBy !== undefined,
    '{partition}',
    keyTemplate.placeholders.has('partition'),
  )
  checkOptionAndPlaceholder('time', options.time !== undefined, 'a date', keyTemplate.hasDate)
  const calendar = new Calendar(options.timeZone)
  checkKey(keyTemplate.key({ ...SAMPLE_KEY_FIELDS, job, date: calendar.fields(0) }))
  if (typeof every !== 'object' || every === null) throw invalidType('every', 'an object', every)
  checkPropertyNames('every', every, ['records', 'bytes', 'ms'])
  checkInteger('every.records', every.records, 1, Number.MAX_SAFE_INTEGER)
  checkInteger('every.bytes', every.bytes, 1, Number.MAX_SAFE_INTEGER)
  checkInteger('every.ms', every.ms, 1, 2 ** 31 - 1)
  checkInteger('maxOpen', options.maxOpen, 1, 1000)
  checkInteger('maxEnding', options.maxEnding, 1, 1000)
  checkOptions(upload)
  for (const name of RESERVED_UPLOAD_OPTIONS) {
    if (Object.hasOwn(upload, name)) throw invalidValue('upload', `must not have "${name}"`, upload)
  }
  return {
    job,
    keyTemplate,
    calendar,
    manifestKey: resolveManifestKey(
      options.manifest ?? `${keyTemplate.folder}_manifest-{job}.json`,
      job,
    ),
    partitionBy: options.partitionBy,
    time: options.time,
    every: { records: every.records ?? Infinity, bytes: every.bytes ?? Infinity, ms: every.ms },
    cutBefore: options.cutBefore,
    format: options.format ?? passThroughFormat,
    createTransforms: transformFactory(options.transform),
    maxOpen: options.maxOpen ?? 16,
    maxEnding: options.maxEnding ?? 8,
    recordId: options.recordId ?? ((_record, index) => index),
    upload,
  }
}

function resolveManifestKey(text: string, job: string): string {
  const template = new KeyTemplate('manifest', text)
  if ([...template.placeholders].some(name => name !== 'job')) {
    throw invalidValue('manifest', 'must have no placeholder but {job}', text)
  }
  const key = template.key({ ...SAMPLE_KEY_FIELDS, job, date: undefined })
  checkKey(key)
  return key
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

/** A bound that is silently not kept is worse than none. */
function checkPropertyNames(option: string, object: object, names: readonly string[]): void {
  for (const name of Object.keys(object)) {
    if (!names.includes(name)) {
      throw invalidValue(option, `must only have ${names.map(n => `"${n}"`).join(', ')}`, name)
    }
  }
}

/** For records that are text or bytes. */
function passThroughFormat(record: unknown): string | Uint8Array {
  if (typeof record === 'string' || record instanceof Uint8Array) return record
  throw invalidType('format', 'given for records that are not strings or bytes', record)
}
