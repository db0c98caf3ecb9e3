/**
 * The faults that meet one request, and what they do when their moment comes. What ends the request
 * is thrown: `Instead` carries another answer, `Cut` ends the connection without one.
 */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EmulatorContext } from '../context.js'
import type { RequestRecord } from '../request-log.js'
import type { Reply } from '../reply.js'
import { faultPointOf, type Fault, type FaultPoint } from './fault.js'
import { faultLabel, type MatchedFault } from './fault-table.js'
import { createFaultReply, truncateReply, alterReply } from './fault-replies.js'

/** Another answer than the real one. */
export class ReplaceReplyError extends Error {
  readonly reply: Reply
  constructor(reply: Reply) {
    super('answered by a fault')
    this.reply = reply
  }
}

/** The end of the connection, without an answer. */
export class ResetConnectionError extends Error {
  /** Ends it with a reset, so that the client knows at once. */
  resetSocket(socket: Socket): void {
    // TLS sockets have no reset of their own
    if ('encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }
}

/** What faults need to know of the request to act on it. */
export interface FaultTarget {
  readonly logEntry: RequestRecord
  /** The STS token it came with. */
  readonly securityToken: string | undefined
}

/** The faults of one request. */
export class ActiveFaults {
  readonly #emulator: EmulatorContext
  readonly #target: FaultTarget
  #matched: MatchedFault[] = []

  constructor(emulator: EmulatorContext, target: FaultTarget) {
    this.#emulator = emulator
    this.#target = target
  }

  /** Finds the faults that meet the request, and lets those act that come before its signature. */
  match(): void {
    const { operation, bucket, key, partNumber } = this.#target.logEntry
    this.#matched = this.#emulator.faultTable.match({ operation, bucket, key, partNumber })
    for (const matchedFault of this.#matched) {
      const { do: action } = matchedFault.fault
      if (action !== 'expire' && action !== 'skew' && action !== 'slow') continue
      this.#recordHit(matchedFault)
      if (action === 'expire' && this.#target.securityToken !== undefined)
        this.#emulator.credentialStore.sts.expire(this.#target.securityToken)
    }
  }

  /** By how many ms the server's clock is ahead. */
  get clockSkewMs(): number {
    return this.#actionsOf('skew').reduce((sum, { ms }) => sum + ms, 0)
  }

  /** Bytes/s, where the request is to be slow. */
  get bandwidth(): number | undefined {
    return this.#actionsOf('slow')[0]?.bandwidth
  }

  /** After how many of `total` bytes the moment has come: half of them, unless a fault says. */
  faultOffset(point: 'body' | 'reply', total: number): number {
    for (const { fault } of this.#matched)
      if (faultPointOf(fault) === point && 'after' in fault && fault.after !== undefined)
        return Math.min(fault.after, total)
    return Math.ceil(total / 2)
  }

  /** Lets the faults of this moment act. May throw `Instead` or `Cut`, may take long. */
  async fire(point: FaultPoint): Promise<void> {
    for (const matchedFault of this.#matched)
      if (faultPointOf(matchedFault.fault) === point) await this.#apply(matchedFault)
  }

  /** The reply with the untruths and cuts of the faults. */
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
    // the filter is what Extract says
    return this.#matched
      .map(({ fault }) => fault)
      .filter((fault): fault is Extract<Fault, { do: D }> => fault.do === action)
  }

  #recordHit(matchedFault: MatchedFault): void {
    const { logEntry } = this.#target
    const label = faultLabel(matchedFault.fault)
    logEntry.fault = logEntry.fault === undefined ? label : `${logEntry.fault} ${label}`
    matchedFault.recordHit()
  }

  async #apply(matchedFault: MatchedFault): Promise<void> {
    const { fault } = matchedFault
    switch (fault.do) {
      case 'answer':
        this.#recordHit(matchedFault)
        throw new ReplaceReplyError(createFaultReply(fault, this.#target.logEntry))
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
        return undefined // they act elsewhere
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
    const { bucket, key, uploadId } = this.#target.logEntry
    if (bucket === undefined || key === undefined || uploadId === undefined) return undefined
    const upload = await this.#emulator.store.uploads.get(bucket, key, uploadId)
    return upload && { bucket, upload }
  }

  async #dropParts(parts: readonly number[] | undefined): Promise<void> {
    const found = await this.#findUpload()
    const { partNumber } = this.#target.logEntry
    for (const number of parts ?? (partNumber === undefined ? [] : [partNumber]))
      if (found) await this.#emulator.store.uploads.removePart(found.bucket, found.upload, number)
  }

  async #dropUpload(): Promise<void> {
    const found = await this.#findUpload()
    if (found) await this.#emulator.store.uploads.abort(found.bucket, found.upload)
  }
}
