/**
 * Checkpoints in Redis: the same guarantees as in the spool directory, and takeover of uploads by another host.
 * Uses a real Redis, and real processes as machines.
 */
import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { Sealed } from '../../src/disk/checkpoint.js'
import { Claim } from '../../src/disk/claim.js'
import { SharedSpoolDirectory } from '../../src/disk/shared-spool-directory.js'
import type { Spool, SpoolEvents, SpoolOptions } from '../../src/index.js'
import {
  redisCheckpoints,
  type RedisCheckpointOptions,
  type RedisConnection,
} from '../../src/redis/index.js'
import { takeOver } from '../../src/upload/model/phase.js'
import { WorkerProcess, type Job } from '../crash/worker-process.js'
import { contentOf } from '../crash/seeded-content.js'
import { bench, BUCKET, failingAfter, streamOf, type Bench } from '../support/oss.js'
import { checkpointOf, completing, published, sealed, spooling } from '../support/records.js'
import { startRedis, type RedisServer } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'

const PART = 102_400
const SIZE = 5 * PART + 1_234

/** Two machines that share a Redis and an OSS emulator. */
class Fleet {
  readonly bench: Bench
  readonly server: RedisServer
  readonly redis: Redis
  /** Prefix of all keys, because all tests share one Redis. */
  readonly prefix: string
  readonly #t: Test

  constructor(t: Test, b: Bench, server: RedisServer) {
    this.#t = t
    this.bench = b
    this.server = server
    this.redis = server.connect(t)
    this.prefix = `test-${Math.random().toString(36).slice(2)}`
  }

  checkpoints(host: string, options: RedisCheckpointOptions = {}) {
    const checkpoints = redisCheckpoints(this.redis, { prefix: this.prefix, host, ...options })
    this.#t.teardown(() => checkpoints.close())
    return checkpoints
  }

  dir(host: string): string {
    const dir = `${this.bench.dir}-${host}`
    this.#t.teardown(() => removeDirectory(dir))
    return dir
  }

  spool(host: string, options: Partial<SpoolOptions> = {}): Spool {
    return this.bench.another({
      dir: this.dir(host),
      checkpointStore: this.checkpoints(host),
      ...options,
    })
  }

  /** Starts a process as this host. */
  worker(host: string, job: Partial<Job> & Pick<Job, 'step'>, more: RedisCheckpointOptions = {}) {
    const { port } = this.server
    const worker = new WorkerProcess({
      client: this.bench.oss.clientOptions(BUCKET),
      dir: this.dir(host),
      key: 'key',
      id: 'id',
      seed: 1,
      size: SIZE,
      redis: { port, prefix: this.prefix, host, ...more },
      ...job,
      options: { partSize: PART, ...job.options },
    })
    this.#t.teardown(() => worker.kill().catch(() => undefined))
    return worker
  }

  key(...names: string[]): string {
    return [this.prefix, ...names].join(':')
  }

  /** Deletes the lock, which simulates its expiry. */
  async unlock(): Promise<void> {
    await this.redis.del(this.key('lock', 'id'))
  }

  /** Returns keys and files left by uploads. */
  async left(host: string): Promise<string[]> {
    const dir = this.dir(host)
    const keys = await this.redis.keys(`${this.prefix}:*`)
    const names = keys.map(key => key.slice(this.prefix.length + 1))
    const files = existsSync(dir) ? readdirSync(dir) : []
    return [...names.filter(name => !/^(fence|host:|gone:)/.test(name)), ...files]
  }

  /** Returns the numbers of the parts received by OSS, with duplicates. */
  sent(from = 0): number[] {
    const log = this.bench.oss.requests.slice(from)
    const parts = log.filter(
      ({ operation, status }) => operation === 'UploadPart' && status === 200,
    )
    return parts.map(({ partNumber = 0 }) => partNumber).toSorted((a, b) => a - b)
  }

  async parts(count: number): Promise<void> {
    while (this.sent().length < count) await sleep(10)
  }
}

const content = contentOf(1, SIZE)

