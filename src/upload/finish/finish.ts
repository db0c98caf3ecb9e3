/**
 * Finishes a sealed upload: sends the missing parts, then Complete (or one PutObject), and verifies the
 * object. A stream that was just sealed and a process that resumes after a crash run the same code, so the
 * recovery path is exercised by every upload.
 */
import { crc64 } from '../../crc64.js'
import type { Completing, Finishable, Published, Sealed } from '../../disk/checkpoint.js'
import { SpoolError } from '../../errors.js'
import { keyTakenHint, type Hint } from '../../hint.js'
import { TOKEN_HEADER, type ObjectInfo, type PublishResponse } from '../../oss/bucket.js'
import { bodyHeaders, completionHeaders, initiationHeaders } from '../../oss/object-headers.js'
import {
  errorKind,
  isAmbiguous,
  isRefusal,
  mayBeOurOwn,
  OssRequestError,
} from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { errorContext, toSpoolError } from '../run/error-mapping.js'
import { abortUploadId, abortUploadIds } from '../transfer/abort-upload-ids.js'
import { BytesLostError, hasFreedParts } from '../model/freed-parts.js'
import { AlreadyPublishedError } from '../transfer/multipart-session.js'
import { settleOldPlaces, withOldPlaces } from '../transfer/old-places.js'
import { windowsToKeep } from '../transfer/orphans.js'
import {
  startCompleting,
  dropPrevious,
  keepReceipt,
  partCount,
  markPublished,
  mayBePublished,
  publishMethod,
  backToSealed,
  uploadIdsToAbort,
  uploadIdsToSettle,
  withLostInitiates,
  withUploadIdsToAbort,
} from '../model/phase.js'
import {
  asUnpublished,
  isOurObject,
  reconcile,
  type Unpublished,
} from '../transfer/publish-outcome.js'
import { isRetryable, retryDelay, withRetry } from '../model/retry.js'
import { errorMessage } from '../../util/error-shape.js'
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

/** Default time, in ms, after which the outcome of a pending Complete is looked up. The `timeout` option replaces it. */
const COMPLETE_OVERDUE_MS = 60_000

/** OSS's names of the requests that publish an object. */
const OPERATIONS: Readonly<Record<Completing['method'], string>> = {
  multipart: 'CompleteMultipartUpload',
  put: 'PutObject',
}

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
          const record = resources.sealed
          if (record.phase === 'completing') await saveUnpublished(resources, record, 'pending')
        }
      } else throw error
    }
  }
  const finished = await recordPublished(resources, resources.sealed, done)
  resources.partReporter.published(done.reply)
  const { size, parts } = finished.published
  context.diagnostics.published({ size, parts, sent: context.sent, skipped: context.skipped(size) })
  return finished
}

/** Reconciles a record that is in `completing` after a crash or a lost response (rule 8). */
async function reconcileOnStart(resources: UploadResources): Promise<PublishedObject | undefined> {
  const record = resources.sealed
  if (record.phase !== 'completing') return undefined
  const { outcome, object } = await askOutcome(resources, record)
  if (outcome === 'ours') return object
  await saveUnpublished(resources, record, outcome)
  return undefined
}

/** Sends the remaining parts, saves `completing`, sends Complete or PutObject, and verifies the object. */
async function tryComplete(resources: UploadResources): Promise<PublishedObject> {
  return publishMethod(resources.sealed) === 'put' ? putObject(resources) : complete(resources)
}

async function putObject(resources: UploadResources): Promise<PublishedObject> {
  const { context } = resources
  const { bucket, key, callOptions, progress } = context
  await resources.file() // nothing is sent, and the record stays as it is, without the bytes
  await settleOlderUploadIds(resources)
  const sealed = backToSealed(resources.sealed)
  const completing = startCompleting(sealed, 'put', bucket.now())
  await saveCompleting(resources, completing)
  const headers = {
    ...initiationHeaders(sealed.object),
    ...bodyHeaders(sealed.object),
    ...completionHeaders(sealed.object),
    [TOKEN_HEADER]: sealed.token,
  }
  context.countPut(sealed.size)
  const since = performance.now()
  const body = () => wholeBody(resources, sealed)
  const reply = await progress.trackBody(() =>
    context.trackAttempt({ number: 1, size: sealed.size }, meter =>
      bucket.put(key, body, headers, { ...callOptions, meter }),
    ),
  )
  context.diagnostics.partSent({ number: 1, size: sealed.size }, since)
  return verify(resources, completing, reply)
}

