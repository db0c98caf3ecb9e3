/** Rolling deployments: workers of different versions and with different sources share a queue. */
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { checkJobData } from '../../src/bullmq/job-data.js'
import { chooseFailureAction } from '../../src/bullmq/failure-policy.js'
import { UnsupportedJobError } from '../../src/bullmq/unsupported-job.js'
import { LaterFormatError } from '../../src/disk/checkpoint.js'
import { SpoolError } from '../../src/index.js'
import { bench } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const sources = { text: () => ['text'] }

type TestFleet = Fleet<typeof sources>

const server = await startRedis(t)

function skewTest(name: string, run: (t: Test, fleet: TestFleet) => Promise<void>): void {
  if (server === undefined) return
  t.test(name, async t => run(t, new Fleet(t, await bench(t), server, sources)))
}

/** Puts a job that waits for its delay back to the queue, as time does. */
async function promote(fleet: TestFleet, id: string): Promise<void> {
  await (await fleet.job(id)).promote()
}

skewTest('a worker hands a job back whose record has a later format', async (t, fleet) => {
  const { redis, prefix } = fleet
  const record = `${prefix}:record:k`
  const later = '{"format":99,"digest":"","checkpoint":{}}'
  await redis.set(record, later)
  await redis.sadd(`${prefix}:ids`, 'k')
  await fleet.queue.add({ id: 'k', key: 'k', source: 'text' })
  const { worker } = fleet.machine('a')
  const [warning] = await once(worker, 'warning')
  t.match(warning, { message: /^Job k returns to the queue in 30 s: .*format 99/ })
  const delayed = await fleet.reaches('k', 'delayed')
  t.equal(delayed.attemptsMade, 0)
  t.ok(delayed.delay > 5_000, 'no hot loop')
  t.equal(await redis.get(record), later, 'the record is unchanged')

  // A worker of that version finishes the upload.
  await redis.del(record)
  await promote(fleet, 'k')
  t.equal((await fleet.reaches('k', 'completed')).attemptsMade, 1)
})

skewTest('a worker hands a job back whose data has a later version', async (t, fleet) => {
  const { queue } = fleet
  const { worker } = fleet.machine('a')
  const warned = once(worker, 'warning')
  const upload: object = { optionOfTomorrow: true }
  await queue.queue.add('text', Object.assign({ key: 'k', source: 'text' }, { v: 2, upload }), {
    jobId: 'k',
  })
  t.match(await warned, [{ message: /^Job k returns to the queue in 30 s: .*version 2/ }])
  t.equal((await fleet.reaches('k', 'delayed')).attemptsMade, 0)
  t.equal(await fleet.bench.get('k'), undefined)

  const { job } = await queue.add({ key: 'l', source: 'text' })
  t.equal(job.data.v, 1)
  const unknown = Object.assign({ key: 'm', source: 'text' }, { v: 1, upload })
  await queue.queue.add('text', unknown, { jobId: 'm' })
  t.match(await fleet.reaches('m', 'failed'), { failedReason: /^ERR_INVALID_ARG_VALUE: / })
})

skewTest('a job whose source is unknown waits for a worker that has it', async (t, fleet) => {
  const { queue, redis, prefix, bench: b } = fleet
  const old = fleet.machine('a', { sources: {} })
  const warned = once(old.worker, 'warning')
  await queue.add({ id: 'k', key: 'k', source: 'text' })
  t.match(await warned, [{ message: /^Job k returns .* has no source "text" \(it has none\)/ }])
  t.equal((await fleet.reaches('k', 'delayed')).attemptsMade, 0)

  // It is not handed back forever.
  await redis.hset(`${prefix}:oss-spool:k`, 'ats', 40)
  await promote(fleet, 'k')
  const { failedReason, attemptsMade } = await fleet.reaches('k', 'failed')
  t.match(failedReason, /has no source "text"/)
  t.equal(attemptsMade, 3)

  await old.worker.close()
  fleet.machine('b')
  await (await fleet.job('k')).retry()
  await fleet.reaches('k', 'completed')
  t.same(await b.get('k'), Buffer.from('text'))
})

t.test('a job that a later worker can run is handed back', t => {
  const lacks = (what: 'source' | 'version') => new UnsupportedJobError('x', { lacks: what })
  const later = new SpoolError('ERR_SPOOL_UNREADABLE', 'x', { cause: new LaterFormatError('x') })
  t.same(chooseFailureAction(later, 'a'), { do: 'hand back' })
  t.same(chooseFailureAction(later, 'a', 1_000), { do: 'hand back' })
  t.same(chooseFailureAction(lacks('version'), 'a', 1_000), { do: 'hand back' })
  t.same(chooseFailureAction(lacks('source'), 'a', 30), { do: 'hand back' })
  t.same(chooseFailureAction(lacks('source'), 'a', 31), { do: 'retry' })
  t.same(chooseFailureAction(new SpoolError('ERR_SPOOL_UNREADABLE', 'x'), 'a'), { do: 'retry' })

  const data = { key: 'k', source: 's' }
  checkJobData({ ...data, v: 1 })
  t.throws(() => checkJobData({ v: 2 }), UnsupportedJobError)
  for (const v of [0, 1.5, '2', null]) {
    t.throws(() => checkJobData({ ...data, v }), { code: /ERR_INVALID_ARG|ERR_OUT_OF_RANGE/ })
  }
  t.end()
})
