/**
 * The checkpoint: the durable record of one upload, and its envelope on disk
 * (`{"format":1,"digest":"sha256:...","checkpoint":{...}}`). Reading never guesses: a checkpoint is complete
 * and of a known format, or it is rejected with the reason (rule 10). Pure functions only.
 */
import { createHash } from 'node:crypto'
import * as v from 'valibot'
import type { ObjectOptions } from '../oss/object-headers.js'

/** The latest format, which this version reads and writes. Format 2 added commits, unanswered requests, moves and compression. */
export const FORMAT = 2

const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** Valid part sizes in bytes. Without a lower limit, a plan could be endless. */
const partSizeSchema = v.pipe(countSchema, v.minValue(100 * 1024), v.maxValue(5 * 2 ** 30))
const MAX_PARTS = 10_000
/** Characters that need no escaping in our URLs. */
const uploadIdSchema = v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,1024}$/))
const timeSchema = v.pipe(v.string(), v.isoTimestamp())
const crcSchema = v.pipe(v.string(), v.regex(/^\d{1,20}$/))
const fileNameSchema = v.pipe(v.string(), v.regex(/^spool-[A-Za-z0-9._-]+$/))
/** Not `v.record`, which silently drops names such as `constructor`. */
const stringRecordSchema = v.custom<Record<string, string>>(
  value => isRecord(value) && Object.values(value).every(x => typeof x === 'string'),
)
const scalarRecordSchema = v.custom<Record<string, string | number | boolean>>(
  value =>
    isRecord(value) &&
    Object.values(value).every(x => ['string', 'number', 'boolean'].includes(typeof x)),
)
/**
 * A keyword that was validated as an option. Any string is accepted here: OSS may have added values since.
 */
const keywordSchema = <T extends string>() => v.custom<T>(value => typeof value === 'string')

const objectSchema = v.strictObject({
  headers: v.exactOptional(stringRecordSchema),
  meta: v.exactOptional(stringRecordSchema),
  mime: v.exactOptional(v.string()),
  storageClass: v.exactOptional(keywordSchema<NonNullable<ObjectOptions['storageClass']>>()),
  acl: v.exactOptional(keywordSchema<NonNullable<ObjectOptions['acl']>>()),
  tags: v.exactOptional(stringRecordSchema),
  overwrite: v.exactOptional(v.boolean()),
  callback: v.exactOptional(
    v.strictObject({
      url: v.string(),
      body: v.string(),
      host: v.exactOptional(v.string()),
      contentType: v.exactOptional(v.string()),
      callbackSNI: v.exactOptional(v.boolean()),
      customValue: v.exactOptional(scalarRecordSchema),
    }),
  ),
})

/** The period in which an Initiate may have taken effect, by our clock. */
const windowSchema = v.strictObject({ from: timeSchema, to: timeSchema })

/** Fields of every phase. */
const commonFields = {
  /** Random id in the object's metadata, by which we recognise our own object (rule 8). */
  token: v.pipe(v.string(), v.minLength(8)),
  createdAt: timeSchema,
  updatedAt: timeSchema,
  /** Determines where parts begin and end. */
  plan: v.strictObject({ version: v.literal(1), base: partSizeSchema, cap: partSizeSchema }),
  /** Options sent at initiation, and their digest: an upload id can only be reused for equal options. */
  object: objectSchema,
  digest: v.string(),
  replay: v.picklist(['restart', 'offset']),
  /** Whether to leave a receipt. */
  once: v.boolean(),
  /** Name of the temp file in the upload's directory. */
  file: fileNameSchema,
  uploadId: v.exactOptional(uploadIdSchema),
  /** The upload id was created by `ali-oss`: an object completed under it does not carry our token. */
  imported: v.exactOptional(v.literal(true)),
  /** An Initiate is in flight: written before the request is sent, cleared by its response (rule 5). */
  initiating: v.exactOptional(windowSchema),
  /** CRC64 of each complete part, by part number. */
  crcs: v.pipe(v.array(crcSchema), v.maxLength(MAX_PARTS)),
  /** Bytes in the temp file. */
  spooled: countSchema,
  /** Bytes and number of acknowledged parts. Informational: OSS's list is authoritative (rule 4). */
  uploaded: countSchema,
  acknowledged: countSchema,
  /** Runs of part numbers whose bytes were freed: only OSS has them. */
  freed: v.exactOptional(
    v.pipe(v.array(v.pipe(v.tuple([countSchema, countSchema]), v.readonly())), v.readonly()),
  ),
  /** Digests of the whole stream, saved because they cannot be recomputed once bytes are freed. */
  met: v.exactOptional(
    v.strictObject({ md5: v.exactOptional(v.string()), sha256: v.exactOptional(v.string()) }),
  ),
  /** The error that ended the last run. */
  error: v.exactOptional(v.strictObject({ code: v.string(), message: v.string(), at: timeSchema })),
}

