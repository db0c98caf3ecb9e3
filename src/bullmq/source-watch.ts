/**
 * Measures for how long the source of a job has produced no byte, and stops it at its limits. The clock runs only
 * while the upload waits for the source: a source that is paused by back-pressure is not idle.
 */
import { pipeline, Transform, type TransformCallback } from 'node:stream'
import type { Source, SourceOptions } from '../index.js'
import { openSource } from '../upload/model/source.js'

/** Limits of one run of a source, in ms. `undefined`: no limit. */
export interface SourceLimits {
  /** Time without a byte. */
  readonly idle: number | undefined
  /** Time from the call of the source to its last byte. */
  readonly total: number | undefined
}

/** A source without a limit is reported as idle after half of this time. */
const DEFAULT_IDLE_LIMIT_MS = 10 * 60_000

/** The cause of `ERR_SPOOL_SOURCE_FAILED` when a source has reached a limit. Another run may succeed. */
export class SourceTimeoutError extends Error {
  /** Name of the limit. */
  readonly code: 'ERR_SOURCE_IDLE_TIMEOUT' | 'ERR_SOURCE_TIMEOUT'
  /** The job is retried. */
  readonly retryable = true

  constructor(code: SourceTimeoutError['code'], message: string) {
    super(message)
    this.name = 'SourceTimeoutError'
    this.code = code
  }
}

/** One run of a source. */
export class SourceWatch {
  readonly #limits: SourceLimits
  readonly #onEnd: (watch: SourceWatch) => void
  readonly #stop = new AbortController()
  readonly #timers = new Set<NodeJS.Timeout>()
  /** When the upload began to wait for the next byte; `undefined` while it is busy with earlier ones. */
  #waitingSince: number | undefined
  #stream: Transform | undefined

  /** @param onEnd – called when the source has ended, failed or was stopped; may be called again */
  constructor(limits: SourceLimits, onEnd: (watch: SourceWatch) => void) {
    this.#limits = limits
    this.#onEnd = onEnd
  }

  /** Time in ms for which the upload has waited for a byte. */
  get idleTime(): number {
    return this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince
  }

  /** Whether the source has been idle for half of its limit, or for 5 minutes without one. */
  get isIdle(): boolean {
    return this.idleTime >= (this.#limits.idle ?? DEFAULT_IDLE_LIMIT_MS) / 2
  }

  /**
   * Calls the source. Neither the promise nor the stream waits for a source that ignores its signal.
   * @throws SourceTimeoutError, or the error of the source
   */
  async open(source: Source, options: SourceOptions): Promise<NodeJS.ReadableStream> {
    const signal = AbortSignal.any([options.signal, this.#stop.signal])
    signal.addEventListener('abort', this.#end, { once: true })
    this.#start()
    try {
      const opening = openSource(source, { ...options, signal })
      return this.#measure(await Promise.race([opening, rejectOnAbort(this.#stop.signal)]))
    } catch (error) {
      this.#end()
      throw error
    }
  }

  #start(): void {
    this.#waitingSince = performance.now()
    const { idle, total } = this.#limits
    if (idle !== undefined) this.#checkIdle(idle)
    if (total !== undefined) {
      const message = `it did not end within ${total} ms`
      this.#after(total, () => this.#fail(new SourceTimeoutError('ERR_SOURCE_TIMEOUT', message)))
    }
  }

  /** Compares times when a timer fires, instead of restarting a timer at each chunk. */
  #checkIdle(limit: number): void {
    const rest = limit - this.idleTime
    if (rest > 0) return this.#after(rest, () => this.#checkIdle(limit))
    const message = `it produced no byte for ${limit} ms`
    this.#fail(new SourceTimeoutError('ERR_SOURCE_IDLE_TIMEOUT', message))
  }

  #after(ms: number, run: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      run()
    }, ms).unref()
    this.#timers.add(timer)
  }

  #fail(error: SourceTimeoutError): void {
    this.#end()
    this.#stop.abort(error)
    this.#stream?.destroy(error)
  }

  /** Passes the bytes through a stream that knows when the upload waits for the next ones. */
  #measure(source: NodeJS.ReadableStream): Transform {
    // The upload pipes the stream, and so pauses it while it is busy.
    const wait = (): void => {
      this.#waitingSince = stream.isPaused() ? undefined : performance.now()
    }
    const stream = new Transform({
      // Of objects, because the upload reports a chunk of a wrong type, and a stream of bytes would throw.
      objectMode: true,
      highWaterMark: 1,
      transform: (chunk: unknown, _encoding, callback: TransformCallback) => {
        if (!isEmpty(chunk)) wait()
        callback(null, chunk)
      },
      flush: callback => {
        this.#end()
        callback()
      },
    })
    stream.on('pause', wait)
    stream.on('resume', wait) // emitted after the first chunk, which may have paused it again
    stream.on('error', () => {}) // it is also the error of the upload
    stream.once('close', this.#end)
    pipeline(source, stream, () => {}) // passes a failure on to `stream`
    return (this.#stream = stream)
  }

  readonly #end = (): void => {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#waitingSince = undefined
    this.#onEnd(this)
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}

function isEmpty(chunk: unknown): boolean {
  return chunk === '' || (ArrayBuffer.isView(chunk) && chunk.byteLength === 0)
}
