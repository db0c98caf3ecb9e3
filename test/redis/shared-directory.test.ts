/**
 * Uploads with records in the spool directory and uploads of a fleet in one spool directory: neither kind touches
 * the other, whenever a process is killed. Uses a real Redis and real processes.
 */
import { createHash } from 'node:crypto'
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Spool } from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { contentOf } from '../crash/seeded-content.js'
import { WorkerProcess, type DiskPlan, type Job } from '../crash/worker-process.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

const PART = 102_400
const SIZE = 2 * PART + 1_234

/** Operations of an upload of two parts, and a few more. */
const KILLS = Array.from({ length: 40 }, (_, i) => i + 1)

const redisServer = await startRedis(t)

/** One spool directory for uploads of both kinds. */
class SharedDirectory {
  readonly bench: Bench
  readonly port: number
  readonly prefix = `test-${Math.random().toString(36).slice(2)}`
  readonly #t: Test

  constructor(t: Test, b: Bench, port: number) {
    this.#t = t
    this.bench = b
    this.port = port
  }

  get dir(): string {
    return this.bench.dir
  }

  localSpool(): Spool {
    return this.bench.another()
  }

  fleetSpool(): Spool {
    if (redisServer === undefined) throw new Error('Redis is not installed')
    const { prefix } = this
    const store = redisCheckpoints(redisServer.connect(this.#t), { prefix, host: 'a' })
    this.#t.teardown(() => store.close())
    return this.bench.another({ checkpointStore: store })
  }

  async worker(kind: 'local' | 'fleet', job: Partial<Job> & Pick<Job, 'id'>, disk?: DiskPlan) {
    const { port, prefix } = this
    const worker = new WorkerProcess(
      {
        client: this.bench.oss.clientOptions(BUCKET),
        dir: this.dir,
        step: 'upload',
        key: job.id,
        seed: 1,
        size: SIZE,
        options: { partSize: PART, retry: { attempts: 1 } },
        ...(kind === 'fleet' ? { redis: { port, prefix, host: 'a' } } : {}),
        ...job,
      },
      disk,
    )
    return worker.finished(60_000).catch(() => worker.ended)
  }

  /** Makes OSS refuse to publish, so that uploads stay sealed. */
  refuse(): void {
    const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    this.bench.oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
  }

  /** Returns the files of an upload but its lock, with a digest of each. */
  files(id: string): string[] {
    const directory = join(this.dir, id)
    const names = existsSync(directory) ? readdirSync(directory).toSorted() : []
    return names
      .filter(name => name !== 'lock')
      .map(name => {
        const bytes = readFileSync(join(directory, name))
        return `${name} ${createHash('sha256').update(bytes).digest('hex')}`
      })
  }
}

function directoryTest(name: string, run: (t: Test, shared: SharedDirectory) => Promise<void>) {
  if (redisServer === undefined) return
  const { port } = redisServer
  t.test(name, async t => run(t, new SharedDirectory(t, await bench(t), port)))
}

const ids = async (spool: Spool): Promise<string[]> => (await spool.uploads()).map(({ id }) => id)

directoryTest('each kind lists, prunes and resumes only its own uploads', async (t, shared) => {
  shared.refuse()
  t.match(await shared.worker('fleet', { id: 'of-fleet' }), { error: { code: 'ERR_SPOOL_DENIED' } })
  t.match(await shared.worker('local', { id: 'of-local' }), { error: { code: 'ERR_SPOOL_DENIED' } })
  const before = [shared.files('of-fleet'), shared.files('of-local')]
  t.same(await ids(shared.localSpool()), ['of-local'])
  t.same(await ids(shared.fleetSpool()), ['of-fleet'])
  const all = { olderThan: 0, sealed: true, orphans: true, dryRun: true }
  t.match(await shared.localSpool().prune(all), [{ id: 'of-local' }])
  t.match(await shared.fleetSpool().prune(all), [{ id: 'of-fleet' }])
  for (const method of ['resume', 'abort', 'forget'] as const) {
    const notFound = { code: 'ERR_SPOOL_NOT_FOUND' }
    const call = async (spool: Spool, id: string): Promise<void> => void (await spool[method](id))
    await t.rejects(call(shared.localSpool(), 'of-fleet'), notFound, method)
    await t.rejects(call(shared.fleetSpool(), 'of-local'), notFound, method)
  }
  t.same([shared.files('of-fleet'), shared.files('of-local')], before)
  shared.bench.oss.clearFaults()
  t.match(await shared.localSpool().resume('of-local'), { size: SIZE, sourceRead: false })
  t.match(await shared.fleetSpool().resume('of-fleet'), { size: SIZE, sourceRead: false })
  t.same(readdirSync(shared.dir), [])
})

directoryTest('an id of the other kind is refused before anything changes', async (t, shared) => {
  shared.refuse()
  await shared.worker('fleet', { id: 'of-fleet' })
  await shared.worker('local', { id: 'of-local' })
  const before = [shared.files('of-fleet'), shared.files('of-local')]
  const unreadable = { code: 'ERR_SPOOL_UNREADABLE', resumable: false }
  const upload = (spool: Spool, id: string) =>
    spool.upload('key', () => [String(t.fail('the source was called'))], { id })
  await t.rejects(upload(shared.localSpool(), 'of-fleet'), unreadable)
  await t.rejects(upload(shared.fleetSpool(), 'of-local'), unreadable)
  t.same([shared.files('of-fleet'), shared.files('of-local')], before)
})

directoryTest('a file that a fleet reads in place is not a local upload', async (t, shared) => {
  const file = join(t.testdirName, 'file')
  writeFileSync(file, contentOf(1, SIZE))
  shared.refuse()
  const options = { id: 'linked', inPlace: file, partSize: PART, retry: { attempts: 1 } }
  const source = () => [contentOf(1, SIZE)]
  await t.rejects(shared.fleetSpool().upload('key', source, options), { code: 'ERR_SPOOL_DENIED' })
  t.same(await ids(shared.localSpool()), [])
  const [link = ''] = readdirSync(join(shared.dir, 'linked')).filter(name => name !== 'lock')
  t.equal(readlinkSync(join(shared.dir, 'linked', link)), file)
  shared.bench.oss.clearFaults()
  t.match(await shared.fleetSpool().resume('linked'), { size: SIZE, sourceRead: false })
  t.equal(statSync(file).size, SIZE)
})

directoryTest('a local upload killed at any step is left by the fleet', async (t, shared) => {
  shared.refuse()
  let killed = 0
  for (const at of sampled(t, KILLS, 20)) {
    const id = `local-${at}`
    await shared.worker('local', { id }, { root: shared.dir, at, do: 'kill', when: 'before' })
    const before = shared.files(id)
    // The next process of the fleet sweeps.
    t.same(await ids(shared.fleetSpool()), [])
    if (before.length === 0) continue // killed before its first file
    t.same(shared.files(id), before, `killed before disk operation ${at}`)
    killed++
  }
  t.ok(killed > 0)
  t.equal(existsSync(join(shared.dir, 'quarantine')), false)
})

directoryTest(
  'an upload of a fleet killed at any step is left by local uploads',
  async (t, shared) => {
    shared.refuse()
    let killed = 0
    for (const at of sampled(t, KILLS, 20)) {
      const id = `fleet-${at}`
      await shared.worker('fleet', { id }, { root: shared.dir, at, do: 'kill', when: 'before' })
      const before = shared.files(id)
      t.same(await ids(shared.localSpool()), [])
      await shared.localSpool().prune({ olderThan: 0, sealed: true })
      if (before.length === 0) continue
      t.same(shared.files(id), before, `killed before disk operation ${at}`)
      killed++
    }
    t.ok(killed > 0)
  },
)
