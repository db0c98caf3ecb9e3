/** `add()`: jobs with given ids, jobs that exist, and options of single jobs. */
import t, { type Test } from 'tap'
import type { UploadJob, UploadRequest } from '../../src/bullmq/index.js'
import { uploadIdOf } from '../../src/bullmq/upload-id.js'
import { until } from '../support/command-line.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const content = bytes(1_000)

const sources = {
  bytes: ({ size }: { size: number }) => streamOf(content.subarray(0, size)),
  none: () => [],
  broken: () => {
    throw new Error('broken')
  },
}

type Request = UploadRequest<typeof sources>
type TestFleet = Fleet<typeof sources>

const server = await startRedis(t)

function fleetTest(name: string, run: (t: Test, fleet: TestFleet) => Promise<void>): void {
  if (server === undefined) return
  t.test(name, async t => run(t, new Fleet(t, await bench(t), server, sources)))
}

const inUse = { code: 'ERR_SPOOL_ID_IN_USE' }
const request = { key: 'k', source: 'bytes', args: { size: 5 } } as const

fleetTest(
  'add() finds an unfinished job of the same key, and refuses another upload',
  async (t, fleet) => {
    const { queue } = fleet
    const { job, added } = await queue.add(request)
    t.equal(added, true)
    t.same(await queue.add(request).then(({ job: { id }, ...rest }) => ({ id, ...rest })), {
      id: job.id,
      added: false,
    })
    await t.rejects(queue.add({ ...request, args: { size: 6 } }), { ...inUse, id: job.id })
    await t.rejects(queue.add({ ...request, upload: { mime: 'text/csv' } }), inUse)
    await t.rejects(queue.add({ key: 'k', source: 'none' }), inUse)
    t.match(await queue.add({ ...request, id: 'other' }), { job: { id: job.id }, added: false })
    fleet.machine('a')
    await fleet.reaches(job.id, 'completed')
    const next = await queue.add({ ...request, args: { size: 6 } })
    t.equal(next.added, true, 'a job that has ended blocks no other one')
  },
)

fleetTest(
  'add() finds a job of the same id in any state, and refuses another upload',
  async (t, fleet) => {
    const { queue } = fleet
    const named = { ...request, id: 'orders: 2026/11' }
    const { job, added } = await queue.add(named)
    t.equal(added, true)
    t.equal(job.id, uploadIdOf(job.id ?? ''))
    t.match(await queue.find(named.id), { id: job.id })
    const states = { completed: named, failed: { key: 'f', source: 'broken', id: 'bad' } } as const
    await queue.add(states.failed)
    t.match(await queue.add(named), { job: { id: job.id }, added: false })
    fleet.machine('a')
    for (const [state, each] of Object.entries<Request>(states)) {
      const { id } = (await queue.find(each.id ?? '')) ?? {}
      await fleet.reaches(id, state)
      t.match(await queue.add(each), { job: { id }, added: false }, state)
      await t.rejects(queue.add({ ...each, key: 'other' }), { ...inUse, id })
    }
    await t.rejects(queue.add({ ...named, args: { size: 6 } }), inUse)
    await t.rejects(queue.add({ ...named, upload: { meta: { a: 'b' } } }), inUse)
    await job.remove()
    t.match(await queue.add(named), { added: true })
  },
)

fleetTest(
  'of concurrent equal requests, one adds the job and the others find it',
  async (t, fleet) => {
    const { queue } = fleet
    const other = new Fleet(t, fleet.bench, fleet.server, sources)
    t.not(other.prefix, fleet.prefix)
    for (let i = 0; i < 20; i++) {
      const each = { ...request, id: `job ${i}`, key: `key-${i}` }
      const results = await Promise.all(Array.from({ length: 8 }, () => queue.add(each)))
      t.equal(results.filter(({ added }) => added).length, 1)
      t.equal(new Set(results.map(({ job }) => job.id)).size, 1)
      t.equal(await queue.queue.getJobCountByTypes('waiting'), i + 1)
    }
  },
)

fleetTest('of concurrent different requests with one id or key, one is added', async (t, fleet) => {
  const { queue } = fleet
  for (let i = 0; i < 20; i++) {
    const base = i % 2 === 0 ? { id: `job ${i}` } : {}
    const results = await Promise.allSettled(
      [1, 2, 3, 4].map(size =>
        queue.add({ ...base, key: `key-${i}`, source: 'bytes', args: { size } }),
      ),
    )
    const won = results.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
    t.match(won, [{ added: true }])
    for (const each of results) if (each.status === 'rejected') t.match(each.reason, inUse)
    const { data } = await fleet.job(won[0]?.job.id)
    t.same(
      { ...data, nonce: '' },
      { ...won[0]?.job.data, nonce: '' },
      'the stored job is that of the winner',
    )
  }
  t.equal(await queue.queue.getWaitingCount(), 20)
})

