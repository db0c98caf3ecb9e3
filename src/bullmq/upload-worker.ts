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
import { checkQueue, type QueueOptions, type QueueSettings } from './connection.js'
import { Homes, uploadOf, type HomeJob } from './homes.js'
import type { JobProgress, JobResult, Sources, UploadJob } from './job.js'
import { CLOSING, Processor } from './processor.js'

/** ms between two looks whether a job that is worked on was cancelled. */
const LOOK = 1_000

/** Times that a job's worker may die before it is taken for what kills it. */
const DEATHS = 20

export interface UploadWorkerOptions<S extends Sources> extends QueueOptions {
  /** Made with `checkpoints`. */
  readonly spool: Spool
  /** Of `redisCheckpoints()`: they know this host, and which others live. */
  readonly checkpoints: RedisCheckpoints
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
  readonly homeTimeout?: number
  /**
   * ms without a sign of life of a worker after which its jobs are put back. 300 or more.
   * @default 30 seconds
   */
  readonly lockTimeout?: number
}

const CANCELLED = 'cancelled'

/** For a BullMQ that gives no signal. */
const NEVER = new AbortController().signal

type WorkerOf<J> =
  J extends Job<infer Data, infer Result, infer Name, infer Progress>
    ? Worker<Data, Result, Name, RedisQueueBackend, Progress>
    : never

interface Active {
  readonly job: UploadJob | HomeJob
  readonly stop: () => void
}

function workerOptions(
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
    maxStalledCount: DEATHS,
  }
}

