/** Uploads whose jobs Redis has lost, or that were removed by hand. */
import { readdirSync } from 'node:fs'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { UploadQueue } from '../../src/bullmq/index.js'
import { until } from '../support/command-line.js'
import { bench, BUCKET, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const PART = 102_400
const content = bytes(2 * PART + 17)
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

/** A failed job waits longer than a test. */
const RETRIED = { attempts: 10, backoff: { type: 'fixed', delay: 3_600_000 } }

/** One source that ends, and one that waits for its third part until its job is stopped. */
const sources = {
  whole: () => streamOf(content),
  endless: async function* (_args: unknown, { signal }: { signal: AbortSignal }) {
    yield content.subarray(0, 2 * PART)
    await new Promise((_, reject) => signal.addEventListener('abort', reject))
  },
}

type TestFleet = Fleet<typeof sources>

const server = await startRedis(t)

function unknownTest(name: string, body: (t: Test, fleet: TestFleet) => Promise<void>): void {
  if (server === undefined) return
  t.test(name, async t => {
    await body(t, new Fleet(t, await bench(t), server, sources))
  })
}

function sourceOf(index: number): 'whole' | 'endless' {
  return index % 2 === 0 ? 'whole' : 'endless'
}

/** Adds jobs that OSS does not let finish, and waits until each has its parts there. Half of them are sealed. */
async function startJobs({ bench: b, queue }: TestFleet, ids: readonly string[]): Promise<void> {
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  for (const [i, id] of ids.entries()) {
    const source = sourceOf(i)
    await queue.queue.add(source, { key: `key-${id}`, source }, { jobId: id, ...RETRIED })
  }
  const sealed = Math.ceil(ids.length / 2)
  await until(() => b.count('UploadPart') === 2 * ids.length + sealed)
  await until(async () => (await queue.queue.getDelayedCount()) === sealed)
}

/** Returns the keys of the upload ids in the bucket. */
async function uploadIdsOn({ bench: { oss } }: TestFleet): Promise<string[]> {
  const client = new OSS(oss.clientOptions(BUCKET))
  const { uploads } = await client.listUploads({ 'max-uploads': 1000 }, {})
  return uploads.map(({ name }) => name).toSorted()
}

unknownTest(
  'pruneUnknownJobs() removes the uploads of 20 jobs that no queue has, and no other',
  async (t, fleet) => {
    const { queue, redis, prefix } = fleet
    const lost = Array.from({ length: 20 }, (_, i) => `lost-${i + 10}`)
    const scheduled = 'repeat:nightly:1764374400000'
    const kept = ['in-wait', 'in-delay', scheduled, 'elsewhere']
    const workers = ['a', 'b'].map(host => fleet.machine(host, { concurrency: 12 }))
    await startJobs(fleet, [...lost, ...kept])
    const own = fleet.disk('office').spool.upload('own', () => streamOf(content))
    await t.rejects(own, { code: 'ERR_SPOOL_DENIED' })
    for (const { worker } of workers) await worker.close()
    await queue.queue.obliterate({ force: true })

    const add = (jobId: string, delay = 0) =>
      queue.queue.add('whole', { key: `key-${jobId}`, source: 'whole' }, { jobId, delay })
    await add('in-wait')
    await add('in-delay', 3_600_000)
    await add(scheduled)
    const other = new UploadQueue<typeof sources>({ connection: redis, prefix, name: 'other' })
    t.teardown(() => other.close())
    const data = { key: 'key-elsewhere', source: 'whole' }
    await other.queue.add('whole', data, { jobId: 'elsewhere' })

    const { spool } = fleet.disk('c')
    const before = await uploadIdsOn(fleet)
    t.equal(before.length, lost.length + kept.length + 1)
    const listed = await queue.pruneUnknownJobs(spool, { dryRun: true })
    t.same(
      listed.map(({ kind, id }) => `${kind} ${id}`),
      lost.map(id => `upload ${id}`),
    )
    t.same(await uploadIdsOn(fleet), before, 'a dry run removes nothing')
    t.same(await queue.pruneUnknownJobs(spool), listed)
    t.same(
      await uploadIdsOn(fleet),
      ['own', ...kept.map(id => `key-${id}`)].toSorted(),
      'no upload id of a lost job is left on OSS',
    )
    const left = await spool.uploads()
    t.same(left.map(({ key }) => key).toSorted(), await uploadIdsOn(fleet))
    t.same(await queue.pruneUnknownJobs(spool), [])

    fleet.bench.oss.clearFaults()
    fleet.machine('d')
    for (const host of ['a', 'b']) fleet.machine(host)
    await fleet.reaches(scheduled, 'completed')
    await fleet.reaches('in-wait', 'completed')
    t.same(await fleet.bench.get(`key-${scheduled}`), content)
  },
)

unknownTest('a host removes its bytes after the record is gone', async (t, fleet) => {
  const { worker } = fleet.machine('a')
  await startJobs(fleet, ['one', 'two'])
  await worker.close()
  await fleet.queue.queue.obliterate({ force: true })
  const removed = await fleet.queue.pruneUnknownJobs(fleet.disk('b').spool)
  t.equal(removed.length, 2)
  t.same(readdirSync(`${fleet.bench.dir}-a`).toSorted(), ['one'])
  const { spool } = fleet.disk('a') // as when the worker starts the next time
  t.match(await spool.prune(), [])
  t.same(readdirSync(`${fleet.bench.dir}-a`), ['quarantine'])
  t.match(await spool.prune({ olderThan: 0 }), [{ kind: 'quarantine' }])
  t.same(readdirSync(`${fleet.bench.dir}-a/quarantine`), [])
})

unknownTest('an upload that a worker works on is not removed', async (t, fleet) => {
  fleet.machine('a')
  await startJobs(fleet, ['one', 'two'])
  await fleet.queue.queue.obliterate({ force: true })
  const { spool } = fleet.disk('b')
  const removed = await fleet.queue.pruneUnknownJobs(spool)
  t.match(removed, [{ id: 'one' }])
  t.match(await spool.uploads(), [{ id: 'two', owner: { host: /./ } }])
  t.same(await uploadIdsOn(fleet), ['key-two'])
})

unknownTest('an upload whose job is added meanwhile is not removed', async (t, fleet) => {
  const { worker } = fleet.machine('a')
  await startJobs(fleet, ['one'])
  await worker.close()
  await fleet.queue.queue.obliterate({ force: true })
  const client = fleet.server.connect(t)
  const call = client.call.bind(client)
  let reads = 0
  const callAndAdd = async (command: string, ...args: string[]): Promise<unknown> => {
    const reply = await call(command, ...args)
    const data = { key: 'key-one', source: 'whole' }
    const isFirstRead = command === 'EVAL' && ++reads === 1
    if (isFirstRead) await fleet.queue.queue.add('whole', data, { jobId: 'one' })
    return reply
  }
  Object.assign(client, { call: callAndAdd })
  const queue = new UploadQueue({ connection: client, prefix: fleet.prefix })
  t.teardown(() => queue.close())
  const { spool } = fleet.disk('b')
  t.same(await queue.pruneUnknownJobs(spool), [])
  t.ok(reads > 1, 'the jobs are read again')
  t.match(await spool.uploads(), [{ id: 'one', resumable: true, owner: undefined }])
})

unknownTest('an upload that OSS does not abort stays', async (t, fleet) => {
  const { worker } = fleet.machine('a')
  await startJobs(fleet, ['one'])
  await worker.close()
  await fleet.queue.queue.obliterate({ force: true })
  const { spool } = fleet.disk('b')
  fleet.bench.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED })
  t.match(await fleet.queue.pruneUnknownJobs(spool), [
    { kind: 'upload', id: 'one', error: { code: 'ERR_SPOOL_DENIED' } },
  ])
  t.match(await spool.uploads(), [{ id: 'one', resumable: true }])
})

unknownTest('pruneUnknownJobs() rejects invalid options', async (t, { queue, bench: b }) => {
  // @ts-expect-error -- no spool
  await t.rejects(queue.pruneUnknownJobs({}), TypeError)
  // @ts-expect-error -- no boolean
  await t.rejects(queue.pruneUnknownJobs(b.spool, { dryRun: 1 }), TypeError)
  // @ts-expect-error -- no option
  await t.rejects(queue.pruneUnknownJobs(b.spool, { olderThan: 1 }), TypeError)
})