fleetTest('jobs with any id run, and can be found and cancelled by it', async (t, fleet) => {
  const { queue, bench: b } = fleet
  const ids = [
    '17',
    '-3',
    'wait',
    'events',
    'a:b:c:d',
    '../..',
    ' ',
    '🦊'.repeat(512),
    'repeat:x:1',
    '0:0',
    'con',
  ]
  const jobs: UploadJob[] = []
  for (const [i, id] of ids.entries()) {
    const { job, added } = await queue.add({ ...request, id, key: `key-${i}` })
    t.equal(added, true, id)
    jobs.push(job)
  }
  t.equal(new Set(jobs.map(job => job.id)).size, ids.length)
  t.equal(await queue.cancel(ids[0] ?? ''), 'removed')
  const names = ['17', 'repeat', 'repeat:x', 'meta', 'metrics:completed', 'de:x', 'no:such']
  for (const id of names) t.equal(await queue.find(id), undefined, id)
  const { spool } = fleet.machine('a')
  for (const [i, id] of ids.entries()) {
    if (i === 0) continue
    t.match(await queue.find(id), { id: jobs[i]?.id })
    const { returnvalue } = await fleet.reaches(jobs[i]?.id, 'completed')
    t.match(returnvalue, { id: jobs[i]?.id, key: `key-${i}` })
    t.same(await b.get(`key-${i}`), content.subarray(0, 5))
  }
  await until(async () => (await spool.uploads({ all: true })).length === 0)
})

fleetTest(
  'a cancellation of an earlier job does not stop a new one with the same id',
  async (t, fleet) => {
    const { queue, redis, prefix } = fleet
    // A request that came too late for the earlier job.
    await redis.set(`${prefix}:oss-spool:cancel:again`, '1')
    const { job } = await queue.add({ ...request, id: 'again', attempts: 3 })
    t.equal(await redis.exists(`${prefix}:oss-spool:cancel:again`), 0)
    fleet.machine('a')
    await fleet.reaches(job.id, 'completed')
  },
)

fleetTest('options of a job reach BullMQ, also in flows', async (t, fleet) => {
  const { queue } = fleet
  const options = {
    priority: 7,
    attempts: 5,
    backoff: { type: 'fixed', delay: 9, jitter: 0.5 },
    removeOnComplete: true,
    removeOnFail: { age: 60, count: 10 },
  } as const
  const { job } = await queue.add({ ...request, ...options, delay: 60_000 })
  t.match((await fleet.job(job.id)).opts, { ...options, delay: 60_000 })
  t.notMatch(job.data, { priority: 7 })
  t.equal(await job.getState(), 'delayed')
  await queue.addFlow({ job: 'f', manifest: 'm', objects: [{ ...request, key: 'f', ...options }] })
  const [child] = await queue.queue.getJobs(['prioritized'])
  t.match(child?.opts, options)
  await queue.add({ ...request, key: 'first' })
  await queue.add({ ...request, key: 'last', lifo: true })
  const { job: gone } = await queue.add({ ...request, key: 'gone', removeOnComplete: true })
  fleet.machine('a', { concurrency: 1 })
  await until(async () => (await queue.find(gone.id ?? '')) === undefined)
  const finishedOn = async (key: string) =>
    (await queue.queue.getJobs(['completed'])).find(({ data }) => data.key === key)?.finishedOn ?? 0
  t.ok((await finishedOn('last')) <= (await finishedOn('first')))
})

fleetTest('wrong ids and options of a job are refused, and nothing is added', async (t, fleet) => {
  const { queue } = fleet
  const type = { name: 'TypeError' }
  const range = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
  const wrong: [options: object, error: { readonly name: string }][] = [
    [{ id: 5 }, type],
    [{ id: '\ud800' }, type],
    [{ id: '' }, range],
    [{ id: 'x'.repeat(1_025) }, range],
    [{ priority: 1.5 }, range],
    [{ priority: -1 }, range],
    [{ priority: 2 ** 21 + 1 }, range],
    [{ priority: '1' }, type],
    [{ delay: -1 }, range],
    [{ delay: Infinity }, range],
    [{ attempts: 0 }, range],
    [{ backoff: 'fixed' }, type],
    [{ backoff: null }, type],
    [{ backoff: -1 }, range],
    [{ backoff: { type: 'mine' } }, type],
    [{ backoff: { type: 'fixed', delay: 1.5 } }, range],
    [{ backoff: { type: 'fixed', jitter: 2 } }, range],
    [{ backoff: { type: 'fixed', jitter: '1' } }, type],
    [{ backoff: { type: 'fixed', dealy: 5 } }, type],
    [{ lifo: 1 }, type],
    [{ removeOnComplete: 'yes' }, type],
    [{ removeOnComplete: { ages: 5 } }, type],
    [{ removeOnFail: { age: '5' } }, type],
    [{ removeOnFail: -1 }, range],
    [{ jobId: 'x' }, type],
  ]
  for (const [options, error] of wrong) {
    await t.rejects(queue.add({ ...request, ...options }), error, JSON.stringify(options))
    const objects = [{ ...request, ...options }]
    await t.rejects(queue.addFlow({ job: 'f', manifest: 'm', objects }), {
      name: /TypeError|RangeError/,
    })
  }
  const objects = [{ ...request, id: 'own' }]
  await t.rejects(queue.addFlow({ job: 'f', manifest: 'm', objects }), type)
  t.throws(() => new Fleet(t, fleet.bench, fleet.server, sources, { attempts: -1 }), range)
  t.equal(await queue.queue.getJobCountByTypes('waiting', 'delayed', 'prioritized'), 0)
})
