/**
 * Uploads as jobs: outcome, handover between hosts, and cleanup. Runs real workers on a real Redis and the
 * emulator; each host has its own spool directory.
 */
import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { UnrecoverableError } from 'bullmq'
import t, { type Test } from 'tap'
import type { JobResult } from '../../src/bullmq/index.js'
import { jobFingerprint } from '../../src/bullmq/job-fingerprint.js'
import { toJobError, chooseFailureAction } from '../../src/bullmq/failure-policy.js'
import { SpoolError } from '../../src/index.js'
import { fleetRate } from '../../src/redis/index.js'
import { until } from '../support/command-line.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const PART = 102_400
const content = bytes(3 * PART + 17)

/** Sources that log their calls, and the gate that they wait for. */
class Workshop {
  readonly calls: string[] = []
  /** Opens the gate, so that `gated` sources continue. */
  open!: () => void
  readonly gate = new Promise<void>(resolve => (this.open = resolve))
  failures = 0

  readonly sources = {
    bytes: ({ size }: { size: number }) => {
      this.calls.push(`bytes ${size}`)
      return streamOf(content.subarray(0, size))
    },
    gated: async function* (this: Workshop) {
      this.calls.push('gated')
      yield content.subarray(0, 2 * PART)
      await this.gate
      yield content.subarray(2 * PART)
    }.bind(this),
    broken: ({ retryable }: { retryable: boolean }) => {
      this.calls.push('broken')
      if (this.failures-- > 0) throw Object.assign(new Error('broken'), { retryable })
      return [Buffer.from('whole')]
    },
  }
}

const server = await startRedis(t)

type TestFleet = Fleet<Workshop['sources']>

function fleetTest(
  name: string,
  run: (t: Test, fleet: TestFleet, workshop: Workshop) => Promise<void>,
): void {
  if (server === undefined) return
  t.test(name, async t => {
    const workshop = new Workshop()
    await run(t, new Fleet(t, await bench(t), server, workshop.sources), workshop)
  })
}

const deny = { do: 'answer', status: 403, code: 'AccessDenied' } as const

fleetTest('a job publishes its object once and stores its result', async (t, fleet, { calls }) => {
  const { queue, bench: b } = fleet
  const request = { key: 'a/b.bin', source: 'bytes', args: { size: content.length } } as const
  const { job } = await queue.add(request)
  t.equal((await queue.add(request)).job.id, job.id, 'there is one unfinished job per key')
  t.same((await queue.add(request)).job.data, job.data)
  const { worker } = fleet.machine('a')
  const done = await fleet.reaches(job.id, 'completed')
  t.match(done.returnvalue, { id: job.id, key: 'a/b.bin', size: content.length, host: 'a' })
  t.match(done.progress, { uploaded: content.length, parts: { done: 4 }, host: 'a' })
  t.same(await b.get('a/b.bin'), content)
  t.same(calls, [`bytes ${content.length}`])
  await until(async () => (await fleet.records()).length === 0)
  t.equal(worker.active, 0)

  const { job: again } = await queue.add({ ...request, args: { size: 5 } })
  t.not(again.id, job.id, 'a completed job does not block a new one')
  await fleet.reaches(again.id, 'completed')
  t.same(await b.get('a/b.bin'), content.subarray(0, 5))
  await t.rejects(queue.add({ ...request, key: '/a' }), { code: 'ERR_SPOOL_INVALID_KEY' })
  await t.rejects(queue.add({ ...request, upload: { partSize: 5 } }), { code: 'ERR_OUT_OF_RANGE' })
})

fleetTest('a job is not uploaded twice if its completion was lost', async (t, fleet, shop) => {
  const { queue, redis, prefix, bench: b } = fleet
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  const { worker } = fleet.machine('a')
  await until(() => b.count('UploadPart') === 2)
  // Simulates data loss in Redis: the worker cannot report the completion.
  await redis.del(`${prefix}:oss-spool:${job.id}:lock`)
  shop.open()
  await once(worker, 'warning')
  const { returnvalue, attemptsMade } = await fleet.reaches(job.id, 'completed')
  t.match(returnvalue, { receipt: true, size: content.length })
  t.equal(attemptsMade, 1)
  t.same(shop.calls, ['gated'])
  t.equal(b.count('CompleteMultipartUpload'), 1)
  await until(async () => (await fleet.records()).length === 0)
})

