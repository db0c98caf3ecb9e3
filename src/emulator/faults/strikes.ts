/**
 * The faults that meet one request, and what they do when their moment comes. What ends the request
 * is thrown: `Instead` carries another answer, `Cut` ends the connection without one.
 */
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Emulation } from '../emulation.js'
import type { RequestRecord } from '../request-log.js'
import type { Reply } from '../reply.js'
import { momentOf, type Fault, type Moment } from './fault.js'
import { labelOf, type Firing } from './fault-table.js'
import { answerOf, cutReply, lieIn } from './false-reply.js'

/** Another answer than the real one. */
export class Instead extends Error {
  readonly reply: Reply
  constructor(reply: Reply) {
    super('answered by a fault')
    this.reply = reply
  }
}

/** The end of the connection, without an answer. */
export class Cut extends Error {
  /** Ends it with a reset, so that the client knows at once. */
  end(socket: Socket): void {
    // TLS sockets have no reset of their own
    if ('encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }
}

/** What faults need to know of the request to act on it. */
export interface Struck {
  readonly entry: RequestRecord
  /** The STS token it came with. */
  readonly token: string | undefined
}

/** The faults of one request. */
export class Strikes {
  readonly #emulation: Emulation
  readonly #struck: Struck
  #firing: Firing[] = []

  constructor(emulation: Emulation, struck: Struck) {
    this.#emulation = emulation
    this.#struck = struck
  }

  /** Finds the faults that meet the request, and lets those act that come before its signature. */
  meet(): void {
    const { operation, bucket, key, partNumber } = this.#struck.entry
    this.#firing = this.#emulation.faults.meet({ operation, bucket, key, partNumber })
    for (const firing of this.#firing) {
      const { do: what } = firing.fault
      if (what !== 'expire' && what !== 'skew' && what !== 'slow') continue
      this.#hit(firing)
      if (what === 'expire' && this.#struck.token !== undefined)
        this.#emulation.credentials.sts.expire(this.#struck.token)
    }
  }

  /** By how many ms the server's clock is ahead. */
  get skew(): number {
    return this.#all('skew').reduce((sum, { ms }) => sum + ms, 0)
  }

  /** Bytes/s, where the request is to be slow. */
  get bandwidth(): number | undefined {
    return this.#all('slow')[0]?.bandwidth
  }

  /** After how many of `total` bytes the moment has come: half of them, unless a fault says. */
  mark(moment: 'body' | 'reply', total: number): number {
    for (const { fault } of this.#firing)
      if (momentOf(fault) === moment && 'after' in fault && fault.after !== undefined)
        return Math.min(fault.after, total)
    return Math.ceil(total / 2)
  }

  /** Lets the faults of this moment act. May throw `Instead` or `Cut`, may take long. */
  async at(moment: Moment): Promise<void> {
    for (const firing of this.#firing)
      if (momentOf(firing.fault) === moment) await this.#act(firing)
  }

  /** The reply with the untruths and cuts of the faults. */
  change(reply: Reply): Reply {
    let changed = reply
    for (const firing of this.#firing) {
      const { fault } = firing
      if (fault.do === 'lie') changed = lieIn(changed, fault)
      else if (fault.do === 'cut') changed = cutReply(changed, fault.after)
      else continue
      this.#hit(firing)
    }
    return changed
  }

  #all<D extends Fault['do']>(what: D): Extract<Fault, { do: D }>[] {
    // the filter is what Extract says
    return this.#firing
      .map(({ fault }) => fault)
      .filter((fault): fault is Extract<Fault, { do: D }> => fault.do === what)
  }

  #hit(firing: Firing): void {
    const { entry } = this.#struck
    const label = labelOf(firing.fault)
    entry.fault = entry.fault === undefined ? label : `${entry.fault} ${label}`
    firing.hit()
  }

  async #act(firing: Firing): Promise<void> {
    const { fault } = firing
    switch (fault.do) {
      case 'answer':
        this.#hit(firing)
        throw new Instead(answerOf(fault, this.#struck.entry))
      case 'reset':
        this.#hit(firing)
        throw new Cut()
      case 'hang':
        this.#hit(firing)
        return this.#hang(firing)
      case 'delay':
        this.#hit(firing)
        return this.#wait(sleep(fault.ms, undefined, { signal: this.#emulation.signal }))
      case 'drop':
        await this.#drop(fault.parts)
        return this.#hit(firing)
      case 'forget':
        await this.#forget()
        return this.#hit(firing)
      case 'slow':
      case 'cut':
      case 'lie':
      case 'expire':
      case 'skew':
        return undefined // they act elsewhere
    }
  }

  async #hang(firing: Firing): Promise<void> {
    const { signal } = this.#emulation
    let onAbort = (): void => undefined
    const closed = new Promise<void>(resolve => {
      onAbort = resolve
      signal.addEventListener('abort', onAbort)
    })
    await Promise.race([firing.released(), closed])
    signal.removeEventListener('abort', onAbort)
    if (signal.aborted) throw new Cut()
  }

  async #wait(pause: Promise<void>): Promise<void> {
    try {
      await pause
    } catch (error) {
      if (!this.#emulation.signal.aborted) throw error
      throw new Cut()
    }
  }

  async #upload() {
    const { bucket, key, uploadId } = this.#struck.entry
    if (bucket === undefined || key === undefined || uploadId === undefined) return undefined
    const upload = await this.#emulation.store.uploads.get(bucket, key, uploadId)
    return upload && { bucket, upload }
  }

  async #drop(parts: readonly number[] | undefined): Promise<void> {
    const found = await this.#upload()
    const { partNumber } = this.#struck.entry
    for (const number of parts ?? (partNumber === undefined ? [] : [partNumber]))
      if (found) await this.#emulation.store.uploads.dropPart(found.bucket, found.upload, number)
  }

  async #forget(): Promise<void> {
    const found = await this.#upload()
    if (found) await this.#emulation.store.uploads.abort(found.bucket, found.upload)
  }
}
