/**
 * Jobs whose records are in Redis: one host begins a job, another one finishes it. Uses a real Redis, and hosts with
 * their own spool directories: real processes where they are killed or frozen, which are slow to start.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Manifest } from '../../src/etl/index.js'
import type { UploadStatus } from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, QUICK, type Bench } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { startRedis, type RedisServer } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'

const WORKER = pathOf('test/etl/fleet-worker.mjs')
const JOB = 'job'
const MANIFEST = `_manifest-${JOB}.json`
const PARTITIONS = ['A', 'B', 'C']
const RECORDS = 1200
/** Four objects of each partition. */
const OBJECTS = 12
/** Objects of about 140 KiB, which are sent in two parts. */
const MULTIPART = { records: 7200, every: { records: 1200 } }

interface Message {
  readonly key?: string
  readonly manifest?: Manifest
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string }
}

/** The job as the processes run it. */
const { runJob } = (await import(pathOf('test/etl/fleet-job.mjs'))) as {
  runJob: (task: object, send: (message: Message) => void) => Promise<void>
}

/** A process that runs the job. */
class Host {
  readonly process: ChildProcess
  readonly messages: Message[] = []
  /** Resolves when the process has ended. */
  readonly ended: Promise<unknown>

  constructor(job: object) {
    const { NODE_OPTIONS: _loader, ...env } = process.env
    const stdio = ['ignore', 'pipe', 'inherit'] as const
    const child = spawn(process.execPath, [WORKER, JSON.stringify(job)], { env, stdio: [...stdio] })
    const lines = createInterface({ input: child.stdout })
    lines.on('line', line => this.messages.push(JSON.parse(line) as Message)) // written by the worker
    this.process = child
    this.ended = Promise.all([once(child, 'exit'), once(lines, 'close')])
  }

  async kill(): Promise<void> {
    this.process.kill('SIGKILL')
    await this.ended
  }

  get keys(): string[] {
    return this.messages.map(({ key }) => key).filter(key => key !== undefined)
  }

  /** Resolves with the last message: the manifest or the error. */
  async result(): Promise<Message | undefined> {
    await this.ended
    return this.messages.at(-1)
  }
}

/** Hosts that share a Redis and an OSS emulator. */
class Fleet {
  readonly work: Bench
  readonly prefix = `etl-${Math.random().toString(36).slice(2)}`
  readonly #redis: Redis
  readonly #t: Test
  readonly #server: RedisServer

  constructor(t: Test, work: Bench, server: RedisServer) {
    this.work = work
    this.#t = t
    this.#server = server
    this.#redis = server.connect(t)
  }

  /** Starts a process that runs the job on a host. */
  start(host: string, job: object = {}): Host {
    const worker = new Host(this.#task(host, job))
    this.#t.teardown(() => worker.kill())
    return worker
  }

  /** Runs the job on a host, in this process. Resolves with its last message: the manifest or the error. */
  async run(host: string, job: object = {}): Promise<Message | undefined> {
    const messages: Message[] = []
    await runJob(this.#task(host, job), message => messages.push(message))
    return messages.at(-1)
  }

  #task(host: string, job: object): object {
    const { port } = this.#server
    return {
      client: this.work.oss.clientOptions(BUCKET),
      dir: this.#dir(host),
      redis: { port, prefix: this.prefix, host, lockTimeout: 600_000 },
      job: JOB,
      records: RECORDS,
      partitions: PARTITIONS,
      every: { records: RECORDS / OBJECTS },
      pace: 2,
      options: { partSize: 102_400, retry: QUICK },
      ...job,
    }
  }

  #dir(host: string): string {
    const dir = `${this.work.dir}-${host}`
    this.#t.teardown(() => removeDirectory(dir))
    return dir
  }