/** A prefix of the stream that is durable and can be published on its own, written by `commit()`. */
const committedSchema = v.strictObject({
  size: countSchema,
  crc64: crcSchema,
  /** CRC64 of each part of an object that ends here. The last part is usually an incomplete one. */
  crcs: v.pipe(v.array(crcSchema), v.maxLength(MAX_PARTS)),
  at: timeSchema,
})

/** The bytes of a source that was compressed on its way into the temp file. */
const compressedSourceSchema = v.strictObject({
  compression: v.picklist(['gzip', 'zstd']),
  size: countSchema,
  crc64: crcSchema,
  /** The digests that were expected at the seal. */
  md5: v.exactOptional(v.string()),
  sha256: v.exactOptional(v.string()),
})

const sealedFields = {
  ...commonFields,
  size: countSchema,
  crc64: crcSchema,
  sealedAt: timeSchema,
  /** Describes the source, if its bytes were compressed: `size` and `crc64` are those of the object. */
  source: v.exactOptional(compressedSourceSchema),
  /** Sealed at its last commit, without the end of its source. Never passes for the whole stream. */
  prefix: v.exactOptional(v.literal(true)),
  /** A PutObject was sent and not answered. It may still take effect, although HEAD found nothing so far. */
  unansweredPut: v.exactOptional(v.literal(true)),
}

const spoolingSchema = v.strictObject({
  phase: v.literal('spooling'),
  ...commonFields,
  committed: v.exactOptional(committedSchema),
})
const sealedSchema = v.strictObject({ phase: v.literal('sealed'), ...sealedFields })
const completingSchema = v.strictObject({
  phase: v.literal('completing'),
  ...sealedFields,
  method: v.picklist(['multipart', 'put']),
  /** By OSS's clock: someone else's object that is not older than this was written during completion. */
  completingAt: timeSchema,
})
const publishedSchema = v.strictObject({
  phase: v.literal('published'),
  ...sealedFields,
  etag: v.string(),
  parts: countSchema,
  requestId: v.string(),
  versionId: v.exactOptional(v.string()),
})

/** Where the object is to be published. */
const destinationFields = {
  endpoint: v.string(),
  region: v.string(),
  bucket: v.string(),
  cname: v.boolean(),
  pathStyle: v.boolean(),
  key: v.string(),
}

/** A place from which the upload was moved, and what may be left of it there. */
const oldPlaceSchema = v.strictObject({
  ...destinationFields,
  /** Upload ids to abort there; some may be gone already. */
  superseded: v.array(uploadIdSchema),
  /** Those of them whose Complete was sent and never answered. */
  unanswered: v.exactOptional(v.array(uploadIdSchema)),
  /** Periods of Initiates whose responses were lost. */
  lost: v.array(windowSchema),
  /** The object that a Complete or PutObject without an answer may have published there. */
  sent: v.exactOptional(
    v.strictObject({
      method: v.picklist(['multipart', 'put']),
      /** Absent for an imported upload id, whose object has none. */
      token: v.exactOptional(v.string()),
      size: countSchema,
      crc64: crcSchema,
    }),
  ),
})

const checkpointFields = v.strictObject({
  id: v.string(),
  /**
   * Host whose disk has the temp files, if records are shared; absent if the record is stored with its bytes.
   */
  host: v.exactOptional(v.string()),
  ...destinationFields,
  /**
   * Places from which `resume` moved the upload and that are not settled yet. Present, if only as an empty list,
   * in every upload that was moved.
   */
  movedFrom: v.exactOptional(v.array(oldPlaceSchema)),
  /** The current or latest stream. */
  upload: v.variant('phase', [spoolingSchema, sealedSchema, completingSchema, publishedSchema]),
  /** A sealed stream that `upload` supersedes once it is sealed; can be finished until then (rule 6). */
  previous: v.exactOptional(v.variant('phase', [sealedSchema, completingSchema, publishedSchema])),
  /** Replaced upload ids that must be aborted on OSS; some may be gone already. */
  superseded: v.array(uploadIdSchema),
  /**
   * Upload ids whose Complete was sent and never answered: it may still take effect. Aborted before anything
   * else is published (rule 8).
   */
  unanswered: v.exactOptional(v.array(uploadIdSchema)),
  /** Periods of Initiates whose responses were lost: each may have left an orphan. */
  lost: v.array(windowSchema),
})

const fitsPlan = (upload: v.InferOutput<typeof checkpointFields>['upload'] | undefined): boolean =>
  upload === undefined ||
  Math.max(upload.spooled, 'size' in upload ? upload.size : 0) <=
    MAX_PARTS * Math.max(upload.plan.base, upload.plan.cap)

const checkpointSchema = v.pipe(
  checkpointFields,
  v.check(
    ({ upload, previous }) => fitsPlan(upload) && fitsPlan(previous),
    'It has more bytes than its plan can hold',
  ),
)