/** Creates a source that logs the offset of each call. */
const source =
  (log: number[] = []) =>
  ({ offset }: { offset: number }) => {
    log.push(offset)
    return streamOf(content.subarray(offset))
  }

const server = await startRedis(t, '--appendonly', 'yes')

function fleetTest(name: string, run: (t: Test, fleet: Fleet) => Promise<void>): void {
  if (server === undefined) return
  t.test(name, async t => run(t, new Fleet(t, await bench(t), server)))
}

fleetTest('a moved upload keeps its key from other ids on all hosts', async (t, fleet) => {
  const [a, b] = [fleet.spool('a'), fleet.spool('b')]
  const { oss } = fleet.bench
  const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
  await t.rejects(a.upload('old', source(), { id: 'id' }), { code: 'ERR_SPOOL_DENIED' })
  await t.rejects(a.resume('id', { to: { key: 'new' } }), { code: 'ERR_SPOOL_DENIED' })
  oss.clearFaults()
  const inUse = { code: 'ERR_SPOOL_ID_IN_USE', id: 'id' }
  await t.rejects(b.upload('new', source(), { id: 'other' }), inUse)
  await t.rejects(b.upload('new', source()), inUse)
  t.match(await b.upload('third', source()), { key: 'third' })
  t.match(await a.resume('id'), { key: 'new', size: SIZE })
  t.equal(await fleet.bench.get('old'), undefined)
  t.match(await b.upload('new', source()), { key: 'new' })
  t.same(await fleet.left('a'), [])
  t.same(await fleet.left('b'), [])
})

fleetTest('a published upload leaves only the fencing counter', async (t, fleet) => {
  const spool = fleet.spool('a')
  t.match(await spool.upload('small', () => streamOf(content.subarray(0, 99))), { size: 99 })
  t.match(await spool.upload('large', source()), { size: SIZE, sent: SIZE })
  t.same(await fleet.bench.get('large'), content)
  t.same(await fleet.left('a'), [])
  t.match(await spool.upload('once', source(), { id: 'once', once: true }), { size: SIZE })
  t.match(await fleet.spool('b').upload('once', source(), { id: 'once', once: true }), {
    receipt: true,
  })
  t.match(await spool.uploads({ receipts: true }), [{ id: 'once', phase: 'receipt', host: 'a' }])
  t.match(await spool.prune({ olderThan: 0 }), [{ kind: 'receipt', id: 'once' }])
  t.same(await fleet.left('a'), [])
})

fleetTest('an upload killed in any phase resumes at once on its own host', async (t, fleet) => {
  const { oss, get, count } = fleet.bench
  const first = fleet.worker('a', { step: 'upload', hold: true })
  await fleet.parts(5)
  t.match(await fleet.spool('a').uploads(), [{ phase: 'spooling', owner: { host: 'a' } }])
  await t.rejects(fleet.spool('a').upload('key', source(), { id: 'id' }), {
    code: 'ERR_SPOOL_LOCKED',
    message: new RegExp(`process ${first.pid} on a`),
    host: 'a',
  })
  await first.kill()

  let from = oss.requests.length
  const hanging = oss.inject({ operation: 'UploadPart', partNumber: 6, do: 'hang' })
  const second = fleet.worker('a', { step: 'upload' })
  await hanging.hit()
  await second.kill()
  hanging.remove()
  t.same(fleet.sent(from), [], 'identical parts are not sent again')
  t.match(await fleet.spool('a').uploads(), [{ phase: 'sealed', size: SIZE, host: 'a' }])

  from = oss.requests.length
  const completed = oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', at: 'done' })
  const third = fleet.worker('a', { step: 'resume' })
  await completed.hit()
  await third.kill()
  completed.remove()
  t.same(fleet.sent(from), [6])
  t.match(await fleet.spool('a').uploads(), [{ phase: 'completing' }])

  t.match(await fleet.spool('a').resume('id'), { size: SIZE, sent: 0, sourceRead: false })
  t.equal(count('CompleteMultipartUpload'), 1, 'Complete is not repeated')
  t.same(await get('key'), content)
  t.same(await fleet.left('a'), [])
})

