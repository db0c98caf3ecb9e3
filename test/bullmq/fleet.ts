/** Test fleet: workers in this process that share a Redis, an OSS emulator and a queue. */
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import {
  UploadQueue,
  UploadWorker,
  type Sources,
  type UploadJob,
  type UploadQueueOptions,
  type UploadWorkerOptions,
} from '../../src/bullmq/index.js'
import type { Spool, SpoolOptions } from '../../src/index.js'
import { redisCheckpoints, type RedisCheckpoints } from '../../src/redis/index.js'
import { until } from '../support/command-line.js'
import type { Bench } from '../support/oss.js'
import type { RedisServer } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'

/** One machine with its spool and its worker. */
export interface Machine {
  readonly spool: Spool
  readonly checkpoints: RedisCheckpoints
  readonly worker: UploadWorker<Sources>
}

export class Fleet<S extends Sources> {
  readonly bench: Bench
  readonly server: RedisServer
  readonly redis: Redis
  readonly queue: UploadQueue<S>
  /** Prefix of all keys, because all tests share one Redis. */
  readonly prefix = `test-${Math.random().toString(36).slice(2)}`
  readonly #t: Test
  readonly #sources: S

  constructor(
    t: Test,
    bench: Bench,
    server: RedisServer,
    sources: S,
    jobs: UploadQueueOptions['jobs'] = {},
  ) {
    this.#t = t
    this.bench = bench
    this.server = server
    this.#sources = sources
    this.redis = server.connect(t)
    const { redis: connection, prefix } = this
    const quick = { attempts: 3, backoff: { type: 'fixed', delay: 50 }, ...jobs }
    this.queue = new UploadQueue({ connection, prefix, jobs: quick })
    t.teardown(() => this.queue.close())
  }

  /** Creates a machine without a worker, only its spool. */
  disk(host: string, options: Partial<SpoolOptions> = {}) {
    const { redis, prefix } = this
    const dir = `${this.bench.dir}-${host}`
    const checkpoints = redisCheckpoints(redis, { host, prefix, lockTimeout: 2_000 })
    const spool = this.bench.another({ dir, checkpointStore: checkpoints, ...options })
    this.#t.teardown(async () => {
      checkpoints.close()
      await removeDirectory(dir)
    })
    return { spool, checkpoints }
  }

  machine(host: string, options: Partial<UploadWorkerOptions<Sources>> = {}): Machine {
    const { redis: connection, prefix } = this
    const { spool, checkpoints: checkpointStore } = this.disk(host)
    const timeouts = { hostQueueTimeout: 60_000, lockTimeout: 2_000 }
    const sources: Sources = this.#sources
    const own = { connection, prefix, spool, checkpointStore, sources }
    const worker = new UploadWorker({ ...own, ...timeouts, ...options })
    this.#t.teardown(() => worker.close())
    return { spool, checkpoints: checkpointStore, worker }
  }

  /** Waits until a job is in this state, and returns the current job. */
  async reaches(id: string | undefined, state: string): Promise<UploadJob> {
    await until(async () => (await this.job(id).then(job => job.getState())) === state)
    return this.job(id)
  }

  async job(id: string | undefined): Promise<UploadJob> {
    const job = await this.queue.find(id ?? '')
    if (job === undefined) throw new Error(`There is no job ${id}`)
    return job
  }

  /** Returns the names of all record keys in Redis. */
  async records(): Promise<string[]> {
    const keys = await this.redis.keys(`${this.prefix}:*`)
    return keys.filter(key => key.startsWith(`${this.prefix}:record:`))
  }
}
