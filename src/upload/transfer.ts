/**
 * The transfer: parts on their way to OSS under one upload id, `parallel` at a time. A part is done
 * if and only if OSS says it has it with our size and CRC64, in a reply or in its list (rule 4). While the
 * source flows nothing here ends the upload but a key that is taken; `limit()` starts the counting.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAmbiguous, kindOf, OssFailure } from '../oss/failure.js'
import {
  TOKEN_HEADER,
  type Body,
  type ListedPart,
  type ObjectInfo,
  type Reply,
} from '../oss/port.js'
import { initiationHeaders } from '../oss/object-headers.js'
import { Congestion } from './congestion.js'
import type { UploadContext } from './context.js'
import { BytesLost, isAnyFreed, isFreed } from './freed.js'
import type { Ledger } from './ledger.js'
import { retryDelay, withRetry, type Attempts } from './retry.js'
import { isOurs } from './settle.js'
import type { CutPart } from './spooler.js'

/** Where a part's bytes come from. */
export interface PartSource {
  /** A fresh body for each attempt. */
  body(part: CutPart): Body
  /** Rejects when the bytes on disk are not what the checkpoint says. */
  verify(part: CutPart): Promise<void>
}

export interface DonePart {
  readonly number: number
  readonly etag: string
}

/** The parts under one upload id. A new id is a new session, and every part is to be done again. */
interface Session {
  readonly uploadId: string
  readonly listed: ReadonlyMap<number, ListedPart>
  readonly done: Map<number, DonePart>
}

/** What the transfer tells while it works. */
export interface TransferEvents {
  onDone(part: CutPart, done: DonePart, reply: Reply | undefined): void
  /** What was done is in doubt again: under a new upload id, or until OSS has listed it. */
  onRestart(): void
  /** It cannot go on; `settle()` will reject with the same. */
  onFailure(error: unknown, part: number | undefined): void
}

/** The parts under this upload id are a sealed predecessor's and differ from ours (rule 6). */
class Borrowed extends Error {}

/** The upload id is gone because our object is there already (rule 8). */
export class AlreadyPublished extends Error {
  readonly object: ObjectInfo

  constructor(object: ObjectInfo) {
    super('The object is on OSS already')
    this.object = object
  }
}

/** Upload ids that vanish one after the other are not a network's doing. */
const MAX_SESSIONS = 5

/** OSS refuses a request that is signed longer ago, in ms: it cannot take effect any more. */
const LATEST_EFFECT = 15 * 60_000

