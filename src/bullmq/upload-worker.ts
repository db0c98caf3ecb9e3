/**
 * A worker of the fleet, which takes jobs from the shared queue and from the queue of its host. Invariant: if
 * it is closed, killed or frozen, another worker can take its unfinished jobs.
 */
import { EventEmitter } from 'node:events'
import { Queue, type Job, type Worker, type WorkerOptions } from 'bullmq'
import { checkInteger, checkObject, checkProperties, invalidType } from '../errors.js'
import { Spool } from '../index.js'
import { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import { whenBlockingConnected } from './blocking-connection.js'
import { Cancellations } from './cancellation.js'
import {
  checkQueueOptions,
  type QueueConnection,
  type QueueOptions,
  type QueueSettings,
} from './queue-options.js'
import { HostQueues, sharedJobId, type HostJob } from './host-queues.js'
import type { JobProgress, JobResult, JobSourceLimits, Sources, UploadJob } from './job.js'
import { checkSourceLimits } from './job-data.js'
import type { WorkerInternals } from './worker-internals.js'
import { PacedWorker } from './paced-worker.js'
import { CLOSING_REASON, Processor } from './processor.js'
import { uploadIdOf } from './upload-id.js'
import { errorMessage } from '../util/error-shape.js'
import { omitUndefined } from '../util/omit-undefined.js'

/** Interval for checking whether an active job was cancelled. */
const CANCEL_CHECK_INTERVAL_MS = 1_000

/** Number of times a job's worker may die before the job itself is considered the cause. */
const MAX_STALLED_COUNT = 20

/** Options of `UploadWorker`. */
export interface UploadWorkerOptions<S extends Sources> extends QueueOptions, JobSourceLimits {
  /** Spool created with the same `checkpointStore`. */
  readonly spool: Spool
  /** Result of `redisCheckpoints()`. Knows the name of this host and which other hosts are alive. */
  readonly checkpointStore: RedisCheckpoints
  /** Sources by the names used in jobs. */
  readonly sources: S
  /**
   * Number of jobs of the shared queue to run concurrently, 1 to 10,000. The same number of jobs from the queue
   * of this host may run in addition. @default 4
   */
  readonly concurrency?: number
  /**
   * Time in ms that a job waits for the host with its bytes to start it, 1,000 or more. After that, or at once
   * if the host is gone, it returns to the shared queue. @default 1 minute
   */
  readonly hostQueueTimeout?: number
  /**
   * Time in ms without a heartbeat of a worker after which its jobs return to the queue, 300 or more.
   * @default 30 seconds
   */
  readonly lockTimeout?: number
}

/** Options of `UploadWorker.close`. */
export interface CloseOptions {
  /** Time in ms for which active jobs may go on. @default 0 */
  readonly drain?: number
}

/** A source that has been silent for long while the upload waited for it. */
export interface IdleSource {
  /** Id of the job. */
  readonly id: string
  /** Time in ms without a byte. */
  readonly idle: number
}

const CANCELLED_REASON = 'cancelled'

/** Fallback for BullMQ versions that pass no signal. */
const NEVER_ABORTED = new AbortController().signal

type BullmqWorker<J> =
  J extends Job<infer Data, infer Result, string, infer Progress>
    ? PacedWorker<Data, Result, Progress>
    : never

interface ActiveJob {
  readonly job: UploadJob | HostJob
  readonly stop: () => void
}

function bullmqWorkerOptions(
  { connection, prefix }: QueueSettings,
  concurrency: number,
  lockTimeout: number,
): WorkerOptions {
  return {
    connection,
    prefix,
    concurrency,
    lockDuration: lockTimeout,
    stalledInterval: lockTimeout,
    maxStalledCount: MAX_STALLED_COUNT,
  }
}

/**
 * Runs upload jobs until it is closed. Emits `completed` and `failed` like BullMQ's `Worker`, and `warning` for
 * errors that are retried.
 */
export class UploadWorker<S extends Sources> extends EventEmitter<{
  /** The object of a job is on OSS. */
  completed: [job: UploadJob | HostJob, result: JobResult]
  /** An attempt failed; the failure is permanent if the job is finished. */
  failed: [job: UploadJob | HostJob | undefined, error: Error]
  /** An operation failed and is retried. */
  warning: [Error]
}> {
  /** Name of this host. */
  readonly host: string
  readonly #spool: Spool
  readonly #connection: QueueConnection
  readonly #checkpointStore: RedisCheckpoints
  readonly #sharedQueue: Queue<UploadJob>
  readonly #hostQueues: HostQueues
  readonly #cancellations: Cancellations
  readonly #processor: Processor
  readonly #workers: readonly [BullmqWorker<UploadJob>, BullmqWorker<HostJob>]
  /** Active jobs by upload id. */
  readonly #activeJobs = new Map<string, ActiveJob>()
  readonly #backgroundTasks = new Set<Promise<unknown>>()
  readonly #timers: NodeJS.Timeout[]
  #closing: Promise<void> | undefined

  /** Starts taking jobs immediately. @throws TypeError or RangeError for invalid options */
  constructor(options: UploadWorkerOptions<S>) {
    super()
    const settings = checkQueueOptions(options, {
      spool: true,
      checkpointStore: true,
      sources: true,
      concurrency: true,
      hostQueueTimeout: true,
      lockTimeout: true,
      sourceIdleTimeout: true,
      sourceTimeout: true,
    })
    const { spool, checkpointStore, sources, concurrency = 4 } = options
    const { hostQueueTimeout = 60_000, lockTimeout = 30_000 } = options
    const { sourceIdleTimeout, sourceTimeout } = options
    if (!(spool instanceof Spool)) throw invalidType('spool', 'a Spool', spool)
    if (!(checkpointStore instanceof RedisCheckpoints)) {
      throw invalidType('checkpointStore', 'the result of redisCheckpoints()', checkpointStore)
    }
    if (typeof sources !== 'object' || sources === null) {
      throw invalidType('sources', 'an object of functions', sources)
    }
    checkInteger('concurrency', concurrency, 1, 10_000)
    checkInteger('hostQueueTimeout', hostQueueTimeout, 1_000, 2 ** 31 - 1)
    checkInteger('lockTimeout', lockTimeout, 300, 2 ** 31 - 1)
    const sourceLimits = { sourceIdleTimeout, sourceTimeout }
    checkSourceLimits(sourceLimits)
    const { connection, name, prefix } = settings
    this.host = checkpointStore.host
    this.#spool = spool
    this.#connection = connection
    this.#checkpointStore = checkpointStore
    this.#sharedQueue = new Queue(name, { connection, prefix })
    this.#sharedQueue.on('error', error => this.#warn(error))
    this.#hostQueues = new HostQueues(settings, checkpointStore, hostQueueTimeout)
    this.#cancellations = new Cancellations(connection, this.#sharedQueue.toKey(''))
    const processor = (this.#processor = new Processor({
      spool,
      sources,
      sourceLimits: omitUndefined(sourceLimits),
      host: this.host,
      hostQueues: this.#hostQueues,
      cancellations: this.#cancellations,
      findJob: id => this.#sharedQueue.getJob(id),
      reportProgress: (job, progress) => this.#reportProgress(job, progress),
      warn: message => this.#warn(new Error(message)),
      isClosing: () => this.#closing !== undefined,
    }))
    const workerOptions = bullmqWorkerOptions(settings, concurrency, lockTimeout)
    // BullMQ passes a signal only to functions that declare three parameters.
    const sharedWorker: BullmqWorker<UploadJob> = new PacedWorker(
      name,
      (job, token, signal) =>
        this.#runCancellable(job, sharedWorker, () =>
          processor.runSharedJob(job, token ?? '', signal ?? NEVER_ABORTED),
        ),
      workerOptions,
    )
    const hostWorker: BullmqWorker<HostJob> = new PacedWorker(
      this.#hostQueues.queueName(this.host),
      (job, token, signal) =>
        this.#runCancellable(job, hostWorker, () =>
          processor.runHostJob(job, token ?? '', signal ?? NEVER_ABORTED),
        ),
      workerOptions,
    )
    this.#workers = [sharedWorker, hostWorker]
    this.#addListeners(sharedWorker)
    this.#addListeners(hostWorker)
    sharedWorker.on('completed', (job, result) => this.emit('completed', job, result))
    sharedWorker.on('failed', (job, error) => {
      this.emit('failed', job, error)
      // A cancellation that came too late must not stop the job when somebody retries it.
      if (job?.finishedOn !== undefined) {
        this.#runInBackground(this.#cancellations.clearRequest(uploadIdOf(sharedJobId(job))))
      }
    })
    hostWorker.on('failed', (_job, error) => this.#warn(error)) // the parent reports the final outcome
    this.#timers = [
      setInterval(
        () => this.#runInBackground(this.#hostQueues.reclaim()),
        hostQueueTimeout / 4,
      ).unref(),
      setInterval(
        () => this.#runInBackground(this.#stopCancelled()),
        CANCEL_CHECK_INTERVAL_MS,
      ).unref(),
    ]
    this.#runInBackground(this.#hostQueues.reclaim()) // announces this host
  }

  /** @internal Observed by `oss-spool/prometheus`. */
  get internals(): WorkerInternals {
    const [sharedWorker, hostWorker] = this.#workers
    return {
      connection: this.#connection,
      spool: this.#spool,
      checkpointStore: this.#checkpointStore,
      sharedQueue: this.#sharedQueue,
      sharedWorker,
      hostWorker,
      isActive: uploadId => this.#activeJobs.has(uploadId),
    }
  }

  /** Number of active jobs. */
  get active(): number {
    return this.#activeJobs.size
  }

  /** Sources that have been idle for half of `sourceIdleTimeout`, or for 5 minutes without it. */
  get idleSources(): IdleSource[] {
    return [...this.#processor.runningSources]
      .filter(([{ isIdle }]) => isIdle)
      .map(([{ idleTime }, id]) => ({ id, idle: Math.round(idleTime) }))
  }

  /**
   * Stops taking jobs, lets active jobs run for `drain` ms, then stops those that are left and returns them to the
   * queue: another worker can take them immediately, no attempt is used up, and their uploads stay resumable. It
   * may be called again, such as without `drain` to wait no longer. Waits for Redis if it does not answer. The caller
   * closes the spool and the connection.
   * @throws TypeError or RangeError, by rejecting, for an invalid option
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkObject('options', options)
    checkProperties('options', options, { drain: true })
    const { drain = 0 } = options
    checkInteger('drain', drain, 0, 2 ** 31 - 1)
    this.#closing ??= this.#close()
    if (drain === 0) this.#returnActiveJobs()
    else this.#timers.push(setTimeout(() => this.#returnActiveJobs(), drain).unref())
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.resolve() // `isClosing()` is true from here on, for jobs that start at this moment
    await Promise.all(this.#workers.map(worker => this.#closeBullmqWorker(worker)))
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#backgroundTasks)
    await Promise.all([this.#sharedQueue.close(), this.#hostQueues.close()])
  }

  async #closeBullmqWorker(worker: BullmqWorker<UploadJob> | BullmqWorker<HostJob>): Promise<void> {
    await worker.pause(true) // takes no more jobs once Redis answers
    await whenBlockingConnected(worker.backend)
    await worker.close()
  }

  #returnActiveJobs(): void {
    for (const worker of this.#workers) worker.cancelAllJobs(CLOSING_REASON)
  }

  /** Runs a job that can be cancelled meanwhile. */
  async #runCancellable<R>(
    job: UploadJob | HostJob,
    worker: Pick<Worker, 'cancelJob'>,
    run: () => Promise<R>,
  ): Promise<R> {
    const id = uploadIdOf(sharedJobId(job))
    const active = { job, stop: () => void worker.cancelJob(job.id ?? '', CANCELLED_REASON) }
    this.#activeJobs.set(id, active)
    try {
      return await run()
    } finally {
      // A stalled job may have been taken again before its first run has ended.
      if (this.#activeJobs.get(id) === active) this.#activeJobs.delete(id)
    }
  }

  async #stopCancelled(): Promise<void> {
    const cancelledIds = await this.#cancellations.filterCancelled([...this.#activeJobs.keys()])
    for (const id of cancelledIds) this.#activeJobs.get(id)?.stop()
  }

  #addListeners(worker: BullmqWorker<UploadJob> | BullmqWorker<HostJob>): void {
    // Redis has recorded the result, so this job never runs again.
    const forgetReceipt = (job: UploadJob | HostJob): void => {
      const id = uploadIdOf(sharedJobId(job))
      if (this.#processor.finishedUploadIds.delete(id))
        this.#runInBackground(this.#spool.forget(id))
    }
    worker.on('completed', forgetReceipt)
    worker.on('error', error => this.#warn(error))
  }

  /** Updates the progress of a job and, for a child in a host queue, of its parent, which dashboards show. */
  async #reportProgress(job: UploadJob | HostJob, progress: JobProgress): Promise<void> {
    const updates = [job.updateProgress(progress)]
    const id = sharedJobId(job)
    if (id !== job.id) updates.push(this.#sharedQueue.updateJobProgress(id, progress))
    for (const each of updates) this.#runInBackground(each)
    await Promise.allSettled(updates)
  }

  /** Tracks a promise that only `close()` waits for. */
  #runInBackground(promise: Promise<unknown>): void {
    const task = promise
      .catch((error: unknown) => this.#warn(error))
      .finally(() => this.#backgroundTasks.delete(task))
    this.#backgroundTasks.add(task)
  }

  /**
   * Emits a new error with the message only: errors of Redis clients may contain the arguments of a command,
   * such as a password.
   */
  #warn(error: unknown): void {
    this.emit('warning', new Error(errorMessage(error)))
  }
}
