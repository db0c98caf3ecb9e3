/**
 * The transfer: parts on their way to OSS under one upload id, `parallel` at a time. A part is done
 * if and only if OSS says it has it with our size and CRC64, in a reply or in its list (rule 4). While the
 * source flows nothing here ends the upload but a key that is taken; `limit()` starts the counting.
 */
import { randomUUID } from 'node:crypto'
import { OssRequestError } from '../oss/request-error.js'
import type { UploadBody, HttpResponse } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { BytesLostError, hasFreedParts, isFreed } from './freed-parts.js'
import type { RecordWriter } from './record-writer.js'
import { ConcurrencyLimiter } from './concurrency.js'
import { retryDelay, withRetry, type RetryPolicy } from './retry.js'
import {
  isNoSuchUpload,
  handleLostUploadId,
  openSession,
  type DonePart,
  type MultipartSession,
} from './multipart-session.js'
import type { CutPart } from './spooler.js'

/** Where a part's bytes come from. */
export interface PartReader {
  /** A fresh body for each attempt. */
  body(part: CutPart): UploadBody
  /** Rejects when the bytes on disk are not what the checkpoint says. */
  verify(part: CutPart): Promise<void>
}

/** What the transfer tells while it works. */
export interface TransferEvents {
  onDone(part: CutPart, done: DonePart, reply: HttpResponse | undefined): void
  /** What was done is in doubt again: under a new upload id, or until OSS has listed it. */
  onRestart(): void
  /** It cannot go on; `settle()` will reject with the same. */
  onFailure(error: unknown, part: number | undefined): void
}

/** The parts under this upload id are a sealed predecessor's and differ from ours (rule 6). */
class BorrowedUploadIdError extends Error {}

/** Upload ids that vanish one after the other are not a network's doing. */
const MAX_SESSIONS = 5

export class Transfer {
  readonly #context: UploadContext
  readonly #ledger: RecordWriter
  readonly #source: PartReader
  readonly #events: TransferEvents
  readonly #parts: CutPart[] = []
  #queue: CutPart[] = []
  #active = 0
  #session: Promise<MultipartSession> | undefined
  #sessions = 0
  #failure: { error: unknown; part?: number } | undefined
  #unlimited: boolean
  readonly #limiter: ConcurrencyLimiter
  #idleWaiters: (() => void)[] = []
  /** Parts that were sent and acknowledged. */
  #acknowledgedCount = 0

  /** `flowing`: the source still flows; there is no limit until `limit()`. */
  constructor(
    context: UploadContext,
    writer: RecordWriter,
    source: PartReader,
    flowing: boolean,
    events: TransferEvents,
  ) {
    this.#context = context
    this.#ledger = writer
    this.#source = source
    this.#unlimited = flowing
    this.#events = events
    this.#limiter = new ConcurrencyLimiter(context)
  }

  /** Makes sure that there is an upload id, ahead of the first part. */
  start(): void {
    this.#active++
    this.#currentSession()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#partEnded())
  }

  /** Takes a part whose bytes are on disk; it is sent as soon as a place is free. */
  add(part: CutPart): void {
    this.#parts.push(part)
    this.#queue.push(part)
    this.#startParts()
  }

  /** The source has ended: attempts count from now on, and those who pause try again at once. */
  sourceEnded(): void {
    this.#unlimited = false
    this.#sessions = 0
    this.#limiter.resumeAll()
  }

  /** Resolves when nothing is in flight or queued; rejects with the first failure after that. */
  async drain(): Promise<{ uploadId: string; parts: DonePart[] }> {
    await this.#waitUntilIdle()
    if (this.#failure !== undefined) throw this.#failure.error
    const session = await this.#currentSession()
    return { uploadId: session.uploadId, parts: [...session.done.values()] }
  }

  /** Sends nothing new; resolves when what was in flight has ended. */
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
    this.#failure ??= part === undefined ? { error } : { error, part }
    this.#queue = []
    this.#limiter.close()
    this.#events.onFailure(error, part)
  }

  async #waitUntilIdle(): Promise<void> {
    while (this.#active > 0) await new Promise<void>(resolve => this.#idleWaiters.push(resolve))
  }

  /** Brings one part to OSS, under whatever upload id there is by then. */
  async #deliver(part: CutPart): Promise<void> {
    for (;;) {
      const opening = this.#currentSession()
      const session = await opening
      if (session.done.has(part.number)) return
      try {
        const reply = await this.#sendUnlessListed(session, part)
        const done = session.done.get(part.number)
        if (this.#session === opening && done !== undefined) {
          this.#sessions = 1
          return this.#events.onDone(part, done, reply)
        }
      } catch (error) {
        if (!(error instanceof BorrowedUploadIdError) && !isNoSuchUpload(error)) throw error
        if (this.#session === opening) await this.#replaceSession(error)
      }
    }
  }