async function complete(resources: UploadResources): Promise<PublishedObject> {
  const { context } = resources
  const { bucket, key } = context
  const { uploadId, parts } = await (await resources.transfer()).drain()
  await settleOlderUploadIds(resources)
  const completing = startCompleting(backToSealed(resources.sealed), 'multipart', bucket.now())
  await saveCompleting(resources, completing)
  const pending = new AbortController()
  const signal = AbortSignal.any([context.signal, pending.signal])
  const call = { ...context.callOptions, signal, idleTimeout: COMPLETE_IDLE_TIMEOUT_MS }
  const completion = bucket
    .complete(key, uploadId, parts, completionHeaders(completing.object), call)
    .then(reply => verify(resources, completing, reply))
  try {
    const lookup = findWhilePending(context, completing, signal)
    return await Promise.race([completion, lookup.catch(() => completion)])
  } finally {
    pending.abort()
  }
}

/**
 * Asks by HEAD for the object of a Complete whose answer is overdue: OSS may have executed it while its answer
 * was lost on a dead connection (rule 8). Resolves once the object is ours; everything else is left to the
 * answer.
 */
async function findWhilePending(
  { bucket, key, callOptions, settings }: UploadContext,
  record: Completing,
  signal: AbortSignal,
): Promise<ObjectInfo> {
  const { share: _taken, ...call } = callOptions // the pending Complete already has a turn
  for (;;) {
    await waitForTimeLimit(settings.timeout ?? COMPLETE_OVERDUE_MS, signal)
    const object = await bucket.head(key, call).catch(() => undefined) // asked again
    if (object !== undefined && isOurObject(record, object)) return object
  }
}

