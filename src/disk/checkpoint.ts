/**
 * The checkpoint: what is durably known of one upload, and the envelope it is written in
 * (`{"format":1,"digest":"sha256:...","checkpoint":{...}}`). Reading never guesses: a record is
 * whole and of a known format, or it is refused with the reason (rule 10). Pure functions only.
 */
import { createHash } from 'node:crypto'
import * as v from 'valibot'
import type { ObjectOptions } from '../oss/object-headers.js'

/** The format that this version writes, and the latest that it reads. */
export const FORMAT = 1

const countSchema = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** What a part may have, in bytes: with less, a plan would have no end. */
const partSizeSchema = v.pipe(countSchema, v.minValue(100 * 1024), v.maxValue(5 * 2 ** 30))
const MAX_PARTS = 10_000
/** What goes into URLs as it is. */
const uploadIdSchema = v.pipe(v.string(), v.regex(/^[\x21-\x7e]{1,1024}$/))
const timeSchema = v.pipe(v.string(), v.isoTimestamp())
const crcSchema = v.pipe(v.string(), v.regex(/^\d{1,20}$/))
const fileNameSchema = v.pipe(v.string(), v.regex(/^spool-[A-Za-z0-9._-]+$/))
/** Not `v.record`, which silently leaves out names such as `constructor`. */
const stringRecordSchema = v.custom<Record<string, string>>(
  value => isRecord(value) && Object.values(value).every(x => typeof x === 'string'),
)
const scalarRecordSchema = v.custom<Record<string, string | number | boolean>>(
  value =>
    isRecord(value) &&
    Object.values(value).every(x => ['string', 'number', 'boolean'].includes(typeof x)),
)
/** A word that was checked when it was an option; OSS may have new ones by now. */
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

/** A time in which an Initiate may have taken effect, by our clock. */
const windowSchema = v.strictObject({ from: timeSchema, to: timeSchema })

/** What is known in every phase. */
const commonFields = {
  /** Random id in the object's metadata: "was it us?" (rule 8). */
  token: v.pipe(v.string(), v.minLength(8)),
  createdAt: timeSchema,
  updatedAt: timeSchema,
  /** Where parts begin and end. */
  plan: v.strictObject({ version: v.literal(1), base: partSizeSchema, cap: partSizeSchema }),
  /** What is sent at initiation, and its digest: an upload id serves only the same. */
  object: objectSchema,
  digest: v.string(),
  replay: v.picklist(['restart', 'offset']),
  /** Leave a receipt. */
  once: v.boolean(),
  /** Name of the temp file in the upload's directory. */
  file: fileNameSchema,
  uploadId: v.exactOptional(uploadIdSchema),
  /** `ali-oss` made that upload id by itself: what is completed under it has no token of ours. */
  imported: v.exactOptional(v.literal(true)),
  /** Initiate is on its way: written before it is sent, cleared by its answer (rule 5). */
  initiating: v.exactOptional(windowSchema),
  /** CRC64 of each part that is whole, in order of part numbers. */
  crcs: v.pipe(v.array(crcSchema), v.maxLength(MAX_PARTS)),
  /** Bytes in the temp file. */
  spooled: countSchema,
  /** Bytes and number of acknowledged parts: for people; OSS's list decides (rule 4). */
  uploaded: countSchema,
  acknowledged: countSchema,
  /** Runs of part numbers whose bytes are not in the temp file any more: only OSS has them. */
  freed: v.exactOptional(
    v.pipe(v.array(v.pipe(v.tuple([countSchema, countSchema]), v.readonly())), v.readonly()),
  ),
  /** Digests of the whole, kept when bytes are freed: they cannot be computed again. */
  digests: v.exactOptional(
    v.strictObject({ md5: v.exactOptional(v.string()), sha256: v.exactOptional(v.string()) }),
  ),
  /** Why the last run ended. */
  error: v.exactOptional(v.strictObject({ code: v.string(), message: v.string(), at: timeSchema })),
}

const sealedFields = { ...commonFields, size: countSchema, crc64: crcSchema, sealedAt: timeSchema }