  async #sendUnlessListed(
    session: MultipartSession,
    part: CutPart,
  ): Promise<HttpResponse | undefined> {
    const listed = session.listed.get(part.number)
    if (listed !== undefined) {
      if (listed.size === part.size && listed.crc64 === part.crc64) {
        session.done.set(part.number, { number: part.number, etag: listed.etag })
        return undefined
      }
      if (this.#ledger.isPredecessorUploadId(session.uploadId)) throw new BorrowedUploadIdError()
    }
    if (isFreed(this.#ledger.record.freed, part.number)) {
      throw new BytesLostError(`OSS has lost part ${part.number}, which is no longer on this disk`)
    }
    const since = performance.now()
    const uploaded = await withRetry(
      () => this.#send(session, part),
      this.#retryPolicy(part.number, async failure => {
        if (failure.name === 'ChecksumMismatch') await this.#source.verify(part)
      }),
    )
    session.done.set(part.number, { number: part.number, etag: uploaded.etag })
    this.#acknowledgedCount++
    this.#context.countSent(part, since)
    return uploaded.reply
  }

  async #send(
    session: MultipartSession,
    part: CutPart,
  ): Promise<{ etag: string; reply: HttpResponse }> {
    const uploaded = await this.#limiter.run(() => {
      const { bucket, key, callOptions } = this.#context
      const body = { number: part.number, size: part.size, body: this.#source.body(part) }
      return bucket.uploadPart(key, session.uploadId, body, callOptions)
    })
    if (uploaded.crc64 !== undefined && uploaded.crc64 !== part.crc64) {
      throw new OssRequestError({
        operation: 'UploadPart',
        name: 'ChecksumMismatch',
        message: `OSS computed CRC64 ${uploaded.crc64} for part ${part.number}, we ${part.crc64}`,
      })
    }
    return uploaded
  }

  #retryPolicy(part?: number, inspect?: (failure: OssRequestError) => Promise<void>): RetryPolicy {
    let inspection = Promise.resolve()
    return {
      retry: this.#context.settings.retry,
      fatalKinds: ['no-upload', 'exists'],
      isUnlimited: () => this.#unlimited,
      isWithinRetryTime: () => this.#context.isWithinRetryTime,
      progress: () => this.#acknowledgedCount,
      onFailure: failure => {
        this.#context.reportRetry(failure, part)
        if (part === undefined) this.#limiter.onThrottled(failure)
        if (inspect !== undefined) inspection = inspect(failure)
      },
      pause: async ms => {
        await inspection
        await this.#limiter.pause(ms)
      },
    }
  }

  #currentSession(): Promise<MultipartSession> {
    return (this.#session ??= this.#openSession())
  }

  async #openSession(): Promise<MultipartSession> {
    if (++this.#sessions > MAX_SESSIONS) {
      if (!this.#unlimited) throw uploadIdsVanishedError()
      // While the source flows only its pace changes (rule 3).
      await this.#limiter.pause(
        retryDelay(this.#context.settings.retry, this.#sessions - MAX_SESSIONS),
      )
    }
    return openSession(this.#context, this.#ledger, () => this.#retryPolicy())
  }

  /** The upload id is gone, or not ours to change: a new session, once for all parts. */
  async #replaceSession(cause: OssRequestError | BorrowedUploadIdError): Promise<void> {
    const known = this.#session
    this.#session = (async () => {
      const { done } = (await known) ?? { done: new Map() }
      this.#queue = [...this.#parts.filter(part => done.has(part.number)), ...this.#queue]
      this.#events.onRestart()
      if (cause instanceof OssRequestError) {
        this.#context.reportRetry(cause)
        // Where all depends on it, OSS is asked for its list before it is believed.
        if (!hasFreedParts(this.#ledger.record)) {
          await handleLostUploadId(this.#context, this.#ledger, () => this.#retryPolicy())
        }
      } else {
        await this.#ledger.startOwnUploadId(randomUUID())
      }
      return this.#openSession()
    })()
    await this.#session
  }
}

function uploadIdsVanishedError(): OssRequestError {
  return new OssRequestError({
    operation: 'ListParts',
    name: 'UploadIdsVanish',
    message: `${MAX_SESSIONS} upload ids of this key vanished one after the other`,
  })
}
