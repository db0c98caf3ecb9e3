/**
 * The transfer: parts on their way to OSS under one upload id, `parallel` at a time. A part is done
 * if and only if OSS says it has it with our size and CRC64, in a reply or in its list (rule 4). While the
 * source flows nothing here ends the upload but a key that is taken; `limit()` starts the counting.
 */
import { randomUUID } from 'node:crypto'
import { OssRequestError } from '../oss/request-error.js'
import type { UploadBody, HttpResponse } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { BytesLost, isAnyFreed, isFreed } from './freed.js'
import type { Ledger } from './ledger.js'
import { Line } from './line.js'
import { retryDelay, withRetry, type Attempts } from './retry.js'
import { isGone, loseSession, openSession, type DonePart, type Session } from './session.js'
import type { CutPart } from './spooler.js'

/** Where a part's bytes come from. */
export interface PartSource {
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
class Borrowed extends Error {}

/** Upload ids that vanish one after the other are not a network's doing. */
const MAX_SESSIONS = 5

export class Transfer {
  readonly #context: UploadContext
  readonly #ledger: Ledger
  readonly #source: PartSource
  readonly #events: TransferEvents
  readonly #parts: CutPart[] = []
  #queue: CutPart[] = []
  #active = 0
  #session: Promise<Session> | undefined
  #sessions = 0
  #failure: { error: unknown; part?: number } | undefined
  #unlimited: boolean
  readonly #line: Line
  #idle: (() => void)[] = []
  /** Parts that were sent and acknowledged. */
  #arrived = 0

  /** `flowing`: the source still flows; there is no limit until `limit()`. */
  constructor(
    context: UploadContext,
    ledger: Ledger,
    source: PartSource,
    flowing: boolean,
    events: TransferEvents,
  ) {
    this.#context = context
    this.#ledger = ledger
    this.#source = source
    this.#unlimited = flowing
    this.#events = events
    this.#line = new Line(context)
  }

  /** Makes sure that there is an upload id, ahead of the first part. */
  start(): void {
    this.#active++
    this.#open()
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#ended())
  }

  /** Takes a part whose bytes are on disk; it is sent as soon as a place is free. */
  offer(part: CutPart): void {
    this.#parts.push(part)
    this.#queue.push(part)
    this.#pump()
  }

  /** The source has ended: attempts count from now on, and those who pause try again at once. */
  limit(): void {
    this.#unlimited = false
    this.#sessions = 0
    this.#line.wake()
  }

