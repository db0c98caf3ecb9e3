/**
 * Fleet for a test: a real Redis, an OSS emulator, and `oss-spool worker` processes, each of which acts as a
 * machine with its own name and spool directory.
 */
import type { Redis } from 'ioredis'
import type { Test } from 'tap'
import { UploadQueue, type JobSource } from '../../src/bullmq/index.js'
import type { RequestRecord } from '../../src/emulator/index.js'
import type { Spool } from '../../src/index.js'
import { redisCheckpoints, type RedisCheckpoints } from '../../src/redis/index.js'
import { environment, start, type Run } from '../support/command-line.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { startRedis, type RedisAccess, type RedisServer } from '../support/redis.js'
import { pathOf } from '../support/project.js'
import { removeDirectory } from '../support/remove-directory.js'

export const PART = 102_400

/** Timeouts of the fleet in s: short, but longer than a busy test machine delays a process. */
const LOCK_TIMEOUT = 3
const HOST_TIMEOUT = 6
const HOST_QUEUE_TIMEOUT = 2

const SOURCES = pathOf('test/fleet/sources.mjs')

/** Types of the sources in `sources.mjs`. */
export type TestSources = {
  readonly content: JobSource<{ seed: number; size: number; pace?: number }>
  readonly broken: JobSource<undefined>
  readonly lines: JobSource<{ text: string; lines: number; pace?: number }>
}

export interface Machine {
  readonly host: string
  readonly run: Run
  /** Returns its stderr so far. */
  readonly said: () => string
}

export class Machines<S extends RedisAccess = RedisServer> {
  readonly bench: Bench
  readonly server: S
  readonly redis: Redis
  readonly queue: UploadQueue<TestSources>
  /** Checkpoints of a host that only observes. */
  readonly checkpoints: RedisCheckpoints
  readonly spool: Spool
  readonly #t: Test
  #alive = new Set<Machine>()

  private constructor(t: Test, b: Bench, server: S) {
    this.#t = t
    this.bench = b
    this.server = server
    this.redis = server.connect(t)
    const jobs = { attempts: 100, backoff: { type: 'fixed', delay: 300 } } as const
    this.queue = new UploadQueue({ connection: this.redis, jobs })
    this.queue.queue.on('error', () => {}) // the client reconnects
    this.checkpoints = redisCheckpoints(this.redis, {
      host: 'office',
      hostTimeout: HOST_TIMEOUT * 1_000,
    })
    this.spool = b.another({ dir: this.dir('office'), checkpointStore: this.checkpoints })
    t.teardown(async () => {
      for (const { run } of this.#alive) run.child.kill('SIGKILL')
      await Promise.all([...this.#alive].map(({ run }) => run.done))
      this.checkpoints.close()
      await this.queue.close()
    })
  }

  /** Starts a fleet. Returns `undefined` and reports it if Redis is not installed. */
  static async open(t: Test, ...config: string[]): Promise<Machines | undefined> {
    const server = await startRedis(t, '--appendonly', 'yes', ...config)
    return server && Machines.on(t, server)
  }

  /** Starts a fleet on an existing Redis. */
  static async on<S extends RedisAccess>(t: Test, server: S): Promise<Machines<S>> {
    return new Machines(t, await bench(t), server)
  }

  dir(host: string): string {
    const dir = `${this.bench.dir}-${host}`
    this.#t.teardown(() => removeDirectory(dir))
    return dir
  }

  /** Starts a worker process; it becomes active some time later. */
  start(host: string, ...args: string[]): Machine {
    const times = [
      `--lock-timeout=${LOCK_TIMEOUT}s`,
      `--host-timeout=${HOST_TIMEOUT}s`,
      `--host-queue-timeout=${HOST_QUEUE_TIMEOUT}s`,
    ]
    const run = start(
      this.#t.testdirName,
      ['worker', '--sources', SOURCES, '--host', host, '--part-size=100KiB', ...times, ...args],
      undefined,
      {
        ...environment(this.bench.oss),
        OSS_BUCKET: BUCKET,
        OSS_SPOOL_DIR: this.dir(host),
        REDIS_URL: this.server.url,
      },
    )
    let said = ''
    run.child.stderr?.on('data', (text: Buffer) => (said += String(text)))
    const machine = { host, run, said: () => said }
    this.#alive.add(machine)
    void run.done.finally(() => this.#alive.delete(machine))
    return machine
  }

  async kill({ run }: Machine): Promise<void> {
    run.child.kill('SIGKILL')
    await run.done
  }

  /** Returns the requests of these operations that took effect, even if their reply was lost. */
  done(...operations: string[]): RequestRecord[] {
    return this.bench.oss.requests.filter(
      ({ operation, status, fault }) =>
        operations.includes(operation) &&
        (fault === 'reset@done' || (status !== undefined && status < 300)),
    )
  }
}