/** Rejects when `signal` is aborted. */
function waitForTimeLimit(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted()
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/**
 * Aborts the upload ids of earlier runs whose Complete was never answered: it may still be on its way, and would
 * replace our object. Only OSS's NoSuchUpload shows that it cannot (rule 8).
 */
async function settleOlderUploadIds({ context, writer, sealed }: UploadResources): Promise<void> {
  const { id, settings } = context
  for (const uploadId of uploadIdsToSettle(writer.checkpoint, sealed)) {
    try {
      await abortUploadId(context, uploadId)
      await writer.settled(uploadId)
    } catch (error) {
      if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
      if (isRefusal(error) && (await isGone(context, uploadId))) {
        await writer.settled(uploadId)
        continue
      }
      const explanation = `A Complete of an earlier run was never answered and may still replace the object, because its upload id ${uploadId} cannot be aborted: `
      if (settings.force !== true) {
        const cause = isRefusal(error)
          ? 'Permit oss:AbortMultipartUpload'
          : 'Wait until OSS answers'
        const hint: Hint = say =>
          `${cause}, then ${say.resume(id)}. To publish it without that, ${say.resume(id, { force: true })}.`
        const known = errorContext(writer.checkpoint, writer.checkpoint, writer.slot)
        throw toSpoolError(error, { ...known, uploadId, explanation, hint })
      }
      context.warn(explanation + error.describe(), { cause: error })
    }
  }
}

/** Returns whether OSS says that the upload id does not exist. `false` also if OSS refuses or does not answer. */
async function isGone(
  { bucket, key, callOptions, retryPolicy }: UploadContext,
  uploadId: string,
): Promise<boolean> {
  try {
    const list = () => bucket.listParts(key, uploadId, callOptions)
    return (await withRetry(list, retryPolicy)) === undefined
  } catch (error) {
    if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
    return false
  }
}

/** Makes `completing` durable before the request that may publish the object (rule 5). */
async function saveCompleting(resources: UploadResources, record: Completing): Promise<void> {
  await resources.writer.write(record)
  resources.context.progress.update({ phase: 'completing' })
}

/**
 * Compares the CRC64 of the response with ours. Asks OSS only if the response has none (rule 1).
 * @throws OssRequestError if the response has none and the object is not there: OSS did not send it
 */
async function verify(
  resources: UploadResources,
  record: Completing,
  response: PublishResponse,
): Promise<PublishedObject> {
  const { context, writer } = resources
  const { bucket, key, callOptions, retryPolicy } = context
  if (response.callbackFailed !== undefined) {
    context.warn(`The object is stored, but its callback failed: ${response.callbackFailed}`)
  }
  if (String(response.crc64) === record.crc64) return response
  if (response.crc64 === undefined) {
    const ask = () => reconcile(record, bucket, key, callOptions)
    const { outcome, object } = await withRetry(ask, retryPolicy)
    if (outcome === 'ours') return { ...response, etag: response.etag || (object?.etag ?? '') }
    if (outcome !== 'wrong') throw unverifiableError(record, response)
  }
  // The published object is wrong: the next run initiates a new upload and sends the temp file again.
  const resumable = !hasFreedParts(record)
  await (resumable ? writer.dropWrongUploadId() : writer.unseal())
  resources.discardTransfer()
  const got = response.crc64 === undefined ? 'no CRC64' : `CRC64 ${response.crc64}`
  const message = `OSS reports ${got} for oss://${writer.checkpoint.bucket}/${key} instead of ${record.crc64}. A wrong object may be published there`
  throw new SpoolError('ERR_SPOOL_VERIFY', message, {
    id: context.id,
    resumable,
    requestId: response.requestId,
  })
}

/** Returns an ambiguous failure: a response without CRC64 says nothing about the object (rule 8). */
function unverifiableError(
  { method }: Completing,
  { requestId, reply }: PublishResponse,
): OssRequestError {
  return new OssRequestError({
    operation: OPERATIONS[method],
    name: 'UnverifiableReply',
    message: 'The reply has no CRC64, and the object does not exist',
    status: reply.status,
    requestId: requestId || undefined,
  })
}

/**
 * Handles a failed request other than UploadPart. While a request may still take effect, the record stays in
 * `completing` until the next attempt: a run that ends before that recognises an object that someone else writes
 * meanwhile.
 * @returns the object if the request succeeded after all; `undefined` to retry
 */
async function handleFailure(
  resources: UploadResources,
  failure: OssRequestError,
  { isLast }: { isLast: boolean },
): Promise<PublishedObject | undefined> {
  const { context, writer } = resources
  const kind = errorKind(failure)
  const record = resources.sealed
  const isCompleting = record.phase === 'completing'
  const isOver = isLast || !(isRetryable(kind) || ['no-upload', 'stale-part'].includes(kind))
  // Already retried by the caller, unless our own earlier attempt may have created the object.
  if (!isCompleting && !mayBeOurOwn(failure)) throw failure
  // Whether Complete succeeded could not be found out.
  if (isCompleting && !Object.values(OPERATIONS).includes(failure.operation)) throw failure
  if (kind === 'aborted') throw failure
  context.warnOnce(failure)
  if (mayBeOurOwn(failure)) {
    const object = await findOwnObject(resources)
    if (object !== undefined) return object
    await writer.write(backToSealed(record))
    throw failure
  }
  if (isCompleting && (kind === 'no-upload' || (isRetryable(kind) && isAmbiguous(failure)))) {
    const { outcome, object } = await askOutcome(resources, record)
    if (outcome === 'ours') return object
    if (!mayTakeEffect(record, outcome)) await saveUnpublished(resources, record, outcome)
  } else if (!isOver || !mayBePublished(writer.checkpoint, backToSealed(record))) {
    await writer.write(backToSealed(record))
    if (kind === 'stale-part') resources.discardTransfer()
  }
  if (isOver) throw failure
  return undefined
}

/** Returns the object at our key if it is ours. Where HEAD is refused, it is not, unless a Complete was not answered. */
async function findOwnObject({
  context,
  writer,
  sealed,
}: UploadResources): Promise<ObjectInfo | undefined> {
  const { bucket, key, callOptions, retryPolicy } = context
  const isOlderUnanswered = mayBePublished(writer.checkpoint, backToSealed(sealed))
  const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy).catch(
    (error: unknown) => {
      if (isOlderUnanswered || !isRefusal(error)) throw error
      return undefined
    },
  )
  return object !== undefined && isOurObject(sealed, object) ? object : undefined
}

/**
 * Asks OSS whether Complete or PutObject succeeded (rule 8).
 * @throws SpoolError if someone else wrote the key
 */