export type Spooling = Readonly<v.InferOutput<typeof spoolingSchema>>
export type Sealed = Readonly<v.InferOutput<typeof sealedSchema>>
export type Completing = Readonly<v.InferOutput<typeof completingSchema>>
export type Published = Readonly<v.InferOutput<typeof publishedSchema>>
export type UploadRecord = Spooling | Sealed | Completing | Published
export type Checkpoint = Readonly<v.InferOutput<typeof checkpointSchema>>
export type InitiateWindow = Readonly<v.InferOutput<typeof windowSchema>>

/** A place from which an upload was moved. */
export type OldPlace = Readonly<v.InferOutput<typeof oldPlaceSchema>>

/** Where an object is: what distinguishes it from every other object. */
export type ObjectAddress = Pick<Checkpoint, 'endpoint' | 'bucket' | 'key'>

/** The bytes of a source before their compression. */
export type CompressedSource = Readonly<v.InferOutput<typeof compressedSourceSchema>>

/** A durable prefix of a stream. */
export type Committed = Readonly<v.InferOutput<typeof committedSchema>>

/** A record of an upload that can be finished without its source. */
export type Finishable = Sealed | Completing

/** The two records of a checkpoint: the latest stream, and the sealed one that it will supersede. */
export type Slot = 'upload' | 'previous'

/** Returns whether the upload can be finished without its source. */
export function isFinishable(record: UploadRecord | undefined): record is Finishable {
  return record?.phase === 'sealed' || record?.phase === 'completing'
}

/** Returns whether the stream is unsealed, but has a commit. */
export function isCommitted(
  record: UploadRecord | undefined,
): record is Spooling & { readonly committed: Committed } {
  return record?.phase === 'spooling' && record.committed !== undefined
}

/**
 * Returns the slot of the record that can be finished without its source, up to its last commit if it is not
 * sealed; `undefined` if the source is still needed.
 */
export function resumableSlot(checkpoint: Checkpoint): Slot | undefined {
  return (['upload', 'previous'] as const).find(
    slot => isFinishable(checkpoint[slot]) || isCommitted(checkpoint[slot]),
  )
}

/** The checkpoint is incomplete, altered or invalid. */
export class CheckpointDamagedError extends Error {
  override readonly name = 'CheckpointDamagedError'
}

/** The checkpoint was written by a later version, and must be left unchanged. */
export class LaterFormatError extends Error {
  override readonly name = 'LaterFormatError'
}

/**
 * Serialises a checkpoint.
 * @throws TypeError if it could not be read again, so that it never replaces a readable one
 */
export function encodeCheckpoint(value: Checkpoint): string {
  const body = JSON.stringify(value)
  const parsed = v.safeParse(checkpointSchema, JSON.parse(body))
  if (!parsed.success) throw new TypeError(`Not a checkpoint: ${v.summarize(parsed.issues)}`)
  const format = formatOf(parsed.output)
  return `{"format":${format},"digest":"${digestOf(body)}","checkpoint":${body}}\n`
}

/** Returns the earliest format that can express `checkpoint`, so that earlier versions read what they understand. */
function formatOf({ upload, previous, unanswered, movedFrom }: Checkpoint): 1 | 2 {
  const isNew = (record: UploadRecord | undefined): boolean =>
    record !== undefined &&
    ('committed' in record || 'prefix' in record || 'unansweredPut' in record || 'source' in record)
  const isNewAround = unanswered !== undefined || movedFrom !== undefined
  return isNewAround || isNew(upload) || isNew(previous) ? 2 : 1
}

/**
 * Parses and validates a checkpoint.
 * @throws CheckpointDamagedError if the text is not a complete, unaltered checkpoint
 * @throws LaterFormatError if a later version wrote it
 */
export function decodeCheckpoint(text: string): Checkpoint {
  let envelope: unknown
  try {
    envelope = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointDamagedError('the checkpoint is not JSON', { cause })
  }
  if (typeof envelope !== 'object' || envelope === null || !('format' in envelope)) {
    throw new CheckpointDamagedError('the checkpoint has no format')
  }
  const { format, digest, checkpoint: body } = envelope as Record<string, unknown>
  if (Number.isSafeInteger(format) && Number(format) > FORMAT) {
    throw new LaterFormatError(
      `the checkpoint has format ${String(format)}; this version reads formats up to ${FORMAT}`,
    )
  }
  if (format !== 1 && format !== FORMAT)
    throw new CheckpointDamagedError(`the checkpoint has format ${JSON.stringify(format)}`)
  if (digest !== digestOf(stringify(body))) {
    throw new CheckpointDamagedError('the digest of the checkpoint does not match its content')
  }
  const parsed = v.safeParse(checkpointSchema, body)
  if (!parsed.success) throw new CheckpointDamagedError(v.summarize(parsed.issues))
  return parsed.output
}

/** @throws CheckpointDamagedError if the value is nested too deeply for the stack */
function stringify(body: unknown): string {
  try {
    return JSON.stringify(body) ?? ''
  } catch (cause) {
    throw new CheckpointDamagedError('the checkpoint is nested too deeply', { cause })
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns the digest of a text in the notation of checkpoints. */
export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}
