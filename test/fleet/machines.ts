/**
 * A fleet in one test: a real Redis, an OSS, and `oss-spool worker` processes, each of which is a
 * machine with a name and a spool directory of its own.
 */
import { rm } from 'node:fs/promises'
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import { UploadQueue, type JobSource } from '../../src/bullmq/index.js'
import type { RequestRecord } from '../../src/emulator/index.js'
import type { Spool } from '../../src/index.js'
import { redisCheckpoints, type RedisCheckpoints } from '../../src/redis/index.js'
import { environment, start, type Run } from '../support/command-line.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { startRedis, type RedisServer } from '../support/redis.js'
import { pathOf } from '../support/project.js'

export const PART = 102_400

/** Times of the fleet, in s: short, and longer than a busy machine keeps a process waiting. */
const LOCK = 3
const HOST = 6
const HOME = 2

const SOURCES = pathOf('test/fleet/sources.mjs')

/** As `sources.mjs` has them. */
export type TestSources = {
  readonly content: JobSource<{ seed: number; size: number; pace?: number }>
  readonly broken: JobSource<undefined>
}

export interface Machine {
  readonly host: string
  readonly run: Run
}

export class Machines {
  readonly bench: Bench
  readonly server: RedisServer
  readonly redis: Redis
  readonly queue: UploadQueue<TestSources>
  /** Of a machine that does nothing but look. */
  readonly checkpoints: RedisCheckpoints
  readonly spool: Spool
  readonly #t: Test
  #alive = new Set<Machine>()

  private constructor(t: Test, b: Bench, server: RedisServer) {
    this.#t = t
    this.bench = b
    this.server = server
    this.redis = server.connect(t)
    const jobs = { attempts: 100, backoff: { type: 'fixed', delay: 300 } } as const
    this.queue = new UploadQueue({ connection: this.redis, jobs })
    this.queue.queue.on('error', () => {}) // it connects again
    this.checkpoints = redisCheckpoints(this.redis, { host: 'office', hostTimeout: HOST * 1_000 })
    this.spool = b.another({ dir: this.dir('office'), checkpointStore: this.checkpoints })
    t.teardown(async () => {
      for (const { run } of this.#alive) run.child.kill('SIGKILL')
      await Promise.all([...this.#alive].map(({ run }) => run.done))
      this.checkpoints.close()
      await this.queue.close()
    })
  }

  /** `undefined`, and said, where there is no Redis. */
  static async open(t: Test): Promise<Machines | undefined> {
    const server = await startRedis(t, '--appendonly', 'yes')
    return server && new Machines(t, await bench(t), server)
  }

  dir(host: string): string {
    const dir = `${this.bench.dir}-${host}`
    this.#t.teardown(() => rm(dir, { recursive: true, force: true }))
    return dir
  }

  /** Starts a worker; it is at work some time later. */
  start(host: string, ...args: string[]): Machine {
    const times = [
      `--lock-timeout=${LOCK}s`,
      `--host-timeout=${HOST}s`,
      `--host-queue-timeout=${HOME}s`,
    ]
    const run = start(
      this.#t.testdirName,
      ['worker', '--sources', SOURCES, '--host', host, '--part-size=100KiB', ...times, ...args],
      undefined,
      {
        ...environment(this.bench.oss),
        OSS_BUCKET: BUCKET,
        OSS_SPOOL_DIR: this.dir(host),
        REDIS_URL: `redis://127.0.0.1:${this.server.port}`,
      },
    )
    const machine = { host, run }
    this.#alive.add(machine)
    void run.done.finally(() => this.#alive.delete(machine))
    return machine
  }

  async kill({ run }: Machine): Promise<void> {
    run.child.kill('SIGKILL')
    await run.done
  }

  /** Requests of an operation that took effect, whether or not their answer arrived. */
  done(...operations: string[]): RequestRecord[] {
    return this.bench.oss.requests.filter(
      ({ operation, status, fault }) =>
        operations.includes(operation) &&
        (fault === 'reset@done' || (status !== undefined && status < 300)),
    )
  }
}
