/**
 * Faults that apply to one request, and when they fire. Faults that end the request throw:
 * `ReplaceReplyError` carries another reply, `ResetConnectionError` closes the connection without one.
 */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmulatorContext } from '../emulator-context.js'
import type { RequestRecord } from '../request-log.js'
import type { Reply } from '../reply.js'
import { faultPointOf, type Fault, type FaultPoint } from './fault.js'
import { faultLabel, type MatchedFault } from './fault-table.js'
import { createFaultReply, truncateReply, alterReply } from './fault-replies.js'

/** Points within the body of a request or a reply. */
type BodyPoint = 'body' | 'reply'

/** Replaces the real reply. */
export class ReplaceReplyError extends Error {
  readonly reply: Reply
  constructor(reply: Reply) {
    super('Reply replaced by a fault')
    this.reply = reply
  }
}

/** Closes the connection without a reply. */
export class ResetConnectionError extends Error {
  /** Resets the connection, so that the client notices immediately. */
  resetSocket(socket: Socket): void {
    // TLS sockets cannot be reset
    if ('encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }
}

/** The faults of one request. */
export class ActiveFaults {
  readonly #emulator: EmulatorContext
  /** Entry of the request that the faults act on. */
  readonly #logEntry: RequestRecord
  #matched: MatchedFault[] = []
  /** Faults that have fired within a body. */
  readonly #fired = new Set<MatchedFault>()

  constructor(emulator: EmulatorContext, logEntry: RequestRecord) {
    this.#emulator = emulator
    this.#logEntry = logEntry
  }

  /**
   * Selects the faults for the request and fires those that precede the signature check.
   *
   * @param securityToken – STS token of the request
   */
  match(securityToken: string | undefined): void {
    const { operation, bucket, key, partNumber } = this.#logEntry
    this.#matched = this.#emulator.faultTable.match({ operation, bucket, key, partNumber })
    for (const matchedFault of this.#matched) {
      const { do: action } = matchedFault.fault
      if (action !== 'expire' && action !== 'skew' && action !== 'slow') continue
      this.#recordHit(matchedFault)
      if (action === 'expire' && securityToken !== undefined)
        this.#emulator.credentialStore.sts.expire(securityToken)
    }
  }

  /** Clock skew of the server for this request, in ms ahead. */
  get clockSkewMs(): number {
    return this.#actionsOf('skew').reduce((sum, { ms }) => sum + ms, 0)
  }

  /** Bandwidth limit of this request, in bytes/s; undefined if there is none. */
  get bandwidth(): number | undefined {
    return this.#actionsOf('slow')[0]?.bandwidth
  }

  /**
   * Returns the number of bytes after which the next fault within a body fires, or Infinity.
   *
   * @param total – length of the body; Infinity if it is unknown
   */
  nextOffset(point: BodyPoint, total: number): number {
    return Math.min(...this.#pending(point, total).map(({ offset }) => offset))
  }

  /** Fires the faults that are due once `bytes` bytes of a body have passed, each once. Throws and waits like `fire`. */
  async fireWithin(point: BodyPoint, bytes: number, total: number): Promise<void> {
    for (const { matchedFault, offset } of this.#pending(point, total)) {
      if (offset > bytes) return
      this.#fired.add(matchedFault)
      await this.#apply(matchedFault)
    }
  }

  /** Returns the faults that have not fired within a body yet, by their offsets. The default offset is half of the body. */
  #pending(point: BodyPoint, total: number): { matchedFault: MatchedFault; offset: number }[] {
    return this.#matched
      .filter(each => faultPointOf(each.fault) === point && !this.#fired.has(each))
      .map(matchedFault => {
        const { fault } = matchedFault
        const after = 'after' in fault ? fault.after : undefined
        return { matchedFault, offset: Math.min(after ?? Math.ceil(total / 2), total) }
      })
      .toSorted((a, b) => a.offset - b.offset)
  }

  /** Fires the faults at a point that is not within a body. May throw `ReplaceReplyError` or `ResetConnectionError`, may wait. */
  async fire(point: Exclude<FaultPoint, BodyPoint>): Promise<void> {
    for (const matchedFault of this.#matched)
      if (faultPointOf(matchedFault.fault) === point) await this.#apply(matchedFault)
  }

  /** Returns the reply as altered or truncated by the faults. */
  transformReply(reply: Reply): Reply {
    let changed = reply
    for (const matchedFault of this.#matched) {
      const { fault } = matchedFault
      if (fault.do === 'alter') changed = alterReply(changed, fault)
      else if (fault.do === 'truncate') changed = truncateReply(changed, fault.after)
      else continue
      this.#recordHit(matchedFault)
    }
    return changed
  }

  #actionsOf<D extends Fault['do']>(action: D): Extract<Fault, { do: D }>[] {
    // the filter matches the Extract type
    return this.#matched
      .map(({ fault }) => fault)
      .filter((fault): fault is Extract<Fault, { do: D }> => fault.do === action)
  }

  #recordHit(matchedFault: MatchedFault): void {
    const logEntry = this.#logEntry
    const label = faultLabel(matchedFault.fault)
    logEntry.fault = logEntry.fault === undefined ? label : `${logEntry.fault} ${label}`
    matchedFault.recordHit()
  }

  async #apply(matchedFault: MatchedFault): Promise<void> {
    const { fault } = matchedFault
    switch (fault.do) {
      case 'answer':
        this.#recordHit(matchedFault)
        throw new ReplaceReplyError(createFaultReply(fault, this.#logEntry))
      case 'reset':
        this.#recordHit(matchedFault)
        throw new ResetConnectionError()
      case 'hang':
        this.#recordHit(matchedFault)
        return this.#waitForRelease(matchedFault)
      case 'delay':
        this.#recordHit(matchedFault)
        return this.#waitUnlessClosed(sleep(fault.ms, undefined, { signal: this.#emulator.signal }))
      case 'drop-part':
        await this.#dropParts(fault.parts)
        return this.#recordHit(matchedFault)
      case 'drop-upload':
        await this.#dropUpload()
        return this.#recordHit(matchedFault)
      case 'slow':
      case 'truncate':
      case 'alter':
      case 'expire':
      case 'skew':
        return undefined // handled elsewhere
    }
  }

  async #waitForRelease(matchedFault: MatchedFault): Promise<void> {
    const { signal } = this.#emulator
    let onAbort = (): void => undefined
    const closed = new Promise<void>(resolve => {
      onAbort = resolve
      signal.addEventListener('abort', onAbort)
    })
    await Promise.race([matchedFault.waitForRelease(), closed])
    signal.removeEventListener('abort', onAbort)
    if (signal.aborted) throw new ResetConnectionError()
  }

  async #waitUnlessClosed(pause: Promise<void>): Promise<void> {
    try {
      await pause
    } catch (error) {
      if (!this.#emulator.signal.aborted) throw error
      throw new ResetConnectionError()
    }
  }

  async #findUpload() {
    const { bucket, key, uploadId } = this.#logEntry
    if (bucket === undefined || key === undefined || uploadId === undefined) return undefined
    const upload = await this.#emulator.store.uploads.get(bucket, key, uploadId)
    return upload && { bucket, upload }
  }

  async #dropParts(parts: number | readonly number[] | undefined): Promise<void> {
    const found = await this.#findUpload()
    const { partNumber } = this.#logEntry
    for (const number of [parts ?? partNumber ?? []].flat())
      if (found) await this.#emulator.store.uploads.removePart(found.bucket, found.upload, number)
  }

  async #dropUpload(): Promise<void> {
    const found = await this.#findUpload()
    if (found) await this.#emulator.store.uploads.abort(found.bucket, found.upload)
  }
}