  /** Resolves when nothing is in flight or queued; rejects with the first failure after that. */
  async settle(): Promise<{ uploadId: string; parts: DonePart[] }> {
    await this.#settled()
    if (this.#failure !== undefined) throw this.#failure.error
    const session = await this.#open()
    return { uploadId: session.uploadId, parts: [...session.done.values()] }
  }

  /** Sends nothing new; resolves when what was in flight has ended. */
  async stop(): Promise<void> {
    this.#queue = []
    this.#line.end()
    await this.#settled()
  }

  #pump(): void {
    while (this.#active < this.#line.limit && this.#failure === undefined) {
      const part = this.#queue.shift()
      if (part === undefined) return
      this.#active++
      this.#deliver(part)
        .catch((error: unknown) => this.#fail(error, part.number))
        .finally(() => this.#ended())
    }
  }

  #ended(): void {
    this.#active--
    this.#pump()
    if (this.#active > 0) return
    for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(error: unknown, part?: number): void {
    this.#failure ??= part === undefined ? { error } : { error, part }
    this.#queue = []
    this.#line.end()
    this.#events.onFailure(error, part)
  }

  async #settled(): Promise<void> {
    while (this.#active > 0) await new Promise<void>(resolve => this.#idle.push(resolve))
  }

  /** Brings one part to OSS, under whatever upload id there is by then. */
  async #deliver(part: CutPart): Promise<void> {
    for (;;) {
      const opening = this.#open()
      const session = await opening
      if (session.done.has(part.number)) return
      try {
        const reply = await this.#ensure(session, part)
        const done = session.done.get(part.number)
        if (this.#session === opening && done !== undefined) {
          this.#sessions = 1
          return this.#events.onDone(part, done, reply)
        }
      } catch (error) {
        if (!(error instanceof Borrowed) && !isGone(error)) throw error
        if (this.#session === opening) await this.#renew(error)
      }
    }
  }

  async #ensure(session: Session, part: CutPart): Promise<HttpResponse | undefined> {
    const listed = session.listed.get(part.number)
    if (listed !== undefined) {
      if (listed.size === part.size && listed.crc64 === part.crc64) {
        session.done.set(part.number, { number: part.number, etag: listed.etag })
        return undefined
      }
      if (this.#ledger.borrows(session.uploadId)) throw new Borrowed()
    }
    if (isFreed(this.#ledger.record.freed, part.number)) {
      throw new BytesLost(`OSS has lost part ${part.number}, which is no longer on this disk`)
    }
    const since = performance.now()
    const uploaded = await withRetry(
      () => this.#send(session, part),
      this.#attempts(part.number, async failure => {
        if (failure.name === 'ChecksumMismatch') await this.#source.verify(part)
      }),
    )
    session.done.set(part.number, { number: part.number, etag: uploaded.etag })
    this.#arrived++
    this.#context.countSent(part, since)
    return uploaded.reply
  }

  async #send(session: Session, part: CutPart): Promise<{ etag: string; reply: HttpResponse }> {
    const uploaded = await this.#line.inTurn(() => {
      const { bucket, key, call } = this.#context
      const body = { number: part.number, size: part.size, body: this.#source.body(part) }
      return bucket.uploadPart(key, session.uploadId, body, call)
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

  #attempts(part?: number, inspect?: (failure: OssRequestError) => Promise<void>): Attempts {
    let inspection = Promise.resolve()
    return {
      retry: this.#context.settings.retry,
      final: ['no-upload', 'exists'],
      unlimited: () => this.#unlimited,
      patient: () => this.#context.patient,
      progress: () => this.#arrived,
      onFailure: failure => {
        this.#context.tryAgain(failure, part)
        if (part === undefined) this.#line.heed(failure)
        if (inspect !== undefined) inspection = inspect(failure)
      },
      pause: async ms => {
        await inspection
        await this.#line.pause(ms)
      },
    }
  }

  #open(): Promise<Session> {
    return (this.#session ??= this.#begin())
  }

  async #begin(): Promise<Session> {
    if (++this.#sessions > MAX_SESSIONS) {
      if (!this.#unlimited) throw vanished()
      // While the source flows only its pace changes (rule 3).
      await this.#line.pause(
        retryDelay(this.#context.settings.retry, this.#sessions - MAX_SESSIONS),
      )
    }
    return openSession(this.#context, this.#ledger, () => this.#attempts())
  }

  /** The upload id is gone, or not ours to change: a new session, once for all parts. */
  async #renew(cause: OssRequestError | Borrowed): Promise<void> {
    const known = this.#session
    this.#session = (async () => {
      const { done } = (await known) ?? { done: new Map() }
      this.#queue = [...this.#parts.filter(part => done.has(part.number)), ...this.#queue]
      this.#events.onRestart()
      if (cause instanceof OssRequestError) {
        this.#context.tryAgain(cause)
        // Where all depends on it, OSS is asked for its list before it is believed.
        if (!isAnyFreed(this.#ledger.record)) {
          await loseSession(this.#context, this.#ledger, () => this.#attempts())
        }
      } else {
        await this.#ledger.leave(randomUUID())
      }
      return this.#begin()
    })()
    await this.#session
  }
}

function vanished(): OssRequestError {
  return new OssRequestError({
    operation: 'ListParts',
    name: 'UploadIdsVanish',
    message: `${MAX_SESSIONS} upload ids of this key vanished one after the other`,
  })
}
