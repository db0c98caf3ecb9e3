/**
 * A session: the parts under one upload id. It starts with the upload id in the checkpoint and the parts that OSS
 * lists under it, or with a new upload id, which is saved before anything is sent under it (rule 5).
 */
import { isAmbiguous, isRefusal, OssRequestError } from '../../oss/request-error.js'
import { initiationHeaders } from '../../oss/object-headers.js'
import { TOKEN_HEADER, type ListedPart, type ObjectInfo } from '../../oss/bucket.js'
import type { UploadContext } from '../run/context.js'
import type { DonePart } from '../model/plan.js'
import { BytesLostError, hasFreedParts } from '../model/freed-parts.js'
import { mayBePublished } from '../model/phase.js'
import type { RecordWriter } from '../run/record-writer.js'
import { withRetry, type RetryPolicy } from '../model/retry.js'
import { isOurObject } from './publish-outcome.js'

/** The parts under one upload id. A new upload id needs a new session, in which no part is done. */
export interface MultipartSession {
  readonly uploadId: string
  readonly listed: ReadonlyMap<number, ListedPart>
  readonly done: Map<number, DonePart>
}

/** The upload id is gone because our object is already published (rule 8). */
export class AlreadyPublishedError extends Error {
  readonly object: ObjectInfo

  constructor(object: ObjectInfo) {
    super('The object is already published')
    this.object = object
  }
}

/** OSS rejects requests signed more than this many ms ago, so they can no longer take effect. */
const MAX_REQUEST_AGE_MS = 15 * 60_000

/** Returns the retry policy of a request that sends no part. */
type MakeRetryPolicy = () => RetryPolicy

/** Opens a session with the recorded upload id and the parts OSS lists under it, or with a new upload id. */
export async function openSession(
  context: UploadContext,
  writer: RecordWriter,
  attempts: MakeRetryPolicy,
): Promise<MultipartSession> {
  const { bucket, key, callOptions } = context
  const { uploadId } = writer.record
  if (uploadId !== undefined) {
    const list = () => bucket.listParts(key, uploadId, callOptions)
    try {
      const listed = await withRetry(list, attempts())
      if (listed !== undefined) return { uploadId, listed, done: new Map() }
      await handleLostUploadId(context, writer, attempts)
    } catch (error) {
      const canSendAll = context.settings.force === true && !hasFreedParts(writer.record)
      if (!canSendAll || !isRefusal(error)) throw error
      await writer.abandonUploadId()
    }
  }
  refuseIfFreed(writer)
  const fresh = await initiate(context, writer, attempts)
  return { uploadId: fresh, listed: new Map(), done: new Map() }
}

/**
 * Handles an upload id that no longer exists.
 * @throws AlreadyPublishedError if the upload is sealed and its object is already published (rule 8)
 * @throws BytesLostError if freed parts were lost with the upload id
 */
export async function handleLostUploadId(
  context: UploadContext,
  writer: RecordWriter,
  attempts: MakeRetryPolicy,
): Promise<void> {
  const { record } = writer
  let object: ObjectInfo | undefined
  if (record.phase === 'sealed') {
    const { bucket, key, callOptions } = context
    const ask = () => withRetry(() => bucket.head(key, callOptions), attempts())
    const mayBeOurs = record.imported === true || mayBePublished(writer.checkpoint, record)
    // Where HEAD is refused, it is still certain that an upload id without a Complete published nothing.
    object = await ask().catch((error: unknown) => {
      if (mayBeOurs || !isRefusal(error)) throw error
      return undefined
    })
    if (object !== undefined && isOurObject(record, object)) throw new AlreadyPublishedError(object)
  }
  refuseIfFreed(writer)
  await (object?.token === record.token ? writer.dropWrongUploadId() : writer.clearUploadId())
}

/** Records the intent, sends Initiate, and records the response before any part is sent (rule 5). */
async function initiate(
  { bucket, key, callOptions }: UploadContext,
  writer: RecordWriter,
  attempts: MakeRetryPolicy,
): Promise<string> {
  const { token, object } = writer.record
  const headers = { ...initiationHeaders(object), [TOKEN_HEADER]: token }
  const from = Date.now()
  let lost = false
  const attempt = async (): Promise<string> => {
    await writer.initiating(from, Date.now() + MAX_REQUEST_AGE_MS)
    try {
      return await bucket.initiate(key, headers, callOptions)
    } catch (error) {
      lost ||= error instanceof OssRequestError && isAmbiguous(error)
      throw error
    }
  }
  const uploadId = await withRetry(attempt, attempts())
  await writer.initiated(uploadId, { lost })
  return uploadId
}

/** @throws BytesLostError if parts were freed: they cannot be sent again under another upload id */
function refuseIfFreed({ record }: RecordWriter): void {
  if (!hasFreedParts(record)) return
  throw new BytesLostError(
    'its upload id is gone, and with it parts that are no longer on this disk',
  )
}
