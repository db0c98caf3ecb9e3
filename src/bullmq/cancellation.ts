/**
 * Wishes that a job be stopped, as keys in Redis: they reach the worker that has the job now, or the one
 * that gets it next. An id is never used twice, so a wish that comes too late means nothing.
 */
import type { RedisConnection } from '../redis/connection.js'

/** ms that a wish lives: longer than any job waits for a worker. */
const CANCEL_REQUEST_TTL_MS = 7 * 24 * 3600_000

export class Cancellations {
  readonly #connection: RedisConnection
  readonly #prefix: string

  /** @param prefix of the queue's keys */
  constructor(connection: RedisConnection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  async requestCancel(id: string): Promise<void> {
    await this.#connection.call('SET', this.#key(id), '1', 'PX', CANCEL_REQUEST_TTL_MS)
  }

  async clearRequest(id: string): Promise<void> {
    await this.#connection.call('DEL', this.#key(id))
  }

  /** Those of `ids` that are to be stopped. */
  async filterCancelled(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return []
    const values = await this.#connection.call('MGET', ...ids.map(id => this.#key(id)))
    return Array.isArray(values) ? ids.filter((_id, i) => values[i] !== null) : []
  }

  #key(id: string): string {
    return `${this.#prefix}cancel:${id}`
  }
}