fleetTest('an upload with usable bytes stays with its live host', async (t, fleet) => {
  const { oss } = fleet.bench
  const refused = oss.inject({
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const a = fleet.spool('a')
  const denied = { code: 'ERR_SPOOL_DENIED', resumable: true }
  await t.rejects(a.upload('key', source(), { id: 'id' }), denied)
  const b = fleet.spool('b')
  const there = { code: 'ERR_SPOOL_LOCKED', resumable: true, host: 'a' }
  await t.rejects(b.upload('key', source(), { id: 'id' }), there)
  await t.rejects(b.resume('id'), there)
  await t.rejects(b.abort('id'), there)
  t.same(await b.prune({ olderThan: 0, sealed: true }), [])
  t.same(readdirSync(fleet.dir('b')), [], 'no directory is left without bytes')
  refused.remove()
  const names = readdirSync(join(fleet.dir('a'), 'id'))
  t.ok(
    names.some(name => name.startsWith('spool-a-')),
    'the temp file is named after its host',
  )
  t.match(await a.resume('id'), { size: SIZE, sent: 0 })

  const cut = () => failingAfter(content.subarray(0, 3 * PART), new Error('cut'))
  await t.rejects(a.upload('key', cut, { id: 'id' }), { code: 'ERR_SPOOL_SOURCE_FAILED' })
  t.match(
    await b.upload('key', source(), { id: 'id' }),
    { size: SIZE },
    'a failed source leaves no usable bytes, so b starts over',
  )
})

/** Returns the hosts from which uploads are taken over until the test ends. */
function takeovers(t: Test): (string | undefined)[] {
  const hosts: (string | undefined)[] = []
  const listener = (event: unknown): void => {
    // The channel determines the type of a message.
    hosts.push((event as SpoolEvents['oss-spool:upload:start']).takenOverFrom)
  }
  subscribe('oss-spool:upload:start', listener)
  t.teardown(() => unsubscribe('oss-spool:upload:start', listener))
  return hosts
}

fleetTest('takeover from a killed host reuses the parts on OSS', async (t, fleet) => {
  const { oss, get } = fleet.bench
  const takenOverFrom = takeovers(t)
  const a = fleet.worker('a', { step: 'upload', hold: true })
  await fleet.parts(5)
  await a.kill()
  const b = fleet.spool('b')
  await t.rejects(b.upload('key', source(), { id: 'id' }), { code: 'ERR_SPOOL_LOCKED', host: 'a' })
  await fleet.unlock()
  await fleet.checkpoints('b').declareGone('a')
  const from = oss.requests.length
  const offsets: number[] = []
  const result = await b.upload('key', source(offsets), { id: 'id' })
  t.same(offsets, [0])
  t.same(takenOverFrom, ['a'])
  t.match(result, { size: SIZE, sent: SIZE - 5 * PART, skipped: 5 * PART, sourceRead: true })
  t.same(fleet.sent(from), [6])
  t.same(await get('key'), content)
  t.same(await fleet.left('b'), [])
  t.equal(oss.requests.filter(r => r.operation === 'InitiateMultipartUpload').length, 1)

  t.ok(readdirSync(fleet.dir('a')).includes('id'))
  await fleet.spool('a').uploads()
  t.same(readdirSync(fleet.dir('a')), ['quarantine'], 'bytes without a record are quarantined')
  t.match(await fleet.spool('a').prune({ olderThan: 0 }), [{ kind: 'quarantine' }])
})

fleetTest(
  'takeover with replay: offset resumes after the contiguous parts on OSS',
  async (t, fleet) => {
    const { oss, get } = fleet.bench
    const options = { replay: 'offset' } as const
    const cut = (arrived: number) => () =>
      failingAfter(
        content.subarray(0, 3 * PART + 5),
        new Error('cut'),
        () => fleet.sent().length === arrived,
      )
    const a = fleet.spool('a', options)
    await t.rejects(a.upload('key', cut(3), { id: 'id' }), { code: 'ERR_SPOOL_SOURCE_FAILED' })
    const b = fleet.spool('b', options)
    const there = { code: 'ERR_SPOOL_LOCKED', host: 'a' }
    await t.rejects(
      b.upload('key', source(), { id: 'id' }),
      there,
      'the bytes are still usable on a',
    )
    await fleet.checkpoints('b').declareGone('a')
    oss.inject({ operation: 'ListParts', do: 'drop-part', parts: [2] })
    const from = oss.requests.length
    const offsets: number[] = []
    const result = await b.upload('key', source(offsets), { id: 'id' })
    t.same(offsets, [PART], 'the offset stops at the first missing part')
    t.match(result, { size: SIZE, sent: SIZE - 2 * PART, skipped: 2 * PART })
    t.same(fleet.sent(from), [2, 4, 5, 6])
    t.same(await get('key'), content)

    await t.rejects(a.upload('md5', cut(3 + 4 + 3), { id: 'md5' }), {
      code: 'ERR_SPOOL_SOURCE_FAILED',
    })
    const md5 = createHash('md5').update(content).digest('hex')
    await b.upload('md5', source(offsets), { id: 'md5', expect: { md5 } })
    t.same(offsets, [PART, 0], 'expect.md5 needs every byte')
  },
)

/** Leaves a sealed upload of host a whose Complete was reset at the moment `at`, and declares a gone. */
async function completingOnGoneHost(t: Test, fleet: Fleet, at: 'start' | 'done'): Promise<void> {
  const { oss } = fleet.bench
  const reset = { do: 'reset', times: 'always' } as const
  const faults = [
    oss.inject({ operation: 'CompleteMultipartUpload', at, ...reset }),
    oss.inject({ operation: 'HeadObject', ...reset }),
  ]
  const failed = { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true }
  await t.rejects(fleet.spool('a').upload('key', source(), { id: 'id' }), failed)
  for (const fault of faults) fault.remove()
  await fleet.checkpoints('b').declareGone('a')
}

fleetTest('takeover of a sealed upload reads the source but sends no byte', async (t, fleet) => {
  await completingOnGoneHost(t, fleet, 'start')
  const b = fleet.spool('b')
  await t.rejects(b.resume('id'), { code: 'ERR_SPOOL_UNSEALED', resumable: false })
  t.match(
    await b.uploads(),
    [{ phase: 'completing', host: 'a' }],
    'a failed resume changes nothing',
  )
  const result = await b.upload('key', source(), { id: 'id' })
  t.match(result, { size: SIZE, sent: 0, skipped: SIZE, sourceRead: true })
  t.same(await fleet.bench.get('key'), content)
  t.same(await fleet.left('b'), [])
})

fleetTest('takeover of a published upload does not read the source', async (t, fleet) => {
  await completingOnGoneHost(t, fleet, 'done')
  const offsets: number[] = []
  const takenOverFrom = takeovers(t)
  const result = await fleet.spool('b').upload('key', source(offsets), { id: 'id' })
  t.match(result, { size: SIZE, sent: 0, sourceRead: false, resumed: true })
  t.same(offsets, [])
  t.same(takenOverFrom, ['a'])
  t.same(await fleet.left('b'), [])
})

fleetTest('a takeover fails safely when OSS loses parts it relied on', async (t, fleet) => {
  const { oss, get } = fleet.bench
  const options = { replay: 'offset' } as const
  const a = fleet.spool('a', options)
  const cut = () =>
    failingAfter(content.subarray(0, 3 * PART), new Error('cut'), () => fleet.sent().length >= 3)
  await t.rejects(a.upload('key', cut, { id: 'id' }), { code: 'ERR_SPOOL_SOURCE_FAILED' })
  await fleet.checkpoints('b').declareGone('a')
  const b = fleet.spool('b', options)
  oss.inject({ operation: 'UploadPart', partNumber: 5, do: 'drop-upload' })
  const offsets: number[] = []
  const lost = { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: false }
  await t.rejects(b.upload('key', source(offsets), { id: 'id' }), lost)
  t.same(offsets, [3 * PART])
  t.equal(await get('key'), undefined)
  const result = await b.upload('key', source(offsets), { id: 'id' })
  t.same(offsets, [3 * PART, 0])
  t.match(result, { size: SIZE })
  t.same(await get('key'), content)
})

fleetTest('a host with a new disk has none of the bytes of its old uploads', async (t, fleet) => {
  const { oss, get } = fleet.bench
  oss.inject({ operation: 'CompleteMultipartUpload', do: 'answer', status: 403, times: 1 })
  await t.rejects(fleet.spool('a').upload('key', source(), { id: 'id' }), {
    code: 'ERR_SPOOL_DENIED',
  })
  await rm(fleet.dir('a'), { recursive: true })
  await t.rejects(fleet.spool('a').resume('id'), { code: 'ERR_SPOOL_UNSEALED' })
  t.match(await fleet.spool('a').upload('key', source(), { id: 'id' }), { sent: 0, size: SIZE })
  t.same(await get('key'), content)
})

fleetTest('a frozen worker that resumes while another one works cannot write', async (t, fleet) => {
  const { oss, get } = fleet.bench
  // The long timeout simulates a suspended machine whose own clock cannot detect the expiry, so that only the
  // fencing number can.
  const a = fleet.worker('a', { step: 'upload', pace: 150 }, { lockTimeout: 600_000 })
  await fleet.parts(2)
  a.signal('SIGSTOP')
  await fleet.unlock()
  await fleet.checkpoints('b').declareGone('a')
  const b = fleet.worker('b', { step: 'upload', pace: 60 })
  await b.waitFor('offset')
  a.signal('SIGCONT')
  const endings = await Promise.all([a.ended, b.ended])
  t.match(endings[0].error, { code: 'ERR_SPOOL_LOCKED', resumable: true })
  t.match(endings[1].result, { size: SIZE, sourceRead: true })
  t.ok(Number(endings[1].result?.skipped) >= PART, 'parts sent by the first worker are reused')
  t.same(await get('key'), content)
  t.equal(oss.requests.filter(r => r.operation === 'CompleteMultipartUpload').length, 1)
  t.same(await fleet.left('b'), [])
})

fleetTest('a process that lost the lock can neither write nor remove', async (t, fleet) => {
  const claimOf = (host: string) =>
    Claim.acquire(
      fleet.checkpoints(host).recordStoreFor(new SharedSpoolDirectory(fleet.dir(host))),
      'id',
    )
  const a = await claimOf('a')
  await a.db.write({ ...checkpointOf(spooling()), host: 'a' })
  await fleet.unlock()
  const b = await claimOf('b')
  await b.db.write({ ...checkpointOf(sealed()), host: 'b' })
  const lost = { code: 'ERR_SPOOL_LOCKED' }
  await t.rejects(a.db.write({ ...checkpointOf(spooling()), host: 'a' }), lost)
  t.equal(a.lockLost?.aborted, true)
  await t.rejects(a.remove(), lost)
  const kept = JSON.parse((await fleet.redis.get(fleet.key('record', 'id'))) ?? '')
  t.match(kept.checkpoint, { host: 'b', upload: { phase: 'sealed' } })
  await t.rejects(claimOf('c'), { ...lost, host: 'b' }, 'b still holds the lock')
  await b.remove()
  t.same(await fleet.left('b'), [])
})

fleetTest('a process that removes an upload is not considered dead', async (t, fleet) => {
  const directory = new SharedSpoolDirectory(fleet.dir('a'))
  const { prefix } = fleet
  const refused: unknown[] = []
  const claimOf = (call: RedisConnection['call']) =>
    Claim.acquire(redisCheckpoints({ call }, { prefix, host: 'a' }).recordStoreFor(directory), 'id')
  // Before each change, another process of this host tries to acquire the upload.
  const between: RedisConnection['call'] = async (command, ...args) => {
    const isChange = command === 'EVAL' && args[1] === 3
    const other = isChange && claimOf((...asked) => fleet.redis.call(...asked))
    if (other) await other.catch((error: unknown) => refused.push(error))
    return fleet.redis.call(command, ...args)
  }
  const a = await claimOf(between)
  writeFileSync(join(a.directory, 'spool-a-1-a'), 'bytes')
  await a.db.write({ ...checkpointOf(sealed()), host: 'a' })
  await a.remove()
  t.match(refused, [{ code: 'ERR_SPOOL_LOCKED' }, { code: 'ERR_SPOOL_LOCKED' }])
  t.same(await fleet.left('a'), [])
})

fleetTest('a damaged record is quarantined and does not block other uploads', async (t, fleet) => {
  const { oss, get } = fleet.bench
  oss.inject({ operation: 'CompleteMultipartUpload', do: 'answer', status: 403, times: 2 })
  const a = fleet.spool('a')
  for (const id of ['bad', 'good']) await t.rejects(a.upload(id, source(), { id }))
  const record = fleet.key('record', 'bad')
  const text = (await fleet.redis.get(record)) ?? ''
  await fleet.redis.set(record, text.replace('"sealed"', '"sealer"'))
  t.match(await a.uploads(), [{ id: 'good' }])
  t.match(fleet.bench.warnings.at(-1), { id: 'bad', cause: { code: 'ERR_SPOOL_CORRUPT' } })
  t.equal(await fleet.redis.exists(record), 0)
  const [name = ''] = readdirSync(join(fleet.dir('a'), 'quarantine'))
  t.match(await fleet.redis.get(fleet.key('quarantined', name)), /sealer/)
  t.ok(
    readdirSync(join(fleet.dir('a'), 'quarantine', name)).length > 0,
    'its bytes are quarantined as well',
  )
  t.match(await a.upload('bad', source(), { id: 'bad' }), { size: SIZE })
  t.same(await get('bad'), content)
  t.match(await a.resume('good'), { size: SIZE })

  await fleet.redis.set(fleet.key('record', 'later'), '{"format":99}')
  await fleet.redis.sadd(fleet.key('ids'), 'later')
  await t.rejects(a.upload('later', source(), { id: 'later' }), { code: 'ERR_SPOOL_UNREADABLE' })
  t.equal(
    await fleet.redis.get(fleet.key('record', 'later')),
    '{"format":99}',
    'a record of a later format is left unchanged',
  )
  t.match(await a.prune({ olderThan: 0 }), [{ kind: 'quarantine', id: name }])
  t.equal(await fleet.redis.exists(fleet.key('quarantined', name)), 0)
})

t.test('an upload survives a short Redis outage and fails safely after a long one', async t => {
  const own = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')
  if (own === undefined) return
  const fleet = new Fleet(t, await bench(t), own)
  const worker = fleet.worker('a', { step: 'upload', pace: 150 })
  await fleet.parts(2)
  await own.kill()
  await sleep(800)
  await own.start()
  t.match((await worker.ended).result, { size: SIZE, sent: SIZE })
  t.same(await fleet.bench.get('key'), content)
  t.same(await fleet.left('a'), [])

  const checkpoints = fleet.checkpoints('a', { lockTimeout: 2_000 })
  let over = false
  const endless = () => failingAfter(content, new Error('the source ended'), () => over)
  const late = fleet
    .spool('a', { checkpointStore: checkpoints })
    .upload('key', endless, { id: 'id' })
  late.catch(() => {}) // checked below
  await fleet.parts(11)
  await own.kill()
  await t.rejects(
    late,
    { code: 'ERR_SPOOL_LOCKED', resumable: true },
    'Redis did not return before the lock expired',
  )
  over = true
  await own.start()
  t.match(await fleet.spool('a').uploads(), [{ id: 'id', phase: 'spooling' }])
  t.match(await fleet.spool('a').upload('key', source(), { id: 'id' }), { size: SIZE })
})

for (const first of ['sealed', 'committed'] as const) {
  fleetTest(`a ${first} upload is kept when its successor ends in order`, async (t, fleet) => {
    const { oss, get } = fleet.bench
    const data = content.subarray(0, 3 * PART)
    const open = () => {
      const sink = fleet.spool('a').createWriteStream('key', { id: 'id' })
      sink.on('error', () => {})
      return sink
    }
    const refused = oss.inject({
      operation: 'CompleteMultipartUpload',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      times: 'always',
    })
    const older = open()
    older.write(data)
    if (first === 'sealed') older.end()
    else {
      await older.commit()
      older.destroy()
    }
    await t.rejects(older.result)
    for (let i = 0; i < 2; i++) {
      const newer = open()
      await new Promise(resolve => newer.write('new', resolve))
      newer.destroy(new Error('cut'))
      await t.rejects(newer.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
      t.match(await fleet.spool('a').uploads(), [{ id: 'id', resumable: true }])
    }
    refused.remove()
    t.match(await fleet.spool('a').resume('id'), { size: data.length })
    t.same(await get('key'), data)
  })
}

t.test('errors do not contain the Redis password', async t => {
  const own = await startRedis(t, '--requirepass', 'right')
  if (own === undefined) return
  const redis = new Redis(`redis://:very-secret@127.0.0.1:${own.port}`, { lazyConnect: true })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const b = await bench(t, { spool: { checkpointStore: redisCheckpoints(redis) } })
  const error: unknown = await b.spool.upload('key', source()).catch((cause: unknown) => cause)
  t.match(error, { code: 'ERR_SPOOL_UNREADABLE' })
  t.notMatch(inspect(error, { depth: 10, showHidden: true }), /very-secret/)
})

t.test('redisCheckpoints() rejects invalid arguments before sending anything', async t => {
  const silent = { call: () => Promise.reject(new Error('nothing should be sent')) }
  // @ts-expect-error -- as from JavaScript
  t.throws(() => redisCheckpoints('redis://'), { code: 'ERR_INVALID_ARG_TYPE' })
  for (const host of ['', 'a b', 'a:b']) {
    t.throws(() => redisCheckpoints(silent, { host }), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  t.throws(() => redisCheckpoints(silent, { lockTimeout: 10 }), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => redisCheckpoints(silent, { hostTimeout: NaN }), { code: 'ERR_OUT_OF_RANGE' })
})

t.test('takeOver() keeps everything OSS may have, from every phase', async t => {
  const begun = { ...spooling(), uploadId: 'U', crcs: ['4'], spooled: 9 }
  const gone: Pick<Sealed, 'freed' | 'met'> = { freed: [[1, 1]], met: { md5: 'a' } }
  for (const record of [begun, sealed({}, 'U'), completing('U')]) {
    const upload = { ...record, ...gone }
    const { token, plan, crcs, digest, uploadId } = upload
    const after = takeOver({ ...checkpointOf(upload), host: 'a' }, 'b')
    const kept = { phase: 'spooling', token, plan, crcs, digest, uploadId, spooled: 0 }
    t.match(after, { host: 'b', upload: kept, superseded: [] }, upload.phase)
    const over = ['size', 'completingAt', 'freed', 'met'].filter(name => name in after.upload)
    t.same(over, [], 'fields that describe the lost bytes are removed')
  }
  const receipt = { ...checkpointOf(published()), host: 'a' }
  t.match(takeOver(receipt, 'b'), { host: 'b', upload: receipt.upload })
  const both = { ...checkpointOf(spooling()), previous: sealed({}, 'P') }
  t.match(takeOver(both, 'b'), { upload: { uploadId: 'P' }, superseded: [] })
  const initiating = { from: '2026-01-02T03:04:05.678Z', to: '2026-01-02T03:19:05.678Z' }
  const asked = { ...both, upload: { ...spooling(), initiating } }
  t.match(takeOver(asked, 'b'), { upload: { uploadId: 'P' }, lost: [initiating] })
  const newer = { ...both, upload: { ...spooling(), uploadId: 'U' } }
  t.match(takeOver(newer, 'b'), { upload: { uploadId: 'U' }, superseded: ['P'] })
  t.notOk('previous' in takeOver(newer, 'b'))
})
