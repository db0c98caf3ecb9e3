/** Closing a worker: active jobs may end first, and what is left returns to the queue. */
import t, { type Test } from 'tap'
import { until } from '../support/command-line.js'
import { bench, bytes } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const PART = 102_400
const content = bytes(3 * PART + 17)

/** A source that continues when the gate opens. */
class Gate {
  open!: () => void
  readonly isOpen = new Promise<void>(resolve => (this.open = resolve))
  readonly sources = {
    gated: async function* (this: Gate) {
      yield content.subarray(0, 2 * PART)
      await this.isOpen
      yield content.subarray(2 * PART)
    }.bind(this),
    quick: () => [content],
  }
}

const server = await startRedis(t)

function closeTest(
  name: string,
  run: (t: Test, fleet: Fleet<Gate['sources']>, gate: Gate) => Promise<void>,
): void {
  if (server === undefined) return
  t.test(name, async t => {
    const gate = new Gate()
    await run(t, new Fleet(t, await bench(t), server, gate.sources), gate)
  })
}

const HOUR = 3_600_000

closeTest('a draining worker finishes its jobs and takes no others', async (t, fleet, gate) => {
  const { queue, bench: b } = fleet
  const { worker } = fleet.machine('a')
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  const closing = worker.close({ drain: HOUR })
  const { job: next } = await queue.add({ key: 'next', source: 'quick' })
  gate.open()
  await closing
  t.match(await fleet.job(job.id), { attemptsMade: 1, returnvalue: { size: content.length } })
  t.same(await b.get('k'), content)
  t.equal(await next.getState(), 'waiting')
  t.equal(worker.active, 0)
})

closeTest('a drain that takes too long returns its jobs', async (t, fleet, gate) => {
  const { queue, bench: b } = fleet
  const { worker } = fleet.machine('a')
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  await worker.close({ drain: 200 })
  t.equal(await job.getState(), 'waiting')
  t.match(await fleet.job(job.id), { attemptsMade: 0 })
  gate.open()
  fleet.machine('b')
  const { returnvalue } = await fleet.reaches(job.id, 'completed')
  t.match(returnvalue, { host: 'b', skipped: 2 * PART })
  t.same(await b.get('k'), content)
})

closeTest('a second call of close() ends the drain', async (t, fleet) => {
  const { queue, bench: b } = fleet
  const { worker } = fleet.machine('a')
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  const closing = worker.close({ drain: HOUR })
  await worker.close()
  await closing
  t.equal(await job.getState(), 'waiting')
  t.match(await fleet.job(job.id), { attemptsMade: 0 })
})

closeTest('a job can be cancelled while its worker drains', async (t, fleet) => {
  const { queue, bench: b } = fleet
  const { worker } = fleet.machine('a')
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  const closing = worker.close({ drain: HOUR })
  t.equal(await queue.cancel(job.id ?? ''), 'stopping')
  await closing
  t.match(await fleet.job(job.id), { failedReason: /^ERR_SPOOL_ABORTED/ })
})

closeTest('a worker keeps working if close() gets an invalid option', async (t, fleet, gate) => {
  const { worker } = fleet.machine('a')
  await t.rejects(worker.close({ drain: -1 }), { code: 'ERR_OUT_OF_RANGE' })
  const mistyped: object = { drian: 5 }
  await t.rejects(worker.close(mistyped), { code: 'ERR_INVALID_ARG_VALUE' })
  gate.open()
  const { job } = await fleet.queue.add({ key: 'k', source: 'gated' })
  await fleet.reaches(job.id, 'completed')
})