fleetTest('temporary failures are retried, others fail permanently', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const { worker } = fleet.machine('a')
  const failures: Error[] = []
  worker.on('failed', (_job, error) => failures.push(error))
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...deny, times: 2 })
  const { job: denied } = await queue.add({
    key: 'd',
    source: 'bytes',
    args: { size: content.length },
  })
  t.match(await fleet.reaches(denied.id, 'completed'), { attemptsStarted: 3 })
  t.equal(shop.calls.length, 1, 'the bytes are sealed, so the source is not called again')
  t.match(failures, [{ code: 'ERR_SPOOL_DENIED' }, { code: 'ERR_SPOOL_DENIED' }])

  shop.failures = 1
  const { job: broken } = await queue.add({
    key: 'b',
    source: 'broken',
    args: { retryable: false },
  })
  const failed = await fleet.reaches(broken.id, 'failed')
  t.match(failed, { attemptsMade: 1, failedReason: /^ERR_SPOOL_SOURCE_FAILED: .*broken/ })
  t.ok(failures[2] instanceof UnrecoverableError)
  t.match(failures[2], { code: 'ERR_SPOOL_SOURCE_FAILED', cause: { resumable: false } })
  const { job: next } = await queue.add({ key: 'b', source: 'broken', args: { retryable: false } })
  t.not(next.id, broken.id, 'a failed job does not block a new one')
  await fleet.reaches(next.id, 'completed')
  shop.failures = 1
  const { job: passing } = await queue.add({
    key: 'p',
    source: 'broken',
    args: { retryable: true },
  })
  t.match(await fleet.reaches(passing.id, 'completed'), { attemptsMade: 2 })

  const locked = (host?: string) =>
    new SpoolError('ERR_SPOOL_LOCKED', 'x', { host, resumable: true })
  t.same(chooseFailureAction(locked('b'), 'a'), { do: 'send to host', host: 'b' })
  t.same(chooseFailureAction(locked('a'), 'a'), { do: 'wait' })
  t.same(chooseFailureAction(locked(), 'a'), { do: 'wait' })
  const localOrTemporary = [
    'ERR_SPOOL_UNREADABLE',
    'ERR_SPOOL_FULL',
    'ERR_SPOOL_IO',
    'ERR_SPOOL_NO_LOCKS',
    'ERR_SPOOL_CORRUPT',
    'ERR_SPOOL_UPLOAD_FAILED',
    'ERR_SPOOL_VERIFY',
    'ERR_SPOOL_DENIED',
  ] as const
  for (const code of localOrTemporary) {
    t.same(chooseFailureAction(new SpoolError(code, 'x'), 'a'), { do: 'retry' }, code)
  }
  t.same(chooseFailureAction(new TypeError('x'), 'a'), { do: 'fail' })
  t.match(toJobError('ERR_X: y', true), { message: 'ERR_X: y' })
})

fleetTest('a job whose sealed bytes are damaged calls its source again', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const { spool, worker } = fleet.machine('a')
  const refusal = b.oss.inject({ operation: 'UploadPart', ...deny, times: 'always' })
  const { job } = await queue.add({
    key: 'k',
    source: 'bytes',
    args: { size: content.length },
    backoff: { type: 'fixed', delay: 2_000 },
  })
  await once(worker, 'failed')
  const directory = join(spool.dir, job.id ?? '')
  const [name = ''] = (await readdir(directory)).filter(each => each.startsWith('spool-'))
  await writeFile(join(directory, name), 'damaged', { flag: 'r+' })
  refusal.remove()
  t.match(await fleet.reaches(job.id, 'completed'), { attemptsMade: 3 })
  t.equal(shop.calls.length, 2)
  t.same(await b.get('k'), content)
})

