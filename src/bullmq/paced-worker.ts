/**
 * BullMQ's worker with a pause after a refusal. If Redis answers a request for the next job with an error, such as
 * without memory or as a replica, BullMQ repeats it at once, thousands of times per second.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker, type Job, type JobProgress, type RedisQueueBackend } from 'bullmq'
import { isError } from '../util/error-shape.js'

/** Pause in ms; that of BullMQ if waiting for a job fails. */
const REFUSED_PAUSE_MS = 5_000

export class PacedWorker<Data, Result, Progress extends JobProgress> extends Worker<
  Data,
  Result,
  string,
  RedisQueueBackend,
  Progress
> {
  readonly #stopping = new AbortController()

  /** Ends the pause, too. This worker is never resumed. */
  override pause(doNotWaitActive?: boolean): Promise<void> {
    this.#stopping.abort()
    return super.pause(doNotWaitActive)
  }

  protected override async moveToActive(
    token: string,
    name?: string,
  ): Promise<Job<Data, Result, string, Progress>> {
    try {
      return await super.moveToActive(token, name)
    } catch (error) {
      if (isError(error) && error.name === 'ReplyError') {
        await sleep(REFUSED_PAUSE_MS, undefined, this.#stopping).catch(() => undefined)
      }
      throw error
    }
  }
}
