/**
 * Finishes a sealed upload: sends the missing parts, then Complete (or one PutObject), and verifies the
 * object. A stream that was just sealed and a process that resumes after a crash run the same code, so the
 * recovery path is exercised by every upload.
 */
import { crc64 } from '../../crc64.js'
import type { Completing, Finishable, Published, Sealed } from '../../disk/checkpoint.js'
import { SpoolError } from '../../errors.js'
import { TOKEN_HEADER, type PublishResponse } from '../../oss/bucket.js'
import { bodyHeaders, completionHeaders, initiationHeaders } from '../../oss/object-headers.js'
import { errorKind, isAmbiguous, mayBeOurOwn, OssRequestError } from '../../oss/request-error.js'
import { abortUploadIds } from '../transfer/abort-upload-ids.js'
import { BytesLostError, hasFreedParts } from '../model/freed-parts.js'
import { AlreadyPublishedError } from '../transfer/multipart-session.js'
import { mayHaveOrphans } from '../transfer/orphans.js'
import {
  startCompleting,
  dropPrevious,
  partCount,
  markPublished,
  publishMethod,
  backToSealed,
  uploadIdsToAbort,
  withLostInitiates,
} from '../model/phase.js'
import { asUnpublished, isOurObject, reconcile } from '../transfer/publish-outcome.js'
import { isRetryable, retryDelay, withRetry } from '../model/retry.js'
import type { UploadResources } from './upload-resources.js'

/** The published record, and the response of the caller's callback server. */
export interface FinishResult {
  readonly published: Published
  readonly callback?: unknown
}

/** The object on OSS. `reply` is set only if Complete or PutObject was answered. */
type PublishedObject = Pick<PublishResponse, 'etag' | 'requestId' | 'versionId' | 'callback'> &
  Partial<Pick<PublishResponse, 'reply'>>

/** Complete may take minutes for thousands of parts, without any data on the connection. */
const COMPLETE_IDLE_TIMEOUT_MS = 15 * 60_000

/** Finishes the upload. Resolves when the object is verified and its files on this host are removed. */
export async function finish(resources: UploadResources): Promise<FinishResult> {
  const { context, writer } = resources
  const { attempts } = context.settings.retry
  let done = await reconcileOnStart(resources)
  for (let failures = 0; done === undefined;) {
    try {
      done = await tryComplete(resources)
    } catch (error) {
      if (error instanceof BytesLostError) await writer.unseal()
      if (error instanceof AlreadyPublishedError) {
        done = error.object
      } else if (error instanceof OssRequestError && error.operation !== 'UploadPart') {
        const isLast = ++failures >= attempts && !context.isWithinRetryTime
        done = await handleFailure(resources, error, { isLast })
        if (done === undefined) {
          context.diagnostics.retry(error)
          await context.pause(retryDelay(context.settings.retry, failures))
        }
      } else throw error
    }
  }
  const finished = await cleanUp(resources, resources.sealed, done)
  resources.partReporter.published(done.reply)
  const { size, parts } = finished.published
  context.diagnostics.published({ size, parts, sent: context.sent, skipped: context.skipped(size) })
  return finished
}

/** Reconciles a record that is in `completing` after a crash or a lost response (rule 8). */
async function reconcileOnStart(resources: UploadResources): Promise<PublishedObject | undefined> {
  return resources.sealed.phase === 'completing' ? reconcileRecord(resources) : undefined
}

/** Sends the remaining parts, saves `completing`, sends Complete or PutObject, and verifies the object. */
async function tryComplete(resources: UploadResources): Promise<PublishedObject> {
  const { context } = resources
  const { bucket, key } = context
  const sealed = backToSealed(resources.sealed)
  const headers = completionHeaders(sealed.object)
  let reply: PublishResponse
  if (publishMethod(sealed) === 'put') {
    await saveCompleting(resources, startCompleting(sealed, 'put', bucket.now()))
    const all = {
      ...initiationHeaders(sealed.object),
      ...bodyHeaders(sealed.object),
      ...headers,
      [TOKEN_HEADER]: sealed.token,
    }
    context.countPut(sealed.size)
    const since = performance.now()
    reply = await bucket.put(key, () => wholeBody(resources, sealed), all, context.callOptions)
    context.diagnostics.partSent({ number: 1, size: sealed.size }, since)
  } else {
    const { uploadId, parts } = await (await resources.transfer()).drain()
    await saveCompleting(
      resources,
      startCompleting(backToSealed(resources.sealed), 'multipart', bucket.now()),
    )
    const call = { ...context.callOptions, idleTimeout: COMPLETE_IDLE_TIMEOUT_MS }
    reply = await bucket.complete(key, uploadId, parts, headers, call)
  }
  if (reply.callbackFailed !== undefined) {
    context.warn(`The object is stored, but its callback failed: ${reply.callbackFailed}`)
  }
  return verify(resources, reply)
}

/** Makes `completing` durable before the request that may publish the object (rule 5). */
async function saveCompleting(resources: UploadResources, record: Completing): Promise<void> {
  await resources.writer.write(record)
  resources.context.progress.update({ phase: 'completing' })
}