fleetTest('a flow publishes the manifest after all its objects', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  fleet.machine('a')
  shop.failures = 1
  const objects = [
    { key: 'f/2', source: 'bytes', args: { size: 2 } },
    { key: 'f/b', source: 'broken', args: { retryable: false } },
    { key: 'f/1', source: 'bytes', args: { size: 200_000 } },
  ] as const
  const flow = await queue.addFlow({ job: 'daily', manifest: 'f/manifest.json', objects })
  await until(async () => (await queue.queue.getFailedCount()) === 1)
  await until(async () => (await queue.queue.getCompletedCount()) === 2)
  t.equal(await flow.getState(), 'waiting-children')
  t.equal(await b.get('f/manifest.json'), undefined, 'no manifest while an object is missing')
  const [failed] = await queue.queue.getFailed()
  await failed?.retry()
  const { returnvalue } = await fleet.reaches(flow.id, 'completed')
  t.match(returnvalue, { key: 'f/manifest.json' })
  const manifest = JSON.parse(String(await b.get('f/manifest.json')))
  const jobs = await queue.queue.getCompleted()
  const made = (key: string): JobResult | undefined =>
    jobs.find(({ data }) => data.key === key)?.returnvalue
  t.same(manifest, {
    job: 'daily',
    size: 200_007,
    objects: objects.map(({ key }) => {
      const { size, crc64, sealedAt } = made(key) ?? {}
      return { key, size, crc64, created: sealedAt }
    }),
  })
  await t.rejects(queue.addFlow({ job: 'x', manifest: 'm', objects: [] }), TypeError)
  const mistyped: object = { partsize: 5 }
  const unknown = { code: 'ERR_INVALID_ARG_VALUE', message: /partsize/ }
  await t.rejects(queue.add({ key: 'k', source: 'bytes', args: { size: 1 }, ...mistyped }), unknown)
  await t.rejects(
    queue.add({ key: 'k', source: 'bytes', args: { size: 1 }, upload: mistyped }),
    unknown,
  )
  const untyped = undefined as never // as from JavaScript
  const withoutObjects = { job: 'x', manifest: 'm', objects: untyped }
  await t.rejects(queue.addFlow(withoutObjects), { code: 'ERR_INVALID_ARG_TYPE' })
  await t.rejects(queue.find(untyped), { code: 'ERR_INVALID_ARG_TYPE' })
  await t.rejects(queue.cancel(untyped), { code: 'ERR_INVALID_ARG_TYPE' })
  const twice = [objects[0], objects[0]]
  await t.rejects(queue.addFlow({ job: 'x', manifest: 'm', objects: twice }), TypeError)
})

fleetTest(
  'a manifest is retried if Redis fails while it is made',
  async (t, { bench: b }, shop) => {
    if (server === undefined) return
    const backoff = { type: 'fixed', delay: 2_000 } as const
    const fleet = new Fleet(t, b, server, shop.sources, { backoff })
    const { queue, redis, prefix } = fleet
    const delay = b.oss.inject({ operation: 'HeadObject', key: 'm', do: 'delay', ms: 1_000 })
    const { worker } = fleet.machine('a')
    const objects = [{ key: 'f/1', source: 'bytes', args: { size: 2 } }] as const
    const flow = await queue.addFlow({ job: 'daily', manifest: 'm', objects })
    await delay.hit()
    // Before the source of the manifest reads this key, whose type is wrong for a while.
    const processed = `${prefix}:oss-spool:${flow.id}:processed`
    await redis.rename(processed, `${processed}-kept`)
    await redis.set(processed, '')
    await once(worker, 'failed')
    await redis.rename(`${processed}-kept`, processed)
    t.match(await fleet.reaches(flow.id, 'completed'), { attemptsMade: 2 })
  },
)

