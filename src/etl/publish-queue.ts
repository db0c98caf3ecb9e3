/**
 * Publication of sealed objects in a job that OSS must not stop. A few are sent concurrently. All others are
 * closed and wait on the disk, known by their ids only, so that an outage costs neither descriptors nor memory.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../index.js'

/** Pause in ms after a failure, before waiting uploads are resumed; doubled after each further failure. */
const MIN_PAUSE_MS = 1000
const MAX_PAUSE_MS = 60_000

/** An upload whose bytes are all on the disk, and which is being sent. */
export interface SealedUpload {
  readonly id: string
  readonly size: number
  /** Resolves when OSS has stored the object. */
  readonly done: Promise<UploadResult>
  /** Stops sending. The bytes are kept. */
  destroy(): void
}

interface QueueOptions {
  /** Maximum number of uploads that are sent concurrently. */
  readonly concurrency: number
  /** Finishes an upload from the disk. */
  readonly resume: (id: string) => Promise<UploadResult>
  /** Called for each failed attempt. */
  readonly onFailure: (error: unknown) => void
}

interface QueueEntry {
  readonly id: string
  readonly size: number
  readonly onPublished: (result: UploadResult) => void
}

export class PublishQueue {
  readonly #options: QueueOptions
  /** Uploads on the disk that no one sends, next one first. */
  readonly #waiting: QueueEntry[] = []
  /** Uploads that are being sent. */
  readonly #sending = new Set<Promise<void>>()
  /** Uploads that are being closed, to wait. */
  readonly #closing = new Set<Promise<void>>()
  /** Bytes of all uploads that OSS has not stored. */
  #bytes = 0
  #pauseMs = MIN_PAUSE_MS
  #timer: NodeJS.Timeout | undefined
  #isEnding = false
  #isDestroyed = false
  /** The failure after which no upload is resumed any more. */
  #lastFailure: { readonly error: unknown } | undefined
  /** The first failure of an upload that a retry cannot help. */
  #permanentFailure: { readonly error: unknown } | undefined
  #notifyWaiters: (() => void)[] = []

  constructor(options: QueueOptions) {
    this.#options = options
  }

  /** Takes over an upload. @param onPublished – called when OSS has stored the object */
  add(upload: SealedUpload, onPublished: (result: UploadResult) => void): void {
    const entry = { id: upload.id, size: upload.size, onPublished }
    this.#bytes += upload.size
    if (this.#sending.size < this.#options.concurrency) {
      this.#send(entry, upload.done)
      return
    }
    upload.destroy()
    this.#track(
      this.#closing,
      upload.done.then(
        result => this.#published(entry, result),
        () => void this.#waiting.push(entry), // destroyed, or failed before: sealed in any case
      ),
    )
  }

  /** Resolves when the uploads that OSS has not stored have at most `limit` bytes. */
  async untilAtMost(limit: number): Promise<void> {
    while (this.#bytes > limit && !this.#isDestroyed) {
      await new Promise<void>(resolve => this.#notifyWaiters.push(resolve))
    }
  }

  /**
   * Sends all uploads, without pauses. At the first failure, those that are not being sent stay on the disk.
   * @throws the failure, if an upload was left
   */
  async finish(): Promise<void> {
    this.#isEnding = true
    this.#endPause()
    while (this.#sending.size + this.#closing.size > 0) {
      await Promise.race([...this.#sending, ...this.#closing])
    }
    const failure = this.#lastFailure ?? this.#permanentFailure
    if (failure !== undefined) throw failure.error
  }

  /** Starts no more uploads. Resolves when none is being sent; the caller aborts those. */
  async destroy(): Promise<void> {
    this.#isDestroyed = true
    clearTimeout(this.#timer)
    this.#notify()
    await Promise.all([...this.#sending, ...this.#closing])
  }

  #send(entry: QueueEntry, published: Promise<UploadResult>): void {
    this.#track(
      this.#sending,
      published.then(
        result => {
          this.#pauseMs = MIN_PAUSE_MS
          this.#published(entry, result)
        },
        (error: unknown) => this.#failed(entry, error),
      ),
    )
  }

  #track(steps: Set<Promise<void>>, step: Promise<void>): void {
    const tracked: Promise<void> = step.finally(() => {
      steps.delete(tracked)
      this.#sendNext()
      this.#notify()
    })
    steps.add(tracked)
  }

  #sendNext(): void {
    const { concurrency, resume } = this.#options
    if (this.#isDestroyed || this.#lastFailure !== undefined) return
    while (this.#timer === undefined && this.#sending.size < concurrency) {
      const entry = this.#waiting.shift()
      if (entry === undefined) return
      this.#send(entry, resume(entry.id))
    }
  }

  #published({ size, onPublished }: QueueEntry, result: UploadResult): void {
    this.#bytes -= size
    onPublished(result)
  }

  #failed(entry: QueueEntry, error: unknown): void {
    if (this.#isDestroyed) return
    if (isPublishedElsewhere(error)) {
      this.#bytes -= entry.size
      return
    }
    if (isTemporary(error)) {
      this.#waiting.push(entry)
      if (this.#isEnding) this.#lastFailure ??= { error }
      else this.#pause()
    } else {
      this.#bytes -= entry.size
      this.#permanentFailure ??= { error }
    }
    this.#options.onFailure(error)
  }

  /** The timer keeps the process alive: a source that waits for space on the disk may not. */
  #pause(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.#endPause(), this.#pauseMs)
    this.#pauseMs = Math.min(2 * this.#pauseMs, MAX_PAUSE_MS)
  }

  #endPause(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sendNext()
  }

  #notify(): void {
    for (const notify of this.#notifyWaiters.splice(0)) notify()
  }
}

/** Another process has published the upload from this disk, with `resume`. */
function isPublishedElsewhere(error: unknown): boolean {
  return error instanceof SpoolError && error.code === 'ERR_SPOOL_NOT_FOUND'
}

function isTemporary(error: unknown): boolean {
  if (!(error instanceof SpoolError)) return false
  if (error.code === 'ERR_SPOOL_LOCKED') return true
  return error.resumable && error.code !== 'ERR_SPOOL_OBJECT_EXISTS'
}