/** Compares the CRC64 of the response with ours. Sends HEAD only if the response has none (rule 1). */
async function verify(
  resources: UploadResources,
  reply: PublishResponse,
): Promise<PublishedObject> {
  const { context, writer } = resources
  const record = resources.sealed
  if (String(reply.crc64) === record.crc64) return reply
  if (reply.crc64 === undefined) {
    const { bucket, key, callOptions, retryPolicy } = context
    const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy)
    if (object !== undefined && isOurObject(record, object))
      return { ...reply, etag: reply.etag || object.etag }
  }
  // The published object is wrong: the next run initiates a new upload and sends the temp file again.
  const resumable = !hasFreedParts(record)
  await (resumable ? writer.dropWrongUploadId() : writer.unseal())
  resources.discardTransfer()
  const got = reply.crc64 === undefined ? 'no CRC64' : `CRC64 ${reply.crc64}`
  const message = `OSS reports ${got} for oss://${writer.checkpoint.bucket}/${context.key} instead of ${record.crc64}. A wrong object may be published there`
  throw new SpoolError('ERR_SPOOL_VERIFY', message, {
    id: context.id,
    resumable,
    requestId: reply.requestId,
  })
}

/**
 * Handles a failed request other than UploadPart.
 * @returns the object if the request succeeded after all; `undefined` to retry
 */
async function handleFailure(
  resources: UploadResources,
  failure: OssRequestError,
  { isLast }: { isLast: boolean },
): Promise<PublishedObject | undefined> {
  const { context, writer } = resources
  const kind = errorKind(failure)
  // Already retried by the caller, unless our own earlier attempt may have created the object.
  if (resources.sealed.phase !== 'completing' && !mayBeOurOwn(failure)) throw failure
  if (kind === 'aborted') throw failure
  context.warnOnce(failure)
  if (mayBeOurOwn(failure)) {
    const { bucket, key, callOptions, retryPolicy } = context
    const record = resources.sealed
    const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy)
    if (object !== undefined && isOurObject(record, object)) return object
    await writer.write(backToSealed(record))
    throw failure
  }
  if (kind === 'no-upload' || (isRetryable(kind) && isAmbiguous(failure))) {
    const done = await reconcileRecord(resources)
    if (done !== undefined) return done
  } else {
    await writer.write(backToSealed(resources.sealed))
    if (kind === 'stale-part') resources.discardTransfer()
  }
  if (isLast || (!isRetryable(kind) && kind !== 'no-upload' && kind !== 'stale-part')) throw failure
  return undefined
}

/** Asks OSS whether Complete or PutObject succeeded (rule 8), and saves the answer. */
async function reconcileRecord(resources: UploadResources): Promise<PublishedObject | undefined> {
  const { context, writer } = resources
  const record = resources.sealed
  if (record.phase !== 'completing') return undefined
  const { outcome, object } = await withRetry(
    () => reconcile(record, context.bucket, context.key, context.callOptions),
    context.retryPolicy,
  )
  if (outcome === 'ours') return object
  if (outcome !== 'foreign') {
    if (outcome === 'wrong') await writer.dropWrongUploadId()
    else await writer.write(asUnpublished(record, outcome))
    resources.discardTransfer() // the next transfer lists the parts on OSS, or initiates a new upload
    return undefined
  }
  // Keep the record in `completing`, so that every later run reconciles again and none overwrites that
  // object.
  throw new SpoolError(
    'ERR_SPOOL_OBJECT_EXISTS',
    `oss://${writer.checkpoint.bucket}/${context.key} was written by someone else while this upload was completing. That object is kept, and so are all bytes on this host`,
    { id: context.id, requestId: object?.requestId },
  )
}

/** Cleans up a verified upload: upload ids on OSS, then the temp file, the checkpoint last (rule 6). */
async function cleanUp(
  resources: UploadResources,
  record: Finishable,
  done: PublishedObject,
): Promise<FinishResult> {
  const { context, writer } = resources
  const { claim } = context
  writer.close()
  const parts = partCount(record)
  const { etag, requestId, versionId, callback } = done
  const object = { etag, requestId, parts, ...(versionId === undefined ? {} : { versionId }) }
  const published = markPublished(record, object)
  const result = { published, ...(callback === undefined ? {} : { callback }) }
  context.progress.update({
    phase: 'published',
    uploaded: record.size,
    parts: { done: parts, total: parts },
  })
  const file = await resources.file().catch(() => undefined) // missing if an earlier removal was killed
  const unused = uploadIdsToAbort(writer.checkpoint, record, {
    answered: done.reply !== undefined,
  })
  if (writer.slot === 'previous') {
    await file?.remove()
    await writer.save({ ...dropPrevious(writer.checkpoint), superseded: unused })
    await claim.release()
    return result
  }
  const leftover = await abortUploadIds(context, unused)
  const { lost } = withLostInitiates(writer.checkpoint)
  const orphans = lost.length > 0 && (await mayHaveOrphans(context, lost, new Set(leftover)))
  if (record.once || leftover.length > 0 || orphans) {
    const left = { superseded: leftover, lost: orphans ? lost : [] }
    await file?.remove()
    await writer.save({ ...writer.with(published), ...left })
    await claim.removeOtherFiles([]) // a predecessor's file whose removal failed or was killed
    await claim.release()
  } else {
    await claim.remove()
  }
  return result
}

/** Reads the whole file for PutObject, and verifies it: a bit flipped on disk never reaches the object. */
async function wholeBody(resources: UploadResources, sealed: Sealed): Promise<Buffer> {
  const file = await resources.file()
  const body = await file.read(0, sealed.size)
  if (String(crc64(body)) !== sealed.crc64) {
    throw file.damagedError('The temp file does not match its checkpoint')
  }
  return body
}
