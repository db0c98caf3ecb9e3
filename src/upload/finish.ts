/**
 * Finishing a sealed upload: the missing parts, then Complete (or one PutObject), then the proof.
 * It serves the stream that has just been sealed and the process that comes after a crash alike, so
 * the way that is taken every day is the one that is taken after a disaster.
 */
import { crc64 } from '../crc64.js'
import type { Completing, Published, Sealed } from '../disk/checkpoint.js'
import type { TempFile } from '../disk/temp-file.js'
import { SpoolError } from '../errors.js'
import { isAmbiguous, errorKind, OssRequestError } from '../oss/request-error.js'
import { completionHeaders, initiationHeaders } from '../oss/object-headers.js'
import { TOKEN_HEADER, type PublishResponse } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { abortUploadIds } from './discard.js'
import { BytesLostError, hasFreedParts } from './freed-parts.js'
import type { RecordWriter } from './record-writer.js'
import { mayHaveOrphans } from './orphans.js'
import {
  complete,
  publish,
  reopen,
  dropPrevious,
  uploadIdsToAbort,
  withLostInitiates,
} from './phase.js'
import { isSinglePut, partsOf } from './plan.js'
import type { PartReporter } from './progress-callback.js'
import { isRetryable, retryDelay, withRetry } from './retry.js'
import { isOurObject, reconcile, asUnpublished } from './reconcile.js'
import type { CutPart } from './spooler.js'
import { AlreadyPublishedError } from './multipart-session.js'
import type { Transfer } from './transfer.js'

/** What finishing needs besides the record. */
export interface FinishRun {
  readonly context: UploadContext
  readonly writer: RecordWriter
  readonly partReporter: PartReporter
  /** The temp file; opened when it is needed, which it is not if OSS has the object. */
  file(): Promise<TempFile>
  /** The transfer under way, with all parts offered. */
  transfer(): Promise<Transfer>
  /** The next `transfer()` is a new one: it asks OSS what is there, or begins a new upload id. */
  discardTransfer(): void
}

export interface FinishResult {
  readonly published: Published
  readonly callback?: unknown
}

type PublishedReply = Pick<PublishResponse, 'etag' | 'requestId' | 'versionId' | 'callback'> &
  Partial<Pick<PublishResponse, 'reply'>>

/** Complete may work for minutes on thousands of parts without a byte on the line. */
const COMPLETE_IDLE_TIMEOUT_MS = 15 * 60_000

/** Resolves when OSS holds the whole object and what was needed for it here is removed. */
export async function finish(work: FinishRun): Promise<FinishResult> {
  const { context, writer } = work
  const { attempts } = context.settings.retry
  let done = await reconcileOnStart(work)
  for (let failures = 0; done === undefined;) {
    try {
      done = await tryComplete(work)
    } catch (error) {
      if (error instanceof BytesLostError) await writer.unseal()
      if (error instanceof AlreadyPublishedError) {
        done = error.object
      } else if (error instanceof OssRequestError && error.operation !== 'UploadPart') {
        done = await handleFailure(
          work,
          error,
          ++failures >= attempts && !context.isWithinRetryTime,
        )
        if (done === undefined) {
          context.diagnostics.retry(error)
          await context.pause(retryDelay(context.settings.retry, failures))
        }
      } else throw error
    }
  }
  const finished = await cleanUp(work, recordOf(writer), done)
  work.partReporter.published(done.reply)
  const { size, parts } = finished.published
  context.diagnostics.published({ size, parts, sent: context.sent, skipped: context.skipped(size) })
  return finished
}

/** A record in `completing` at the start: a crash, or an answer that never came (rule 8). */
async function reconcileOnStart(work: FinishRun): Promise<PublishedReply | undefined> {
  return recordOf(work.writer).phase === 'completing' ? reconcileRecord(work) : undefined
}

/** One try: the rest of the parts, the announcement on disk, Complete or PutObject, the proof. */
async function tryComplete(work: FinishRun): Promise<PublishedReply> {
  const { context, writer } = work
  const { bucket, key } = context
  const sealed = reopen(recordOf(writer))
  const headers = completionHeaders(sealed.object)
  let reply: PublishResponse
  if (isSinglePut(sealed.plan, sealed.size)) {
    await saveCompleting(work, complete(sealed, 'put', bucket.now()))
    const all = { ...initiationHeaders(sealed.object), ...headers, [TOKEN_HEADER]: sealed.token }
    context.countPut(sealed.size)
    const since = performance.now()
    reply = await bucket.put(key, () => wholeBody(work, sealed), all, context.callOptions)
    context.diagnostics.partSent({ number: 1, size: sealed.size }, since)
  } else {
    const { uploadId, parts } = await (await work.transfer()).drain()
    await saveCompleting(work, complete(reopen(recordOf(writer)), 'multipart', bucket.now()))
    const call = { ...context.callOptions, idleTimeout: COMPLETE_IDLE_TIMEOUT_MS }
    reply = await bucket.complete(key, uploadId, parts, headers, call)
  }
  if (reply.callbackFailed !== undefined) {
    context.warn(`The object is stored, but its callback failed: ${reply.callbackFailed}`)
  }
  return verify(work, reply)
}

/** `completing` is durable before the request that may publish (rule 5). */
async function saveCompleting(work: FinishRun, record: Completing): Promise<void> {
  await work.writer.write(record)
  work.context.progress.update({ phase: 'completing' })
}

