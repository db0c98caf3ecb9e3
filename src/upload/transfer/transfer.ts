/**
 * Sends the parts of one upload, at most `parallel` concurrently. A part is done if and only if OSS reports it
 * with our size and CRC64, in a response or in its list (rule 4). While the source flows, only a key that is
 * taken fails the upload; attempts are counted from `sourceEnded()` on.
 */
import { randomUUID } from 'node:crypto'
import { bodyHeaders } from '../../oss/object-headers.js'
import { isNoSuchUpload, OssRequestError } from '../../oss/request-error.js'
import type { HttpResponse, UploadBody, UploadedPart } from '../../oss/bucket.js'
import type { UploadContext } from '../run/context.js'
import { BytesLostError, hasFreedParts, isFreed } from '../model/freed-parts.js'
import type { RecordWriter } from '../run/record-writer.js'
import { ConcurrencyLimiter } from './concurrency.js'
import { retryDelay, withRetry, type RetryPolicy } from '../model/retry.js'
import { handleLostUploadId, openSession, type MultipartSession } from './multipart-session.js'
import type { CutPart, DonePart } from '../model/plan.js'

/** Reads the bytes of parts. */
export interface PartReader {
  /** Returns a fresh body for each attempt. */
  body(part: CutPart): UploadBody
  /** Rejects if the bytes on disk do not match the checkpoint. */
  verify(part: CutPart): Promise<void>
}

/** Events of a transfer, for its owner. */
export interface TransferEvents {
  /** A part is done; `response` is `undefined` if OSS had it already. */
  onDone(part: CutPart, done: DonePart, response: HttpResponse | undefined): void
  /** Done parts may be lost: the upload id is new, or OSS has not listed its parts yet. */
  onRestart(): void
  /** The transfer failed; `drain()` rejects with the same error. */
  onFailure(error: unknown, part: number | undefined): void
}

/** The upload id is a sealed predecessor's, and its parts differ from ours (rule 6). */
class BorrowedUploadIdError extends Error {}

/** While the predecessor may still be needed, it is checked again this often, in ms, whether it is superseded. */
const SUPERSEDED_CHECK_MS = 60_000

/** Limit of upload ids that vanish one after the other; no network failure causes that. */
const MAX_SESSIONS = 5

export class Transfer {
  readonly #context: UploadContext
  readonly #writer: RecordWriter
  readonly #source: PartReader
  readonly #events: TransferEvents
  readonly #parts: CutPart[] = []
  #queue: CutPart[] = []
  #active = 0
  #session: Promise<MultipartSession> | undefined
  #sessions = 0
  #failure: { error: unknown } | undefined
  #unlimited: boolean
  readonly #limiter: ConcurrencyLimiter
  #idleWaiters: (() => void)[] = []
  /** Number of parts that were sent and acknowledged. */
  #acknowledgedCount = 0

  /** @param flowing – whether the source still flows: attempts are unlimited until `sourceEnded()` */
  constructor(
    context: UploadContext,
    writer: RecordWriter,
    source: PartReader,
    { flowing }: { flowing: boolean },
    events: TransferEvents,
  ) {
    this.#context = context
    this.#writer = writer
    this.#source = source
    this.#unlimited = flowing
    this.#events = events
    this.#limiter = new ConcurrencyLimiter(context)
  }

  /** Initiates the upload ahead of the first part. */
  start(): void {
    this.#active++
    this.#currentSession()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#partEnded())
  }

  /** Adds a part whose bytes are on disk; it is sent as soon as the limit allows. */
  add(part: CutPart): void {
    this.#parts.push(part)
    this.#queue.push(part)
    this.#startParts()
  }

  /** Starts counting attempts and ends the pauses of parts that wait for a retry. */
  sourceEnded(): void {
    this.#unlimited = false
    this.#sessions = 0
    this.#limiter.resumeAll()
  }