fleetTest('a cancelled job leaves no upload locally or on OSS', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const { job: waiting } = await queue.add({ key: 'w', source: 'bytes', args: { size: 1 } })
  t.equal(await queue.cancel(waiting.id ?? ''), 'removed')
  t.equal(await queue.find(waiting.id ?? ''), undefined)
  t.equal(await queue.cancel('nothing'), 'unknown')

  const { spool } = fleet.machine('a')
  const { job: active } = await queue.add({ key: 'a', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  t.equal(await queue.cancel(active.id ?? ''), 'stopping')
  const stopped = await fleet.reaches(active.id, 'failed')
  t.match(stopped, { attemptsMade: 1, failedReason: /^ERR_SPOOL_ABORTED: / })
  t.equal(b.count('AbortMultipartUpload'), 1)
  t.same(await spool.uploads({ all: true }), [])
  t.equal(await queue.cancel(active.id ?? ''), 'ended')

  // A sealed upload that waits for its next attempt.
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...deny, times: 'always' })
  const { job: delayed } = await queue.add({
    key: 'd',
    source: 'bytes',
    args: { size: content.length },
  })
  await until(async () => (await spool.uploads()).some(({ phase }) => phase === 'sealed'))
  t.equal(await queue.cancel(delayed.id ?? ''), 'stopping')
  t.match(await fleet.reaches(delayed.id, 'failed'), { failedReason: /^ERR_SPOOL_ABORTED: / })
  t.same(await spool.uploads({ all: true }), [])
  t.same(await fleet.records(), [])

  const objects = [{ key: 'f', source: 'gated' }] as const
  const flow = await queue.addFlow({ job: 'f', manifest: 'm', objects })
  await until(() => shop.calls.filter(call => call === 'gated').length === 2)
  t.equal(await queue.cancel(flow.id ?? ''), 'removed')
  await until(async () => (await queue.queue.getFailedCount()) === 3)
  shop.open()
  t.same(await Promise.all(['a', 'd', 'f', 'm'].map(key => b.get(key))), Array(4).fill(undefined))
})

fleetTest('a cancellation that comes too late does not stop a retry', async (t, fleet, shop) => {
  const { queue, redis, prefix, bench: b } = fleet
  shop.failures = 1
  const { job } = await queue.add({ key: 'k', source: 'broken', args: { retryable: false } })
  // As if the job had failed before its worker noticed it.
  const request = `${prefix}:oss-spool:cancel:${job.id}`
  await redis.set(request, '1')
  fleet.machine('a')
  const failed = await fleet.reaches(job.id, 'failed')
  t.match(failed, { failedReason: /^ERR_SPOOL_SOURCE_FAILED/ })
  await until(async () => (await redis.exists(request)) === 0)
  await failed.retry()
  await fleet.reaches(job.id, 'completed')
  t.same(await b.get('k'), Buffer.from('whole'))
})

fleetTest('a job cancelled while OSS publishes its object denies nothing', async (t, fleet) => {
  const { queue, bench: b } = fleet
  fleet.machine('a')
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', at: 'done' })
  const { job } = await queue.add({ key: 'k', source: 'bytes', args: { size: content.length } })
  await until(async () => (await b.get('k')) !== undefined)
  t.equal(await queue.cancel(job.id ?? ''), 'stopping')
  const { failedReason } = await fleet.reaches(job.id, 'failed')
  t.match(failedReason, /^ERR_SPOOL_ABORTED: /)
  t.notMatch(failedReason, /nothing was published/i)
  t.same(await b.get('k'), content)
})

fleetTest('a job returns to its live host, using no attempt', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const refusal = b.oss.inject({ operation: 'CompleteMultipartUpload', ...deny, times: 1 })
  const a = fleet.disk('a')
  const { job } = await queue.add({ key: 'k', source: 'bytes', args: { size: content.length } })
  const id = job.id ?? ''
  const options = { id, once: true }
  const denied = { code: 'ERR_SPOOL_DENIED' }
  await t.rejects(
    a.spool.upload('k', () => streamOf(content), options),
    denied,
  )
  refusal.remove()
  const b1 = fleet.machine('b')
  await fleet.reaches(id, 'waiting-children')
  t.match(await fleet.job(id), { attemptsMade: 0 })
  const back = fleet.machine('a')
  const { returnvalue, attemptsMade } = await fleet.reaches(id, 'completed')
  t.match(returnvalue, { host: 'a', sent: 0, sourceRead: false, size: content.length })
  t.equal(attemptsMade, 1, 'only the completion counts as an attempt')
  t.same(shop.calls, [])
  t.same(await b.get('k'), content)
  await until(async () => (await fleet.records()).length === 0)
  await Promise.all([back.worker.close(), b1.worker.close()])
})

