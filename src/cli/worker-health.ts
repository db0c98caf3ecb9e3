/** The health of a worker, as `/healthz` reports it. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { IdleSource } from '../bullmq/index.js'

/** Body of a `/healthz` reply. */
export interface WorkerHealth {
  /** `degraded`: it works, but someone should look at it. */
  readonly status: 'ok' | 'degraded' | 'stopping' | 'unreachable'
  readonly host: string
  /** Number of jobs in progress. */
  readonly active: number
  /** Whether Redis answers. */
  readonly redis: boolean
  /** Sources that have been silent for long. */
  readonly idleSources: readonly IdleSource[]
  /** Longest time in ms for which the event loop was blocked in the last minute or two. */
  readonly eventLoopDelay: number
}

/** ms for which a source or a listener may block the event loop. */
const MAX_EVENT_LOOP_DELAY_MS = 5_000
const WINDOW_MS = 60_000

/** Returns the status of a worker: the most serious one that applies. */
export function healthStatus(
  health: Omit<WorkerHealth, 'status' | 'host' | 'active'>,
  isStopping: boolean,
): WorkerHealth['status'] {
  if (isStopping) return 'stopping'
  if (!health.redis) return 'unreachable'
  const isBlocked = health.eventLoopDelay > MAX_EVENT_LOOP_DELAY_MS
  return isBlocked || health.idleSources.length > 0 ? 'degraded' : 'ok'
}

/** Returns whether a probe should succeed. A degraded worker works, so nothing must restart it. */
export function isHealthy(status: WorkerHealth['status']): boolean {
  return status === 'ok' || status === 'degraded'
}

/** Measures for how long the event loop was blocked, in windows of a minute. */
export class EventLoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: 50 })
  readonly #timer: NodeJS.Timeout
  #lastWindow = 0

  constructor() {
    this.#histogram.enable()
    this.#timer = setInterval(() => {
      this.#lastWindow = this.#current
      this.#histogram.reset()
    }, WINDOW_MS).unref()
  }

  /** The longest delay in ms of this window and the one before. */
  get max(): number {
    return Math.max(this.#lastWindow, this.#current)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#histogram.disable()
  }

  get #current(): number {
    return Math.round(this.#histogram.max / 1e6)
  }
}