const spoolingSchema = v.strictObject({ phase: v.literal('spooling'), ...commonFields })
const sealedSchema = v.strictObject({ phase: v.literal('sealed'), ...sealedFields })
const completingSchema = v.strictObject({
  phase: v.literal('completing'),
  ...sealedFields,
  method: v.picklist(['multipart', 'put']),
  /** By OSS's clock: an object of a stranger's that is not older was written after us. */
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

const checkpointFields = v.strictObject({
  id: v.string(),
  /** Whose disk has the temp files, where records are shared; absent from a record beside its bytes. */
  host: v.exactOptional(v.string()),
  endpoint: v.string(),
  region: v.string(),
  bucket: v.string(),
  cname: v.boolean(),
  pathStyle: v.boolean(),
  key: v.string(),
  /** The stream that is worked on, or was last. */
  upload: v.variant('phase', [spoolingSchema, sealedSchema, completingSchema, publishedSchema]),
  /** What `upload` will supersede once it is sealed; finishable until then (rule 6). */
  previous: v.exactOptional(v.variant('phase', [sealedSchema, completingSchema, publishedSchema])),
  /** Upload ids that are to be aborted on OSS: others took their place, and some may be gone already. */
  superseded: v.array(uploadIdSchema),
  /** When Initiates were sent whose answers were lost: each may have left an upload id. */
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
    'More bytes than parts for them',
  ),
)

export type Spooling = Readonly<v.InferOutput<typeof spoolingSchema>>
export type Sealed = Readonly<v.InferOutput<typeof sealedSchema>>
export type Completing = Readonly<v.InferOutput<typeof completingSchema>>
export type Published = Readonly<v.InferOutput<typeof publishedSchema>>
export type UploadRecord = Spooling | Sealed | Completing | Published
export type Checkpoint = Readonly<v.InferOutput<typeof checkpointSchema>>
export type InitiateWindow = Readonly<v.InferOutput<typeof windowSchema>>

/** An upload that can be finished without its source. */
export type Finishable = Sealed | Completing

/** The two records of a checkpoint: the latest stream, and a sealed one that it will supersede. */
export type Slot = 'upload' | 'previous'

/** True for an upload that can be finished without its source. */
export function isFinishable(record: UploadRecord | undefined): record is Finishable {
  return record?.phase === 'sealed' || record?.phase === 'completing'
}

/** Where the upload is that can be finished; `undefined`: the source is still needed. */
export function finishableSlot(checkpoint: Checkpoint): Slot | undefined {
  return (['upload', 'previous'] as const).find(slot => isFinishable(checkpoint[slot]))
}

/** A checkpoint that cannot be used as it stands. */
export class CheckpointDamagedError extends Error {
  override readonly name = 'CheckpointDamagedError'
}

/** A checkpoint of a later version of this program: not ours to touch. */
export class LaterFormatError extends Error {
  override readonly name = 'LaterFormatError'
}

/** @throws TypeError for what could not be read again: found before it replaces what can be */
export function encodeCheckpoint(value: Checkpoint): string {
  const body = JSON.stringify(value)
  const parsed = v.safeParse(checkpointSchema, JSON.parse(body))
  if (!parsed.success) throw new TypeError(`Not a checkpoint: ${v.summarize(parsed.issues)}`)
  return `{"format":${FORMAT},"digest":"${digestOf(body)}","checkpoint":${body}}\n`
}

/**
 * @throws CheckpointDamagedError when the text is not a whole, unchanged checkpoint
 * @throws LaterFormatError when a later version wrote it
 */
export function decodeCheckpoint(text: string): Checkpoint {
  let envelope: unknown
  try {
    envelope = JSON.parse(text)
  } catch (cause) {
    throw new CheckpointDamagedError('it is not JSON', { cause })
  }
  if (typeof envelope !== 'object' || envelope === null || !('format' in envelope)) {
    throw new CheckpointDamagedError('it is not a checkpoint')
  }
  const { format, digest, checkpoint: body } = envelope as Record<string, unknown>
  if (Number.isSafeInteger(format) && Number(format) > FORMAT) {
    throw new LaterFormatError(
      `it has format ${String(format)}, this version reads up to ${FORMAT}`,
    )
  }
  if (format !== FORMAT) throw new CheckpointDamagedError(`its format is ${JSON.stringify(format)}`)
  if (digest !== digestOf(stringify(body))) {
    throw new CheckpointDamagedError('its digest does not match its content')
  }
  const parsed = v.safeParse(checkpointSchema, body)
  if (!parsed.success) throw new CheckpointDamagedError(v.summarize(parsed.issues))
  return parsed.output
}

/** @throws CheckpointDamagedError for what is nested deeper than the stack is */
function stringify(body: unknown): string {
  try {
    return JSON.stringify(body) ?? ''
  } catch (cause) {
    throw new CheckpointDamagedError('it is nested too deeply', { cause })
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Digest of a text as checkpoints write it. */
export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}