fleetTest('a job is reclaimed from a host that is late or gone', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const a = fleet.disk('a')
  const refusal = b.oss.inject({ operation: 'CompleteMultipartUpload', ...deny, times: 'always' })
  const { job } = await queue.add({ key: 'k', source: 'bytes', args: { size: content.length } })
  const id = job.id ?? ''
  // As a worker on this host does.
  const options = { id, once: true, meta: { 'oss-spool-job': jobFingerprint(id, job.data) } }
  await t.rejects(
    a.spool.upload('k', () => streamOf(content), options),
    { code: 'ERR_SPOOL_DENIED' },
  )
  refusal.remove()
  const { checkpoints } = fleet.machine('b', { hostQueueTimeout: 1_000 })
  await fleet.reaches(id, 'waiting-children')
  await until(async () => (await fleet.job(id)).attemptsStarted > 1)
  t.match(await fleet.job(id), { attemptsMade: 0 }, 'a was late, so b has examined the job again')
  t.same(shop.calls, [], 'the source is not called, because the bytes may still be used')
  await checkpoints.declareGone('a')
  const { returnvalue } = await fleet.reaches(id, 'completed')
  t.match(returnvalue, { host: 'b', sent: 0, skipped: content.length, sourceRead: true })
  t.same(await b.get('k'), content)
})

fleetTest('a closing worker returns its jobs to the queue', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const a = fleet.machine('a')
  const { job } = await queue.add({ key: 'k', source: 'gated' })
  await until(() => b.count('UploadPart') === 2)
  await a.worker.close()
  t.equal(await job.getState(), 'waiting')
  t.match(await fleet.job(job.id), { attemptsMade: 0 })
  shop.open()
  fleet.machine('b')
  const { returnvalue } = await fleet.reaches(job.id, 'completed')
  t.match(returnvalue, { host: 'b', skipped: 2 * PART })
  t.same(await b.get('k'), content)
})

fleetTest('a job waits for another process of its host', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  const { job } = await queue.add({ key: 'k', source: 'bytes', args: { size: 5 } })
  const own = fleet.disk('a')
  // Simulates a worker that has lost its stalled job without noticing.
  const twin = own.spool.upload('k', () => shop.sources.gated(), { id: job.id ?? '', once: true })
  await until(() => b.count('UploadPart') === 2)
  fleet.machine('a')
  await fleet.reaches(job.id, 'delayed')
  shop.open()
  await twin
  const { returnvalue, attemptsMade } = await fleet.reaches(job.id, 'completed')
  t.match(returnvalue, { receipt: true })
  t.equal(attemptsMade, 1)
  t.same(await b.get('k'), content)
})

fleetTest('two machines share the fleet rate', async (t, fleet) => {
  const { redis, prefix } = fleet
  const rate = 400_000
  const data = bytes(300_000)
  const at = performance.now()
  const hosts = ['a', 'b'].map(host => {
    const limit = fleetRate(redis, rate, { prefix })
    return fleet.disk(host, { maxRate: limit }).spool
  })
  await Promise.all(hosts.map(spool => spool.upload(spool.dir.slice(-1), () => streamOf(data))))
  const took = performance.now() - at
  // The bucket initially holds the bytes of 250 ms.
  t.ok(took > (600_000 / rate - 0.25) * 1000, `600 KB at 400 KB/s took ${took} ms`)
  t.same(await fleet.bench.get('a'), data)

  const stop = new AbortController()
  const slow = fleetRate(redis, 1024, { prefix: `${prefix}-slow` })
  await slow.take(slow.slice, stop.signal)
  const waiting = [1, 2, 3].map(() => slow.take(slow.slice, stop.signal))
  await sleep(10)
  stop.abort()
  await Promise.all(waiting)
  t.throws(() => fleetRate(redis, 5), { code: 'ERR_OUT_OF_RANGE' })
})