async function askOutcome(
  { context, writer }: UploadResources,
  record: Completing,
): Promise<{ outcome: Unpublished | 'ours'; object: ObjectInfo | undefined }> {
  const { outcome, object } = await withRetry(
    () => reconcile(record, context.bucket, context.key, context.callOptions),
    context.retryPolicy,
  )
  if (outcome !== 'foreign') return { outcome, object }
  // Parts that are only on OSS went with the upload id.
  const hasBytes = !context.claim.bytesLost && !hasFreedParts(record)
  // Keep the record in `completing`, so that every later run reconciles again and none overwrites that
  // object.
  throw new SpoolError(
    'ERR_SPOOL_OBJECT_EXISTS',
    `oss://${writer.checkpoint.bucket}/${context.key} was written by someone else while this upload was completing. That object is kept${hasBytes ? ', and so are all bytes on this host' : ''}`,
    {
      id: context.id,
      requestId: object?.requestId,
      hint: keyTakenHint(context.id, hasBytes ? 'here' : 'nowhere'),
    },
  )
}

/** True if a request without an answer may still publish the object. */
function mayTakeEffect({ method }: Completing, outcome: Unpublished): boolean {
  return outcome === 'pending' || (outcome === 'absent' && method === 'put')
}

async function saveUnpublished(
  resources: UploadResources,
  record: Completing,
  outcome: Unpublished,
): Promise<void> {
  const { writer } = resources
  if (outcome === 'wrong') await writer.dropWrongUploadId()
  else await writer.unanswered(record, asUnpublished(record, outcome))
  resources.discardTransfer() // the next transfer lists the parts on OSS, or initiates a new upload
}

/** Records a verified object, then cleans up: upload ids on OSS, the temp file, the checkpoint last (rule 6). */
async function recordPublished(
  resources: UploadResources,
  record: Finishable,
  done: PublishedObject,
): Promise<FinishResult> {
  const { context, writer } = resources
  writer.close()
  const parts = partCount(record)
  const { etag, requestId, versionId, callback } = done
  const object = { etag, requestId, parts, ...(versionId === undefined ? {} : { versionId }) }
  const published = markPublished(record, object)
  context.progress.update({
    phase: 'published',
    uploaded: record.size,
    parts: { done: parts, total: parts },
  })
  const unused = uploadIdsToAbort(writer.checkpoint, record, {
    answered: done.reply !== undefined,
  })
  try {
    await cleanUp(resources, published, unused)
  } catch (error) {
    // The object is published, even if this fails. The next run of this id, or `prune`, cleans up.
    const { lockLost } = context.claim
    if (lockLost?.aborted !== true) {
      const message = `The object is published, but cleaning up failed: ${errorMessage(error)}`
      context.warn(message, { cause: error })
    }
    await context.claim.release().catch(() => undefined) // the lock ends with the process at the latest
  }
  return { published, ...(callback === undefined ? {} : { callback }) }
}

/**
 * Saves that the object is published before its bytes are removed (rule 5), and ends the claim. An upload of
 * which nothing remains needs no such record: its directory is renamed away as a whole.
 */
async function cleanUp(
  { context, writer }: UploadResources,
  published: Published,
  unused: string[],
): Promise<void> {
  const { claim } = context
  if (writer.slot === 'previous' && !published.once) {
    await writer.save(withUploadIdsToAbort(dropPrevious(writer.checkpoint), unused))
    await claim.removeFile(published.file)
    await claim.release()
    return
  }
  const checkpoint =
    writer.slot === 'previous'
      ? keepReceipt(writer.checkpoint, published, unused)
      : withUploadIdsToAbort({ ...withLostInitiates(writer.checkpoint), upload: published }, unused)
  const { superseded, lost, movedFrom = [] } = checkpoint
  const isShared = claim.host !== undefined // its record outlives its bytes
  const isAlone = superseded.length === 0 && lost.length === 0 && movedFrom.length === 0
  if (!published.once && !isShared && isAlone) return context.removeUpload()
  await writer.save(checkpoint)
  await claim.removeOtherFiles([]) // before the requests, which may take minutes
  if (isAlone) return published.once ? claim.release() : context.removeUpload()
  const leftover = await abortUploadIds(context, superseded)
  const windows = await windowsToKeep(context, lost, new Set(leftover))
  const places = await settleOldPlaces(context)
  const isSettled = leftover.length + windows.length + places.length === 0
  if (!published.once && isSettled) return context.removeUpload()
  const left = { lost: windows, ...withOldPlaces(checkpoint, places) }
  await writer.save({ ...withUploadIdsToAbort(checkpoint, leftover), ...left })
  await claim.release()
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