  /** Declares the disk of a host lost. */
  async declareGone(host: string): Promise<void> {
    const checkpoints = redisCheckpoints(this.#redis, { prefix: this.prefix, host: 'operator' })
    await checkpoints.declareGone(host)
  }

  /** Deletes all locks, as if the time of a lock had passed since their owners were killed or frozen. */
  async expireLocks(): Promise<void> {
    const locks = await this.#redis.keys(`${this.prefix}:lock:*`)
    if (locks.length > 0) await this.#redis.del(...locks)
  }

  async uploads(): Promise<UploadStatus[]> {
    const checkpoints = redisCheckpoints(this.#redis, { prefix: this.prefix, host: 'operator' })
    const dir = this.#dir('operator')
    const spool = this.work.another({ dir, checkpointStore: checkpoints })
    return spool.uploads({ receipts: true })
  }
}

const server = await startRedis(t, '--appendonly', 'yes')

function fleetTest(name: string, run: (t: Test, fleet: Fleet) => Promise<void>): void {
  if (server === undefined) return
  void t.test(name, async t => run(t, new Fleet(t, await bench(t), server)))
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10)
}

/** Checks that every record and every object is on OSS exactly once, and nothing else. */
async function checkResult(t: Test, { work }: Fleet, records = RECORDS): Promise<Manifest> {
  const manifest = JSON.parse(String(await work.get(MANIFEST))) as Manifest
  const ids: number[] = []
  for (const { key, size } of manifest.objects) {
    const content = (await work.get(key)) ?? Buffer.alloc(0)
    t.equal(content.length, size, key)
    for (const line of String(content).trimEnd().split('\n')) {
      ids.push((JSON.parse(line) as { id: number }).id)
    }
  }
  t.same(
    ids.toSorted((a, b) => a - b),
    [...Array(records).keys()],
    'every record is stored once',
  )
  const stored = work.oss.requests
    .filter(({ operation, status }) => /^(Put|Complete)/.test(operation ?? '') && status === 200)
    .map(({ key }) => key)
  t.equal(new Set(stored).size, stored.length, 'no object is published twice')
  t.same(
    new Set(stored),
    new Set([...manifest.objects.map(({ key }) => key), MANIFEST]),
    'no object is outside of the manifest',
  )
  return manifest
}

/** Runs a finished job again on each host. */
async function checkRerun(t: Test, fleet: Fleet, hosts: string[], job: object = {}): Promise<void> {
  const before = fleet.work.oss.requests.length
  for (const host of hosts) {
    t.match(await fleet.run(host, { pace: 0, ...job }), { manifest: { job: JOB } }, host)
  }
  t.equal(fleet.work.oss.requests.length, before, 'reruns of a finished job send no requests')
}

fleetTest('a job killed on one host is finished by another one', async (t, fleet) => {
  const { work } = fleet
  const hanging = work.oss.inject({ do: 'hang', operation: 'PutObject', nth: 5, times: 'always' })
  const a = fleet.start('a')
  await until(() => a.keys.length === 4 && work.oss.requests.length === OBJECTS)
  await a.kill()
  hanging.remove()
  const receipts = (await fleet.uploads()).filter(({ phase }) => phase === 'receipt')
  t.same(new Set(receipts.map(({ key }) => key)), new Set(a.keys))

  t.match(await fleet.run('b'), { error: { code: 'ERR_SPOOL_LOCKED' } }, 'a may be alive')
  await fleet.expireLocks()
  const there = await fleet.run('b')
  t.match(there, { error: { code: 'ERR_SPOOL_LOCKED', hint: /\ba\b/ } }, 'a has the sealed bytes')
  t.equal(work.count('PutObject') >= 4, true)
  t.equal(await work.get(MANIFEST), undefined)

  await fleet.declareGone('a')
  t.match(await fleet.run('b'), { manifest: { records: RECORDS } })
  const manifest = await checkResult(t, fleet)
  t.equal(manifest.objects.length, OBJECTS)
  for (const { key } of receipts) t.ok(manifest.objects.some(object => object.key === key))
  await checkRerun(t, fleet, ['b', 'a', 'c'])
})

fleetTest('a job killed on its host goes on there at once', async (t, fleet) => {
  const { work } = fleet
  const hanging = work.oss.inject({ do: 'hang', operation: 'PutObject', nth: 5, times: 'always' })
  const a = fleet.start('a')
  await hanging.hit()
  await a.kill()
  hanging.remove()
  t.match(await fleet.run('a'), { manifest: { records: RECORDS } })
  await checkResult(t, fleet)
  await checkRerun(t, fleet, ['a', 'b'])
})

fleetTest('changed records are refused on every host', async (t, fleet) => {
  t.match(await fleet.run('a'), { manifest: { records: RECORDS } })
  const before = fleet.work.oss.requests.length
  for (const change of [
    { records: RECORDS + 1 },
    { records: RECORDS - 1 },
    { partitions: ['A', 'B'] },
    { partitions: ['A', 'B', 'C', 'D'] },
    { partitions: ['B', 'A', 'C'] },
  ]) {
    const result = await fleet.run('b', { pace: 0, ...change })
    t.match(result, { error: { code: 'ERR_SPOOL_EXPECTATION' } }, JSON.stringify(change))
  }
  t.equal(fleet.work.oss.requests.length, before)
  await checkRerun(t, fleet, ['b'])
})

fleetTest(
  'sealed bytes of a host that is alive are finished there, then its job elsewhere',
  async (t, fleet) => {
    const { work } = fleet
    const refused = work.oss.inject({
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      operation: 'PutObject',
      nth: 5,
      times: 'always',
    })
    t.match(await fleet.run('a'), { error: { code: 'ERR_SPOOL_DENIED' } })
    refused.remove()
    t.match(await fleet.run('b'), { error: { code: 'ERR_SPOOL_LOCKED' } })
    t.match(await fleet.run('a'), { manifest: { records: RECORDS } })
    await checkResult(t, fleet)
    await checkRerun(t, fleet, ['b', 'a'])
  },
)

const FREEZES = [
  ['PutObject', {}],
  ['CompleteMultipartUpload', MULTIPART],
] as const

for (const [operation, job] of sampled(t, FREEZES, 2)) {
  for (const nth of sampled(t, [1, 4], 2)) {
    fleetTest(
      `a host frozen at ${operation} ${nth} publishes nothing after another one has taken over`,
      async (t, fleet) => {
        const { work } = fleet
        const held = work.oss.inject({ do: 'hang', operation, nth, times: 1 })
        const a = fleet.start('a', job)
        await held.hit()
        a.process.kill('SIGSTOP')
        await fleet.expireLocks()
        await fleet.declareGone('a')
        const records = 'records' in job ? job.records : RECORDS
        t.match(await fleet.run('b', job), { manifest: { records } })
        const stored = work.oss.requests.length
        a.process.kill('SIGCONT')
        held.remove()
        t.match(await a.result(), { error: { code: /ERR_SPOOL_(LOCKED|OBJECT_EXISTS)/ } })
        await checkResult(t, fleet, records)
        t.ok(work.oss.requests.length >= stored)
        await checkRerun(t, fleet, ['b', 'a'], job)
        await until(async () => (await fleet.uploads()).every(({ phase }) => phase === 'receipt'))
      },
    )
  }
}
