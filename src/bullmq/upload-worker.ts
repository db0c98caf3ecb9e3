/**
 * A worker of the fleet: takes jobs of the shared queue and of its host's own one. What always holds:
 * whatever it does not finish, because it is closed, killed or frozen, another one can take.
 */
import { EventEmitter } from 'node:events'
import { Queue, Worker, type Job, type RedisQueueBackend, type WorkerOptions } from 'bullmq'
import { checkInteger, invalidType } from '../errors.js'
import { Spool } from '../index.js'
import { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import { Cancellations } from './cancellation.js'
import { checkQueueOptions, type QueueOptions, type QueueSettings } from './queue-options.js'
import { HostQueues, uploadIdOf, type HostJob } from './host-queues.js'
import type { JobProgress, JobResult, Sources, UploadJob } from './job.js'
import { CLOSING_REASON, Processor } from './processor.js'

/** ms between two looks whether a job that is worked on was cancelled. */
const CANCEL_CHECK_INTERVAL_MS = 1_000

/** Times that a job's worker may die before it is taken for what kills it. */
const MAX_STALLED_COUNT = 20

export interface UploadWorkerOptions<S extends Sources> extends QueueOptions {
  /** Made with `checkpoints`. */
  readonly spool: Spool
  /** Of `redisCheckpoints()`: they know this host, and which others live. */
  readonly checkpointStore: RedisCheckpoints
  /** By the names that jobs call them by. */
  readonly sources: S
  /**
   * Jobs at a time; as many more that came back to this host are worked on beside them. 1 or more.
   * @default 4
   */
  readonly concurrency?: number
  /**
   * ms that a job waits to be begun by the host that has its bytes before it goes back to the shared
   * queue; at once when that host is gone. 1,000 or more. @default 1 minute
   */
  readonly hostQueueTimeout?: number
  /**
   * ms without a sign of life of a worker after which its jobs are put back. 300 or more.
   * @default 30 seconds
   */
  readonly lockTimeout?: number
}

const CANCELLED_REASON = 'cancelled'

/** For a BullMQ that gives no signal. */
const NEVER_ABORTED = new AbortController().signal

type BullmqWorker<J> =
  J extends Job<infer Data, infer Result, infer Name, infer Progress>
    ? Worker<Data, Result, Name, RedisQueueBackend, Progress>
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

/** Emits `completed` and `failed`, as BullMQ's `Worker`, and `warning`: something is tried again. */
export class UploadWorker<S extends Sources> extends EventEmitter<{
  /** OSS has the job's object. */
  completed: [job: UploadJob | HostJob, result: JobResult]
  /** An attempt failed; for good when the job is finished. */
  failed: [job: UploadJob | HostJob | undefined, error: Error]
  /** Something is tried again. */
  warning: [Error]
}> {
  /** Name of this machine. */
  readonly host: string
  readonly #spool: Spool
  readonly #sharedQueue: Queue<UploadJob>
  readonly #hostQueues: HostQueues
  readonly #cancellations: Cancellations
  readonly #processor: Processor
  readonly #workers: readonly [BullmqWorker<UploadJob>, BullmqWorker<HostJob>]
  /** By the id of the upload. */
  readonly #activeJobs = new Map<string, ActiveJob>()
  readonly #backgroundTasks = new Set<Promise<unknown>>()
  readonly #timers: NodeJS.Timeout[]
  #closing: Promise<void> | undefined

  /** Begins to take jobs at once. @throws TypeError or RangeError for options that make no sense */
  constructor(options: UploadWorkerOptions<S>) {
    super()
    const { spool, checkpointStore, sources, concurrency = 4 } = options
    const { hostQueueTimeout = 60_000, lockTimeout = 30_000 } = options
    const settings = checkQueueOptions(options)
    if (!(spool instanceof Spool)) throw invalidType('spool', 'a Spool', spool)
    if (!(checkpointStore instanceof RedisCheckpoints)) {
      throw invalidType('checkpointStore', 'those of redisCheckpoints()', checkpointStore)
    }
    if (typeof sources !== 'object' || sources === null) {
      throw invalidType('sources', 'an object of functions', sources)
    }
    checkInteger('concurrency', concurrency, 1, 10_000)
    checkInteger('hostQueueTimeout', hostQueueTimeout, 1_000, 2 ** 31 - 1)
    checkInteger('lockTimeout', lockTimeout, 300, 2 ** 31 - 1)
    const { connection, name, prefix } = settings
    this.host = checkpointStore.host
    this.#spool = spool
    this.#sharedQueue = new Queue(name, { connection, prefix })
    this.#sharedQueue.on('error', error => this.#warn(error))
    this.#hostQueues = new HostQueues(settings, checkpointStore, hostQueueTimeout)
    this.#cancellations = new Cancellations(connection, this.#sharedQueue.toKey(''))
    const processor = (this.#processor = new Processor({
      spool,
      sources,
      host: this.host,
      hostQueues: this.#hostQueues,
      cancellations: this.#cancellations,
      findJob: id => this.#sharedQueue.getJob(id),
      reportProgress: (job, progress) => this.#reportProgress(job, progress),
      isClosing: () => this.#closing !== undefined,
    }))
    const workerOptions = bullmqWorkerOptions(settings, concurrency, lockTimeout)
    // BullMQ gives a signal to functions with three parameters only.
    const sharedWorker: BullmqWorker<UploadJob> = new Worker(
      name,
      (job, token, signal) =>
        this.#runCancellable(job, sharedWorker, () =>
          processor.runSharedJob(job, token ?? '', signal ?? NEVER_ABORTED),
        ),
      workerOptions,
    )
    const hostWorker: BullmqWorker<HostJob> = new Worker(
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
    sharedWorker.on('failed', (job, error) => this.emit('failed', job, error))
    hostWorker.on('failed', (_job, error) => this.#warn(error)) // its parent tells of the end
    checkpointStore.announce().catch((error: unknown) => this.#warn(error))
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
  }

  /** Number of jobs that are worked on now. */
  get active(): number {
    return this.#activeJobs.size
  }

  /**
   * Takes no more jobs, ends those it works on and hands them back: another worker can take them at
   * once, no attempt is used up, uploads stay resumable. Spool and connection stay their owners'.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    await Promise.resolve() // by now `isClosing()` says so to jobs that come in this moment
    for (const timer of this.#timers) clearInterval(timer)
    for (const worker of this.#workers) worker.cancelAllJobs(CLOSING_REASON)
    await Promise.all(this.#workers.map(worker => worker.close()))
    await Promise.all(this.#backgroundTasks)
    await Promise.all([this.#sharedQueue.close(), this.#hostQueues.close()])
  }

  /** Runs a job; meanwhile it can be stopped. */
  async #runCancellable<R>(
    job: UploadJob | HostJob,
    worker: Pick<Worker, 'cancelJob'>,
    run: () => Promise<R>,
  ): Promise<R> {
    const id = uploadIdOf(job)
    const active = { job, stop: () => void worker.cancelJob(job.id ?? '', CANCELLED_REASON) }
    this.#activeJobs.set(id, active)
    try {
      return await run()
    } finally {
      // A job that stalled may have come back before its first run has ended.
      if (this.#activeJobs.get(id) === active) this.#activeJobs.delete(id)
    }
  }

  async #stopCancelled(): Promise<void> {
    const cancelledIds = await this.#cancellations.filterCancelled([...this.#activeJobs.keys()])
    for (const id of cancelledIds) this.#activeJobs.get(id)?.stop()
  }

  #addListeners(worker: BullmqWorker<UploadJob> | BullmqWorker<HostJob>): void {
    // Redis knows the result: from now on nothing runs this job again.
    const forgetReceipt = (job: UploadJob | HostJob): void => {
      const id = uploadIdOf(job)
      if (this.#processor.finishedUploadIds.delete(id))
        this.#runInBackground(this.#spool.forget(id))
    }
    worker.on('completed', forgetReceipt)
    worker.on('error', error => this.#warn(error))
  }

  /** On a child at home also for its parent, which people look at. */
  async #reportProgress(job: UploadJob | HostJob, progress: JobProgress): Promise<void> {
    const updates = [job.updateProgress(progress)]
    const id = uploadIdOf(job)
    if (id !== job.id) updates.push(this.#sharedQueue.updateJobProgress(id, progress))
    for (const each of updates) this.#runInBackground(each)
    await Promise.allSettled(updates)
  }

  /** What nothing waits for but the end. */
  #runInBackground(promise: Promise<unknown>): void {
    const task = promise
      .catch((error: unknown) => this.#warn(error))
      .finally(() => this.#backgroundTasks.delete(task))
    this.#backgroundTasks.add(task)
  }

  /** Errors of Redis clients may hold the arguments of a command, a password among them. */
  #warn(error: unknown): void {
    this.emit('warning', new Error(error instanceof Error ? error.message : String(error)))
  }
}
