/** Limits of sources: a source that hangs fails its attempt even if it ignores its signal, and the next attempt publishes. */
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import { SpoolError } from '../../src/index.js'
import { SourceTimeoutError, SourceWatch } from '../../src/bullmq/source-watch.js'
import { until } from '../support/command-line.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const PART = 102_400
const content = bytes(2 * PART + 17)
const LIMIT = 400

type Hang = 'promise' | 'iterator' | 'stream' | 'endless' | 'never'

/** Sources that hang in their first runs: each way to hang once, in this order. */
class HangingSources {
  readonly hangs: Hang[] = []
  readonly signals: AbortSignal[] = []
  destroyed = 0

  readonly sources = {
    hanging: (_args: undefined, { signal }: { signal: AbortSignal }) => {
      this.signals.push(signal)
      const hang = this.hangs.shift() ?? 'never'
      if (hang === 'never') return streamOf(content)
      if (hang === 'promise') return new Promise<Readable>(() => {})
      if (hang === 'iterator') return hangingIterator()
      if (hang === 'endless') return dripping()
      return new Readable({
        read() {},
        // Never calls back, so that the stream never closes.
        destroy: () => void this.destroyed++,
      })
    },
  }
}

/** Yields a part and then nothing. Its `return()` waits for ever, too. */
async function* hangingIterator() {
  yield content.subarray(0, PART)
  await new Promise(() => {})
}