/** The CRC64 in the reply counts; HEAD only where it is missing (rule 1). */
async function verify(work: FinishRun, reply: PublishResponse): Promise<PublishedReply> {
  const { context, writer } = work
  const record = recordOf(writer)
  if (String(reply.crc64) === record.crc64) return reply
  if (reply.crc64 === undefined) {
    const { bucket, key, callOptions, retryPolicy } = context
    const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy)
    if (object !== undefined && isOurObject(record, object))
      return { ...reply, etag: reply.etag || object.etag }
  }
  // What is published is wrong: the next run starts with a new upload id, from the temp file.
  const resumable = !hasFreedParts(record)
  await (resumable ? writer.dropWrongUploadId() : writer.unseal())
  work.discardTransfer()
  const got = reply.crc64 === undefined ? 'no CRC64' : `CRC64 ${reply.crc64}`
  const message = `OSS reports ${got} for oss://${writer.checkpoint.bucket}/${context.key}, we have ${record.crc64}; a wrong object may be published there`
  throw new SpoolError('ERR_SPOOL_VERIFY', message, {
    id: context.id,
    resumable,
    requestId: reply.requestId,
  })
}

/** A failed request other than a part: whether it took effect after all, and whether to go on. */
async function handleFailure(
  work: FinishRun,
  failure: OssRequestError,
  last: boolean,
): Promise<PublishedReply | undefined> {
  const { context, writer } = work
  const kind = errorKind(failure)
  // It had its attempts where it failed; but a key may be taken by an earlier attempt of ours.
  if (recordOf(writer).phase !== 'completing' && kind !== 'exists') throw failure
  if (kind === 'aborted') throw failure
  context.warnOnce(failure)
  if (kind === 'exists') {
    const { bucket, key, callOptions, retryPolicy } = context
    const record = recordOf(writer)
    const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy)
    if (object !== undefined && isOurObject(record, object)) return object
    await writer.write(reopen(record))
    throw failure
  }
  if (kind === 'no-upload' || (isRetryable(kind) && isAmbiguous(failure))) {
    const done = await reconcileRecord(work)
    if (done !== undefined) return done
  } else {
    await writer.write(reopen(recordOf(writer)))
    if (kind === 'stale-part') work.discardTransfer()
  }
  if (last || (!isRetryable(kind) && kind !== 'no-upload' && kind !== 'stale-part')) throw failure
  return undefined
}

/** Rule 8: asks OSS, and leaves a record that says what was found. */
async function reconcileRecord(work: FinishRun): Promise<PublishedReply | undefined> {
  const { context, writer } = work
  const record = recordOf(writer)
  if (record.phase !== 'completing') return undefined
  const { outcome, object } = await withRetry(
    () => reconcile(record, context.bucket, context.key, context.callOptions),
    context.retryPolicy,
  )
  if (outcome === 'ours') return object
  if (outcome !== 'strangers') {
    if (outcome === 'wrong') await writer.dropWrongUploadId()
    else await writer.write(asUnpublished(record, outcome))
    work.discardTransfer() // the next one asks OSS which parts it has, or begins a new upload id
    return undefined
  }
  // It stays in `completing`, so that every later run asks again and none overwrites their object.
  throw new SpoolError(
    'ERR_SPOOL_OBJECT_EXISTS',
    `oss://${writer.checkpoint.bucket}/${context.key} was written by someone else while it was being completed; their object stays, all bytes are kept`,
    { id: context.id, requestId: object?.requestId },
  )
}

/** The object is verified: first what is on OSS, then the temp file, the checkpoint last (rule 6). */
async function cleanUp(
  work: FinishRun,
  record: Sealed | Completing,
  done: PublishedReply,
): Promise<FinishResult> {
  const { context, writer } = work
  const { claim } = context
  writer.close()
  const parts = isSinglePut(record.plan, record.size) ? 1 : record.crcs.length
  const { etag, requestId, versionId, callback } = done
  const object = { etag, requestId, parts, ...(versionId === undefined ? {} : { versionId }) }
  const published = publish(record, object)
  const finished = { published, ...(callback === undefined ? {} : { callback }) }
  context.progress.update({
    phase: 'published',
    uploaded: record.size,
    parts: { done: parts, total: parts },
  })
  const file = await work.file().catch(() => undefined) // gone already: a killed removal
  const unused = uploadIdsToAbort(writer.checkpoint, record, done.reply !== undefined)
  if (writer.slot === 'previous') {
    await file?.remove()
    await writer.save({ ...dropPrevious(writer.checkpoint), superseded: unused })
    await claim.release()
    return finished
  }
  const leftover = await abortUploadIds(context, unused)
  const { lost } = withLostInitiates(writer.checkpoint)
  const orphans = lost.length > 0 && (await mayHaveOrphans(context, lost, new Set(leftover)))
  if (record.once || leftover.length > 0 || orphans) {
    const left = { superseded: leftover, lost: orphans ? lost : [] }
    await file?.remove()
    await writer.save({ ...writer.with(published), ...left })
    await claim.removeOtherFiles([]) // a predecessor's, whose removal failed or was killed
    await claim.release()
  } else {
    await claim.remove()
  }
  return finished
}

/** The whole temp file, for PutObject; what was flipped on disk never gets into the object. */
async function wholeBody(work: FinishRun, sealed: Sealed): Promise<Buffer> {
  const file = await work.file()
  const body = await file.read(0, sealed.size)
  if (String(crc64(body)) !== sealed.crc64) {
    throw file.damagedError('The temp file is not what its checkpoint says')
  }
  return body
}

/** All parts of a sealed upload. */
export function cutParts(record: Sealed | Completing): CutPart[] {
  return partsOf(record.plan, record.size).map((part, i) => ({
    ...part,
    crc64: BigInt(record.crcs[i] ?? -1),
  }))
}

function recordOf(writer: RecordWriter): Sealed | Completing {
  const { record } = writer
  if (record.phase === 'sealed' || record.phase === 'completing') return record
  throw new Error(`An upload in phase ${record.phase} cannot be finished`)
}