  /** Resolves when nothing is in flight or queued. If a part failed, rejects then with the first failure. */
  async drain(): Promise<{ uploadId: string; parts: DonePart[] }> {
    await this.#waitUntilIdle()
    if (this.#failure !== undefined) throw this.#failure.error
    const session = await this.#currentSession()
    return { uploadId: session.uploadId, parts: [...session.done.values()] }
  }

  /** Sends nothing new; resolves when no request is in flight. */
  async stop(): Promise<void> {
    this.#queue = []
    this.#limiter.close()
    await this.#waitUntilIdle()
  }

  #startParts(): void {
    while (this.#active < this.#limiter.limit && this.#failure === undefined) {
      const part = this.#queue.shift()
      if (part === undefined) return
      this.#active++
      this.#deliver(part)
        .catch((error: unknown) => this.#fail(error, part.number))
        .finally(() => this.#partEnded())
    }
  }

  #partEnded(): void {
    this.#active--
    this.#startParts()
    if (this.#active > 0) return
    for (const resolve of this.#idleWaiters.splice(0)) resolve()
  }

  #fail(error: unknown, part?: number): void {
    this.#failure ??= { error }
    this.#queue = []
    this.#limiter.close()
    this.#events.onFailure(error, part)
  }

  async #waitUntilIdle(): Promise<void> {
    while (this.#active > 0) await new Promise<void>(resolve => this.#idleWaiters.push(resolve))
  }

  /** Sends one part unless OSS lists it; starts over when its upload id is replaced meanwhile. */
  async #deliver(part: CutPart): Promise<void> {
    for (;;) {
      const opening = this.#currentSession()
      const session = await opening
      if (session.done.has(part.number)) return
      try {
        const isListed = this.#takeListed(session, part)
        if (!isListed && this.#writer.isPredecessorUploadId(session.uploadId)) {
          // `sourceEnded()` ends the pause: by then it is durable that the predecessor is superseded.
          await this.#limiter.pause(SUPERSEDED_CHECK_MS)
          continue
        }
        const uploaded = isListed ? undefined : await this.#send(session, part)
        const done = session.done.get(part.number)
        if (this.#session === opening && done !== undefined) {
          this.#sessions = 1
          return this.#events.onDone(part, done, uploaded?.reply)
        }
      } catch (error) {
        if (!(error instanceof BorrowedUploadIdError) && !isNoSuchUpload(error)) throw error
        if (this.#session === opening) await this.#replaceSession(error)
      }
    }
  }

  /**
   * Marks a part as done if OSS lists it with our size and CRC64 (rule 4).
   * @returns false when it must be sent
   */
  #takeListed(session: MultipartSession, { number, size, crc64 }: CutPart): boolean {
    const listed = session.listed.get(number)
    if (listed?.size === size && listed.crc64 === crc64) {
      session.done.set(number, { number, etag: listed.etag })
      return true
    }
    if (listed !== undefined && this.#writer.isPredecessorUploadId(session.uploadId)) {
      throw new BorrowedUploadIdError()
    }
    if (isFreed(this.#writer.record.freed, number)) {
      throw new BytesLostError(`OSS has lost part ${number}, which is no longer on this disk`)
    }
    return false
  }

  async #send(session: MultipartSession, part: CutPart): Promise<UploadedPart> {
    const { bucket, key, callOptions, progress } = this.#context
    const { number, size } = part
    const since = performance.now()
    const attempt = async (): Promise<UploadedPart> => {
      const uploaded = await this.#limiter.run(size, () => {
        const headers = bodyHeaders(this.#writer.record.object)
        const body = { number, size, body: this.#source.body(part), headers }
        return this.#context.trackAttempt(part, meter =>
          bucket.uploadPart(key, session.uploadId, body, { ...callOptions, meter }),
        )
      })
      if (uploaded.crc64 === undefined || uploaded.crc64 === part.crc64) return uploaded
      await this.#source.verify(part) // if the disk is to blame, no attempt can succeed
      throw checksumMismatch(part, uploaded.crc64)
    }
    const policy = this.#retryPolicy(number)
    const uploaded = await progress
      .trackBody(() => withRetry(attempt, policy))
      .catch((error: unknown) => {
        if (error instanceof OssRequestError) error.part = number
        throw error
      })
    session.done.set(number, { number, etag: uploaded.etag })
    this.#acknowledgedCount++
    this.#context.countSent(part, since)
    return uploaded
  }

  #retryPolicy(part?: number): RetryPolicy {
    return {
      retry: this.#context.settings.retry,
      fatalKinds: ['no-upload', 'exists'],
      isUnlimited: () => this.#unlimited,
      isWithinRetryTime: () => this.#context.isWithinRetryTime,
      progress: () => this.#acknowledgedCount,
      onFailure: failure => {
        this.#context.reportRetry(failure, part)
        if (part === undefined) this.#limiter.onThrottled(failure)
      },
      pause: ms => this.#limiter.pause(ms),
    }
  }

  #currentSession(): Promise<MultipartSession> {
    return (this.#session ??= this.#openSession())
  }

  async #openSession(): Promise<MultipartSession> {
    if (++this.#sessions > MAX_SESSIONS) {
      if (!this.#unlimited) throw uploadIdsVanishedError()
      // While the source flows, attempts only become slower (rule 3).
      await this.#limiter.pause(
        retryDelay(this.#context.settings.retry, this.#sessions - MAX_SESSIONS),
      )
    }
    const open = () => openSession(this.#context, this.#writer, () => this.#retryPolicy())
    const session = await open()
    const { uploadId, listed } = session
    if (listed.size > 0 || !this.#writer.isPredecessorUploadId(uploadId)) return session
    // Without parts that could be equal to ours, there is nothing to wait for.
    await this.#writer.startOwnUploadId(randomUUID())
    return open()
  }

  /** Opens a new session, once for all parts: the upload id is gone, or belongs to the predecessor. */
  async #replaceSession(cause: OssRequestError | BorrowedUploadIdError): Promise<void> {
    const known = this.#session
    this.#session = (async () => {
      const { done } = (await known) ?? { done: new Map() }
      this.#queue = [...this.#parts.filter(part => done.has(part.number)), ...this.#queue]
      this.#events.onRestart()
      if (cause instanceof OssRequestError) {
        this.#context.reportRetry(cause)
        // With freed parts, everything depends on the upload id: list its parts to make sure that it is gone.
        if (!hasFreedParts(this.#writer.record)) {
          await handleLostUploadId(this.#context, this.#writer, () => this.#retryPolicy())
        }
      } else {
        await this.#writer.startOwnUploadId(randomUUID())
      }
      return this.#openSession()
    })()
    this.#limiter.resumeAll() // parts that wait for the old upload id
    await this.#session
  }
}

function checksumMismatch({ number, crc64 }: CutPart, received: bigint): OssRequestError {
  return new OssRequestError({
    operation: 'UploadPart',
    name: 'ChecksumMismatch',
    message: `OSS computed CRC64 ${received} for part ${number}, we ${crc64}`,
  })
}

function uploadIdsVanishedError(): OssRequestError {
  return new OssRequestError({
    operation: 'ListParts',
    name: 'UploadIdsVanish',
    message: `${MAX_SESSIONS} upload ids of this key disappeared in a row`,
  })
}