/** Why a pause ends early; a constant, since a `DOMException` with its stack is dear. */
const WOKEN = new Error('woken')

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
  #stopped = false
  readonly #congestion: Congestion
  /** Ends all pauses when it changes. */
  #wake = new AbortController()
  #idle: (() => void)[] = []
  /** Parts that are on the line now; others of those in flight pause or wait for their turn. */
  #sending = 0
  #waiting: (() => void)[] = []
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
    this.#congestion = new Congestion(context.settings.parallel)
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
    this.#wake.abort(WOKEN)
    this.#wake = new AbortController()
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
    this.#stopped = true
    this.#queue = []
    this.#wake.abort(WOKEN)
    await this.#settled()
  }

  #pump(): void {
    while (this.#active < this.#congestion.limit && this.#failure === undefined) {
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
    this.#wake.abort(WOKEN)
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

  async #ensure(session: Session, part: CutPart): Promise<Reply | undefined> {
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

  async #send(session: Session, part: CutPart): Promise<{ etag: string; reply: Reply }> {
    const uploaded = await this.#inTurn(() => {
      const { bucket, key, call } = this.#context
      const body = { number: part.number, size: part.size, body: this.#source.body(part) }
      return bucket.uploadPart(key, session.uploadId, body, call)
    })
    if (uploaded.crc64 !== undefined && uploaded.crc64 !== part.crc64) {
      throw new OssFailure({
        operation: 'UploadPart',
        name: 'ChecksumMismatch',
        message: `OSS computed CRC64 ${uploaded.crc64} for part ${part.number}, we ${part.crc64}`,
      })
    }
    return uploaded
  }

  /** Sends when OSS is not to be left alone and fewer are on the line than it takes. */
  async #inTurn<T>(send: () => Promise<T>): Promise<T> {
    while (this.#congestion.pause > 0 || this.#sending >= this.#congestion.limit) {
      if (this.#congestion.pause > 0) await this.#pause(this.#congestion.pause)
      else await new Promise<void>(resolve => this.#waiting.push(resolve))
      this.#refuseIfEnded()
    }
    this.#sending++
    try {
      const reply = await send()
      this.#congestion.succeeded()
      return reply
    } catch (error) {
      this.#heed(error) // before the next one's turn
      throw error
    } finally {
      this.#sending--
      for (const look of this.#waiting.splice(0)) look()
    }
  }

  #heed(error: unknown): void {
    if (!(error instanceof OssFailure) || kindOf(error) !== 'throttled') return
    this.#congestion.throttled(times => retryDelay(this.#context.settings.retry, times))
  }

  #attempts(part?: number, inspect?: (failure: OssFailure) => Promise<void>): Attempts {
    let inspection = Promise.resolve()
    return {
      retry: this.#context.settings.retry,
      final: ['no-upload', 'exists'],
      unlimited: () => this.#unlimited,
      patient: () => this.#context.patient,
      progress: () => this.#arrived,
      onFailure: failure => {
        this.#context.tryAgain(failure, part)
        if (part === undefined) this.#heed(failure)
        if (inspect !== undefined) inspection = inspect(failure)
      },
      pause: async ms => {
        await inspection
        await this.#pause(Math.max(ms, this.#congestion.pause))
      },
    }
  }

  async #pause(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#wake.signal, this.#context.signal])
    await sleep(ms, undefined, { signal }).catch(() => undefined) // woken: go on at once
    this.#refuseIfEnded()
  }

  #refuseIfEnded(): void {
    if (this.#stopped || this.#context.signal.aborted || this.#failure !== undefined) {
      throw new OssFailure({ operation: 'UploadPart', name: 'AbortError', message: 'stopped' })
    }
  }

  #open(): Promise<Session> {
    return (this.#session ??= this.#begin())
  }

  /** The upload id we have, with what OSS lists under it; else a new one. */
  async #begin(): Promise<Session> {
    if (++this.#sessions > MAX_SESSIONS) {
      if (!this.#unlimited) throw vanished()
      // While the source flows only its pace changes (rule 3).
      await this.#pause(retryDelay(this.#context.settings.retry, this.#sessions - MAX_SESSIONS))
    }
    const { uploadId } = this.#ledger.record
    if (uploadId !== undefined) {
      const { bucket, key, call } = this.#context
      try {
        const list = (): Promise<Map<number, ListedPart>> => bucket.listParts(key, uploadId, call)
        return { uploadId, listed: await withRetry(list, this.#attempts()), done: new Map() }
      } catch (error) {
        if (!isGone(error)) throw error
        await this.#lose()
      }
    }
    this.#refuseIfFreed()
    return { uploadId: await this.#initiate(), listed: new Map(), done: new Map() }
  }

  /** Intent first, then Initiate, then its answer on disk, then parts (rule 5). */
  async #initiate(): Promise<string> {
    const { bucket, key, call } = this.#context
    const { token, object } = this.#ledger.record
    const headers = { ...initiationHeaders(object), [TOKEN_HEADER]: token }
    const from = Date.now()
    let lost = false
    const attempt = async (): Promise<string> => {
      await this.#ledger.initiating(from, Date.now() + LATEST_EFFECT)
      try {
        return await bucket.initiate(key, headers, call)
      } catch (error) {
        lost ||= error instanceof OssFailure && isAmbiguous(error)
        throw error
      }
    }
    const uploadId = await withRetry(attempt, this.#attempts())
    await this.#ledger.initiated(uploadId, lost)
    return uploadId
  }

  /** The upload id is gone, or not ours to change: a new session, once for all parts. */
  async #renew(cause: OssFailure | Borrowed): Promise<void> {
    const known = this.#session
    this.#session = (async () => {
      const { done } = (await known) ?? { done: new Map() }
      this.#queue = [...this.#parts.filter(part => done.has(part.number)), ...this.#queue]
      this.#events.onRestart()
      if (cause instanceof OssFailure) {
        this.#context.tryAgain(cause)
        // Where all depends on it, OSS is asked for its list before it is believed.
        if (!isAnyFreed(this.#ledger.record)) await this.#lose()
      } else {
        await this.#ledger.leave(randomUUID())
      }
      return this.#begin()
    })()
    await this.#session
  }

  /** The upload id is gone. Once everything is sealed that may be because we did succeed. */
  async #lose(): Promise<void> {
    const { record } = this.#ledger
    if (record.phase === 'sealed') {
      const { bucket, key, call } = this.#context
      const object = await withRetry(() => bucket.head(key, call), this.#attempts())
      if (object !== undefined && isOurs(record, object)) throw new AlreadyPublished(object)
    }
    this.#refuseIfFreed()
    await this.#ledger.forget()
  }

  /** Another upload id would have to get parts that are not here any more. */
  #refuseIfFreed(): void {
    if (!isAnyFreed(this.#ledger.record)) return
    throw new BytesLost('its upload id is gone, and with it parts that are no longer on this disk')
  }
}

function isGone(error: unknown): error is OssFailure {
  return error instanceof OssFailure && kindOf(error) === 'no-upload'
}

function vanished(): OssFailure {
  return new OssFailure({
    operation: 'ListParts',
    name: 'UploadIdsVanish',
    message: `${MAX_SESSIONS} upload ids of this key vanished one after the other`,
  })
}