/** Yields something all the time, but never ends. */
async function* dripping() {
  for (;;) {
    yield Buffer.from('x')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

const server = await startRedis(t)

function limitTest(
  name: string,
  run: (t: Test, fleet: Fleet<HangingSources['sources']>, hanging: HangingSources) => Promise<void>,
): void {
  if (server === undefined) return
  t.test(name, async t => {
    const hanging = new HangingSources()
    await run(t, new Fleet(t, await bench(t), server, hanging.sources, { attempts: 9 }), hanging)
  })
}

limitTest('a source that hangs fails its attempt and is retried', async (t, fleet, hanging) => {
  const { queue, bench: b } = fleet
  const failures: unknown[] = []
  const { worker } = fleet.machine('a', { concurrency: 1 })
  worker.on('failed', (_job, error) => failures.push(error.cause))
  hanging.hangs.push('promise', 'iterator', 'stream', 'endless')
  const limits = { sourceIdleTimeout: LIMIT, sourceTimeout: 3 * LIMIT }
  const { job } = await queue.add({ key: 'k', source: 'hanging', ...limits })
  const done = await fleet.reaches(job.id, 'completed')
  t.match(done, { attemptsMade: 5, returnvalue: { size: content.length } })
  t.same(await b.get('k'), content)
  const codes = failures.map(error => error instanceof SpoolError && error.code)
  t.same(codes, Array(4).fill('ERR_SPOOL_SOURCE_FAILED'))
  const causes = failures.map(error => error instanceof SpoolError && error.cause)
  t.match(causes, [
    { code: 'ERR_SOURCE_IDLE_TIMEOUT' },
    { code: 'ERR_SOURCE_IDLE_TIMEOUT' },
    { code: 'ERR_SOURCE_IDLE_TIMEOUT' },
    { code: 'ERR_SOURCE_TIMEOUT' },
  ])
  t.equal(hanging.destroyed, 1)
  t.same(
    hanging.signals.map(({ aborted }) => aborted),
    [true, true, true, true, false],
  )
  t.same(worker.idleSources, [])
})

limitTest('a worker has limits for jobs that set none', async (t, fleet, hanging) => {
  hanging.hangs.push('stream')
  const { worker } = fleet.machine('a', { sourceIdleTimeout: LIMIT })
  const { job } = await fleet.queue.add({ key: 'k', source: 'hanging' })
  t.match(await fleet.reaches(job.id, 'completed'), { attemptsMade: 2 })
  hanging.hangs.push('stream')
  const patient = { sourceIdleTimeout: 3_600_000 }
  const { job: waiting } = await fleet.queue.add({ key: 'w', source: 'hanging', ...patient })
  await fleet.reaches(waiting.id, 'active')
  await until(() => hanging.hangs.length === 0)
  t.same(worker.idleSources, [], 'reported only after half of the limit')
  await fleet.queue.cancel(waiting.id ?? '')
  t.match(await fleet.reaches(waiting.id, 'failed'), { failedReason: /^ERR_SPOOL_ABORTED/ })
})

limitTest('an idle source is reported after half of its limit', async (t, fleet, hanging) => {
  hanging.hangs.push('iterator')
  const { worker } = fleet.machine('a')
  const limits = { sourceIdleTimeout: 4_000 }
  const { job } = await fleet.queue.add({ key: 'k', source: 'hanging', ...limits })
  await until(() => worker.idleSources.length === 1)
  const [idle] = worker.idleSources
  t.equal(idle?.id, job.id)
  t.ok((idle?.idle ?? 0) >= 2_000)
  t.match(await fleet.reaches(job.id, 'completed'), { attemptsMade: 2 })
  t.same(worker.idleSources, [])
})

limitTest('invalid limits are refused before any work', async (t, fleet) => {
  const request = { key: 'k', source: 'hanging' } as const
  for (const name of ['sourceIdleTimeout', 'sourceTimeout'] as const) {
    const outOfRange = { code: 'ERR_OUT_OF_RANGE' }
    await t.rejects(fleet.queue.add({ ...request, [name]: 0 }), outOfRange)
    await t.rejects(fleet.queue.add({ ...request, [name]: 2 ** 31 }), outOfRange)
    t.throws(() => fleet.machine('a', { [name]: 1.5 }), outOfRange)
  }
  t.same(await fleet.queue.queue.getJobCounts('waiting', 'active'), { waiting: 0, active: 0 })
})

t.test('back-pressure is not idle time, and the end of the source ends its limits', async t => {
  let ended = 0
  const watch = new SourceWatch({ idle: 150, total: undefined }, () => void ended++)
  const { signal } = new AbortController()
  const parts = [Buffer.alloc(10, 1), Buffer.alloc(0), Buffer.alloc(10, 2)]
  const stream = await watch.open(() => Readable.from(parts), { offset: 0, signal })
  const read: unknown[] = []
  const slow = new Writable({
    highWaterMark: 1,
    write: (chunk, _encoding, callback) => {
      read.push(chunk)
      setTimeout(callback, 600) // longer than the limit
    },
  })
  await pipeline(stream, slow)
  t.same(read, parts)
  t.ok(ended > 0)
  t.equal(watch.isIdle, false)
})

t.test('a chunk without bytes does not end idle time', async t => {
  const watch = new SourceWatch({ idle: 300, total: undefined }, () => {})
  const { signal } = new AbortController()
  const empty = async function* () {
    for (;;) {
      yield Buffer.alloc(0)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const stream = await watch.open(() => empty(), { offset: 0, signal })
  const reading = async (): Promise<void> => {
    for await (const chunk of stream) t.equal(chunk.length, 0)
  }
  await t.rejects(reading(), SourceTimeoutError)
})

t.test('a source fails with its own error before its limit', async t => {
  const watch = new SourceWatch({ idle: 60_000, total: 60_000 }, () => {})
  const { signal } = new AbortController()
  const failing = async (): Promise<Readable> => {
    throw new Error('own')
  }
  await t.rejects(watch.open(failing, { offset: 0, signal }), { message: 'own' })
  const stream = await new SourceWatch({ idle: 60_000, total: 60_000 }, () => {}).open(
    () => new Readable({ read: readable() }),
    { offset: 0, signal },
  )
  const reading = async (): Promise<void> => {
    for await (const chunk of stream) t.fail(String(chunk))
  }
  await t.rejects(reading(), { message: 'torn' })
})

function readable() {
  return function (this: Readable): void {
    this.destroy(new Error('torn'))
  }
}
