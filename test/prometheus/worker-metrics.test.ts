/** Metrics of real workers: a real Redis, a queue, and an OSS emulator with faults. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import type { UploadWorker, Sources } from '../../src/bullmq/index.js'
import { collectWorkerMetrics } from '../../src/prometheus/index.js'
import { Fleet } from '../bullmq/fleet.js'
import { until } from '../support/command-line.js'
import { bench } from '../support/oss.js'
import { promtool } from '../support/promtool.js'
import { startRedis } from '../support/redis.js'

const PART = 102_400

/** Whether the source `held` waits before its end. */
const hold = { source: false }

const sources = {
  bytes: ({ size }: { size: number }) => [Buffer.alloc(size, 1)],
  failing: (): never => {
    throw new Error('the database is unavailable')
  },
  held: async function* () {
    yield Buffer.alloc(3 * PART, 1)
    await until(() => !hold.source)
    yield Buffer.alloc(10, 1)
  },
  slow: async function* (_args: undefined, { signal }: { signal: AbortSignal }) {
    yield Buffer.alloc(2 * PART, 1)
    await sleep(120_000, undefined, { signal })
  },
}

const server = await startRedis(t)

/** Returns the samples of a registry: their values by name and labels, without `queue`. */
async function samplesOf(register: Registry): Promise<Map<string, number>> {
  const samples = new Map<string, number>()
  for (const line of (await register.metrics()).split('\n')) {
    const [, name = '', labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    const others = labels.split(',').filter(label => label !== '' && !label.startsWith('queue='))
    if (value !== undefined) samples.set([name, ...others].join(' '), Number(value))
  }
  return samples
}

function registryOf(worker: UploadWorker<Sources>): Registry {
  const register = new Registry()
  collectWorkerMetrics(worker, { register })
  return register
}

function fleetTest(title: string, run: (t: Test, fleet: Fleet<typeof sources>) => Promise<void>) {
  if (server === undefined) return
  t.test(title, async t => {
    await run(t, new Fleet(t, await bench(t), server, sources))
  })
}

fleetTest('counters of a worker match a known set of jobs', async (t, fleet) => {
  const { oss } = fleet.bench
  const { worker } = fleet.machine('a')
  const register = registryOf(worker)
  const before = await samplesOf(register)
  t.equal(before.get('oss_spool_jobs_completed_total'), 0)
  t.equal(before.get('oss_spool_jobs_failed_total code="ERR_SPOOL_SOURCE_FAILED"'), 0)

  // Refused after the whole body was sent, so exactly one part is sent twice.
  oss.inject({ operation: 'UploadPart', do: 'answer', status: 503, code: 'ServiceUnavailable' })
  const sizes = [3 * PART + 7, 1_000]
  for (const [i, size] of sizes.entries()) {
    const { job } = await fleet.queue.add({ key: `key-${i}`, source: 'bytes', args: { size } })
    await fleet.reaches(job.id, 'completed')
  }
  const { job: failing } = await fleet.queue.add({ key: 'failing', source: 'failing' })
  await fleet.reaches(failing.id, 'failed')
  await until(async () => (await samplesOf(register)).get('oss_spool_active_jobs') === 0)

  const samples = await samplesOf(register)
  const total = 3 * PART + 7 + 1_000
  const resent = samples.get('oss_spool_resent_bytes_total') ?? 0
  t.ok(resent > 0 && resent <= PART, `${resent} bytes were sent again`)
  const expected = {
    oss_spool_jobs_completed_total: 2,
    'oss_spool_jobs_failed_total code="ERR_SPOOL_SOURCE_FAILED"': 1,
    'oss_spool_job_retries_total code="ERR_SPOOL_SOURCE_FAILED"': 0,
    oss_spool_published_bytes_total: total,
    oss_spool_source_bytes_total: total,
    oss_spool_sent_bytes_total: total + resent,
    oss_spool_skipped_bytes_total: 0,
    oss_spool_takeovers_total: 0,
    oss_spool_job_duration_seconds_count: 2,
    'oss_spool_retries_total operation="UploadPart" reason="throttled"': 1,
    'oss_spool_unfinished_uploads phase="sealed"': 0,
    oss_spool_oldest_sealed_age_seconds: 0,
    oss_spool_redis_up: 1,
  }
  t.match(Object.fromEntries(samples), expected)
})

fleetTest(
  'a job that fails and is retried counts its attempts, bytes and parts',
  async (t, fleet) => {
    const { oss } = fleet.bench
    const register = registryOf(fleet.machine('a').worker)
    const refuse = oss.inject({ operation: 'CompleteMultipartUpload', do: 'answer', status: 403 })
    const size = 3 * PART
    const { job } = await fleet.queue.add({ key: 'key', source: 'bytes', args: { size } })
    await fleet.reaches(job.id, 'completed')
    refuse.remove()
    await until(async () => (await samplesOf(register)).get('oss_spool_active_jobs') === 0)
    t.match(Object.fromEntries(await samplesOf(register)), {
      oss_spool_jobs_completed_total: 1,
      'oss_spool_job_retries_total code="ERR_SPOOL_DENIED"': 1,
      oss_spool_published_bytes_total: size,
      oss_spool_source_bytes_total: size,
      oss_spool_sent_bytes_total: size,
      oss_spool_skipped_bytes_total: size,
      oss_spool_resent_bytes_total: 0,
    })
  },
)

fleetTest(
  'a job that another host began is a takeover, whose parts are skipped',
  async (t, fleet) => {
    const { worker: first } = fleet.machine('first')
    hold.source = true
    const { job } = await fleet.queue.add({ key: 'key', source: 'held' })
    await until(() => fleet.bench.count('UploadPart') >= 2)
    await first.close()
    hold.source = false
    const register = registryOf(fleet.machine('a').worker)
    await fleet.reaches(job.id, 'completed')
    const samples = await samplesOf(register)
    t.equal(samples.get('oss_spool_takeovers_total'), 1)
    t.ok((samples.get('oss_spool_skipped_bytes_total') ?? 0) >= 2 * PART)
  },
)

fleetTest('gauges describe the queue and the spool', async (t, fleet) => {
  const { worker, spool } = fleet.machine('a', { concurrency: 1 })
  const register = registryOf(worker)
  const { job: active } = await fleet.queue.add({ key: 'slow', source: 'slow' })
  await fleet.reaches(active.id, 'active')
  await until(async () => (await spool.localUploads()).some(({ spooled }) => spooled >= PART))
  const args = { size: 10 }
  await fleet.queue.add({ key: 'next', source: 'bytes', args })
  const aged = await fleet.queue.queue.add(
    'bytes',
    { key: 'aged', source: 'bytes', args },
    { priority: 9, timestamp: Date.now() - 3_600_000 },
  )
  const priority = { priority: 2 ** 20 }
  await fleet.queue.queue.add('bytes', { key: 'last', source: 'bytes', args }, priority)
  await fleet.reaches(aged.id, 'prioritized')
  const isCurrent = async () =>
    (await samplesOf(register)).get('oss_spool_jobs state="prioritized"')
  await until(async () => (await isCurrent()) === 2)
  const samples = await samplesOf(register)
  t.match(Object.fromEntries(samples), {
    'oss_spool_jobs state="active"': 1,
    'oss_spool_jobs state="waiting"': 1,
    'oss_spool_jobs state="prioritized"': 2,
    'oss_spool_jobs state="failed"': 0,
    oss_spool_active_jobs: 1,
    'oss_spool_unfinished_uploads phase="spooling"': 1,
    oss_spool_redis_up: 1,
  })
  t.ok((samples.get('oss_spool_oldest_waiting_job_age_seconds') ?? 0) >= 3_600)
  t.ok((samples.get('oss_spool_redis_round_trip_seconds') ?? 0) > 0)
  t.ok((samples.get('oss_spool_disk_used_bytes') ?? 0) >= PART)
  const free = samples.get('oss_spool_disk_free_bytes') ?? 0
  t.ok(free > 0 && free < (samples.get('oss_spool_disk_size_bytes') ?? 0))
})

fleetTest('the output passes the checks of promtool, also twice', async (t, fleet) => {
  const register = registryOf(fleet.machine('a').worker)
  for (const text of [await register.metrics(), await register.metrics()]) {
    const checked = promtool(t, ['check', 'metrics'], text)
    if (checked !== undefined) t.same(checked, { status: 0, output: '' })
  }
})

t.test('while Redis does not answer, a scrape has the metrics that do not need it', async t => {
  const own = await startRedis(t)
  if (own === undefined) return
  const fleet = new Fleet(t, await bench(t), own, sources)
  const register = registryOf(fleet.machine('a').worker)
  await until(async () => (await samplesOf(register)).get('oss_spool_redis_up') === 1)
  // Longer than a reading is used. Connections stay open, so the worker can be closed afterwards.
  await fleet.redis.call('CLIENT', 'PAUSE', 12_000, 'ALL')
  await until(async () => (await samplesOf(register)).get('oss_spool_redis_up') === 0)
  const samples = await samplesOf(register)
  t.notOk(samples.has('oss_spool_redis_round_trip_seconds'))
  t.notOk(samples.has('oss_spool_jobs state="waiting"'))
  t.equal(samples.get('oss_spool_jobs_completed_total'), 0)
  t.equal(samples.get('oss_spool_active_jobs'), 0)
  await until(async () => (await samplesOf(register)).get('oss_spool_redis_up') === 1)
})

t.test('invalid arguments are refused', async t => {
  // Wrong on purpose.
  const wrong = (worker: unknown, options?: unknown) => () =>
    collectWorkerMetrics(worker as UploadWorker<Sources>, options as object)
  t.throws(wrong({}), { code: 'ERR_INVALID_ARG_TYPE' })
  if (server === undefined) return
  const { worker } = new Fleet(t, await bench(t), server, sources).machine('a')
  t.throws(wrong(worker, { register: {} }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(wrong(worker, { registry: new Registry() }), { name: 'TypeError' })
  collectWorkerMetrics(worker, { register: new Registry() })
})