/** Emits `completed` and `failed`, as BullMQ's `Worker`, and `warning`: something is tried again. */
export class UploadWorker<S extends Sources> extends EventEmitter<{
  /** OSS has the job's object. */
  completed: [job: UploadJob | HomeJob, result: JobResult]
  /** An attempt failed; for good when the job is finished. */
  failed: [job: UploadJob | HomeJob | undefined, error: Error]
  /** Something is tried again. */
  warning: [Error]
}> {
  /** Name of this machine. */
  readonly host: string
  readonly #spool: Spool
  readonly #shared: Queue<UploadJob>
  readonly #homes: Homes
  readonly #cancellations: Cancellations
  readonly #processor: Processor
  readonly #workers: readonly [WorkerOf<UploadJob>, WorkerOf<HomeJob>]
  /** By the id of the upload. */
  readonly #active = new Map<string, Active>()
  readonly #attempts = new Set<Promise<unknown>>()
  readonly #timers: NodeJS.Timeout[]
  #closing: Promise<void> | undefined

  /** Begins to take jobs at once. @throws TypeError or RangeError for options that make no sense */
  constructor(options: UploadWorkerOptions<S>) {
    super()
    const { spool, checkpoints, sources, concurrency = 4 } = options
    const { homeTimeout = 60_000, lockTimeout = 30_000 } = options
    const settings = checkQueue(options)
    if (!(spool instanceof Spool)) throw invalidType('spool', 'a Spool', spool)
    if (!(checkpoints instanceof RedisCheckpoints)) {
      throw invalidType('checkpoints', 'those of redisCheckpoints()', checkpoints)
    }
    if (typeof sources !== 'object' || sources === null) {
      throw invalidType('sources', 'an object of functions', sources)
    }
    checkInteger('concurrency', concurrency, 1, 10_000)
    checkInteger('homeTimeout', homeTimeout, 1_000, 2 ** 31 - 1)
    checkInteger('lockTimeout', lockTimeout, 300, 2 ** 31 - 1)
    const { connection, name, prefix } = settings
    this.host = checkpoints.host
    this.#spool = spool
    this.#shared = new Queue(name, { connection, prefix })
    this.#shared.on('error', error => this.#warn(error))
    this.#homes = new Homes(settings, checkpoints, homeTimeout)
    this.#cancellations = new Cancellations(connection, this.#shared.toKey(''))
    const processor = (this.#processor = new Processor({
      spool,
      sources,
      host: this.host,
      homes: this.#homes,
      cancellations: this.#cancellations,
      find: id => this.#shared.getJob(id),
      tell: (job, progress) => this.#tell(job, progress),
      isClosing: () => this.#closing !== undefined,
    }))
    const how = workerOptions(settings, concurrency, lockTimeout)
    // BullMQ gives a signal to functions with three parameters only.
    const shared: WorkerOf<UploadJob> = new Worker(
      name,
      (job, token, signal) =>
        this.#during(job, shared, () => processor.run(job, token ?? '', signal ?? NEVER)),
      how,
    )
    const home: WorkerOf<HomeJob> = new Worker(
      this.#homes.nameOf(this.host),
      (job, token, signal) =>
        this.#during(job, home, () => processor.runAtHome(job, token ?? '', signal ?? NEVER)),
      how,
    )
    this.#workers = [shared, home]
    this.#listen(shared)
    this.#listen(home)
    shared.on('completed', (job, result) => this.emit('completed', job, result))
    shared.on('failed', (job, error) => this.emit('failed', job, error))
    home.on('failed', (_job, error) => this.#warn(error)) // its parent tells of the end
    checkpoints.announce().catch((error: unknown) => this.#warn(error))
    this.#timers = [
      setInterval(() => this.#attempt(this.#homes.reclaim()), homeTimeout / 4).unref(),
      setInterval(() => this.#attempt(this.#stopCancelled()), LOOK).unref(),
    ]
  }

  /** Number of jobs that are worked on now. */
  get active(): number {
    return this.#active.size
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
    for (const worker of this.#workers) worker.cancelAllJobs(CLOSING)
    await Promise.all(this.#workers.map(worker => worker.close()))
    await Promise.all(this.#attempts)
    await Promise.all([this.#shared.close(), this.#homes.close()])
  }

  /** Runs a job; meanwhile it can be stopped. */
  async #during<R>(
    job: UploadJob | HomeJob,
    worker: Pick<Worker, 'cancelJob'>,
    run: () => Promise<R>,
  ): Promise<R> {
    const id = uploadOf(job)
    const active = { job, stop: () => void worker.cancelJob(job.id ?? '', CANCELLED) }
    this.#active.set(id, active)
    try {
      return await run()
    } finally {
      // A job that stalled may have come back before its first run has ended.
      if (this.#active.get(id) === active) this.#active.delete(id)
    }
  }

  async #stopCancelled(): Promise<void> {
    const wished = await this.#cancellations.among([...this.#active.keys()])
    for (const id of wished) this.#active.get(id)?.stop()
  }

  #listen(worker: WorkerOf<UploadJob> | WorkerOf<HomeJob>): void {
    // Redis knows the result: from now on nothing runs this job again.
    const forget = (job: UploadJob | HomeJob): void => {
      const id = uploadOf(job)
      if (this.#processor.finished.delete(id)) this.#attempt(this.#spool.forget(id))
    }
    worker.on('completed', forget)
    worker.on('error', error => this.#warn(error))
  }

  /** On a child at home also for its parent, which people look at. */
  async #tell(job: UploadJob | HomeJob, progress: JobProgress): Promise<void> {
    const told = [job.updateProgress(progress)]
    const id = uploadOf(job)
    if (id !== job.id) told.push(this.#shared.updateJobProgress(id, progress))
    for (const each of told) this.#attempt(each)
    await Promise.allSettled(told)
  }

  /** What nothing waits for but the end. */
  #attempt(step: Promise<unknown>): void {
    const attempt = step
      .catch((error: unknown) => this.#warn(error))
      .finally(() => this.#attempts.delete(attempt))
    this.#attempts.add(attempt)
  }

  /** Errors of Redis clients may hold the arguments of a command, a password among them. */
  #warn(error: unknown): void {
    this.emit('warning', new Error(error instanceof Error ? error.message : String(error)))
  }
}
