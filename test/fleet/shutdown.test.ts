/**
 * SIGTERM in each state of a job, with a Redis that answers, is frozen, is dead or refuses: the worker exits within its
 * grace period, and every job is finished or continues without having used up an attempt.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { contentOf } from '../crash/seeded-content.js'
import { until } from '../support/command-line.js'
import { sampled } from '../support/long.js'
import { streamOf } from '../support/oss.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { Machines, PART, type Machine } from './machines.js'

const SIZE = 6 * PART
/** Default grace period of Kubernetes in ms. */
const GRACE_MS = 30_000

const isUnhandled = async ({ run }: Machine): Promise<boolean> =>
  Promise.race([run.done.then(() => false), sleep(GRACE_MS, true, { ref: false })])

async function stop(t: Test, machine: Machine): Promise<void> {
  machine.run.child.kill('SIGTERM')
  t.equal(await isUnhandled(machine), false, 'it exits within the grace period')
  machine.run.child.kill('SIGKILL')
  t.equal((await machine.run.done).status, 143)
}

/** What happens to Redis before the signal, and what repairs it. */
type Disturbance = readonly [
  name: string,
  disturb: (fleet: Machines) => Promise<void>,
  repair: (fleet: Machines) => Promise<void>,
]

async function setMaxMemory(redis: Redis, bytes: number): Promise<void> {
  await redis.config('SET', 'maxmemory', bytes)
}

const DISTURBANCES: readonly Disturbance[] = [
  ['answers', async () => {}, async () => {}],
  ['is frozen', async ({ server }) => server.freeze(), async ({ server }) => server.thaw()],
  ['is dead', ({ server }) => server.kill(), ({ server }) => server.start()],
  [
    'has no memory',
    ({ redis }) => setMaxMemory(redis, 1),
    ({ redis }) => setMaxMemory(redis, 0), // no limit
  ],
]

async function stopInEachState(t: Test, [name, disturb, repair]: Disturbance): Promise<void> {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue, redis } = fleet
  const content = contentOf(1, SIZE)
  const add = async (key: string, pace = 0) => {
    const { job } = await queue.add({
      key,
      source: 'content',
      args: { seed: 1, size: SIZE, pace },
    })
    return job
  }
  const dir = fleet.dir('a')
  const checkpointStore = redisCheckpoints(redis, { host: 'a', prefix: 'oss-spool' })
  t.teardown(() => checkpointStore.close())
  const own = bench.another({ dir, checkpointStore })

  // Sealed on host `a`, so that another host sends it to the queue of `a`.
  const hosted = await add('hosted')
  const refusal = bench.oss.inject({
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const upload = { id: hosted.id ?? '', once: true }
  await t.rejects(
    own.upload('hosted', () => streamOf(content), upload),
    { code: 'ERR_SPOOL_DENIED' },
  )
  refusal.remove()
  const other = fleet.start('b')
  await until(async () => (await hosted.getState()) === 'waiting-children')
  await stop(t, other)

  // Another process of host `a` has the lock of `locked`.
  const locked = await add('locked')
  const stopOwn = new AbortController()
  t.teardown(() => stopOwn.abort())
  const pending = async function* () {
    yield content.subarray(0, 2 * PART)
    await new Promise(resolve => stopOwn.signal.addEventListener('abort', resolve))
  }
  const holding = own
    .upload('locked', pending, { id: locked.id ?? '', once: true, signal: stopOwn.signal })
    .catch(() => undefined) // aborted
  await until(() => fleet.done('UploadPart').some(({ key }) => key === 'locked'))

  const hanging = [
    bench.oss.inject({ operation: 'UploadPart', key: 'uploading', do: 'hang', times: 'always' }),
    ...['completing', 'hosted'].map(key =>
      bench.oss.inject({ operation: 'CompleteMultipartUpload', key, do: 'hang', at: 'done' }),
    ),
  ]
  const jobs = [
    hosted,
    locked,
    await add('reading', 200),
    await add('uploading'),
    await add('completing'),
  ]
  const machine = fleet.start('a', '--concurrency=8')
  await Promise.all(hanging.map(fault => fault.hit()))
  await until(() => fleet.done('UploadPart').some(({ key }) => key === 'reading'))
  await until(async () => (await locked.getState()) === 'delayed')

  await disturb(fleet)
  await stop(t, machine)
  stopOwn.abort()
  await repair(fleet)
  await holding
  for (const fault of hanging) fault.remove()
  for (const {
    id = '',
    data: { key },
  } of jobs) {
    const job = await queue.find(id)
    t.match(job, { attemptsMade: 0, finishedOn: undefined }, key)
    if (name === 'answers') t.not(await job?.getState(), 'active', key)
  }

  const next = fleet.start('a')
  await until(async () => (await queue.queue.getCompletedCount()) === jobs.length)
  for (const {
    id = '',
    data: { key },
  } of jobs) {
    const job = await queue.find(id)
    t.match(job, { attemptsMade: 1, returnvalue: { size: SIZE, host: 'a' } }, key)
    t.same(await bench.get(key), content)
  }
  await stop(t, next)
}

async function stopBetweenJobs(t: Test, [, disturb, repair]: Disturbance): Promise<void> {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue } = fleet
  const idle = fleet.start('idle')
  await until(() => idle.said().includes('working on'))
  await stop(t, idle)

  const count = 40
  for (let seed = 0; seed < count; seed++) {
    await queue.add({ key: `k${seed}`, source: 'content', args: { seed, size: 9_999 } })
  }
  const busy = fleet.start('a', '--concurrency=2')
  await until(() => fleet.done('PutObject').length > 5)
  await disturb(fleet)
  await stop(t, busy)
  await repair(fleet)
  const next = fleet.start('a')
  await until(async () => (await queue.queue.getCompletedCount()) === count)
  for (let seed = 0; seed < count; seed++) {
    t.same(await bench.get(`k${seed}`), contentOf(seed, 9_999))
  }
  t.equal(await queue.queue.getFailedCount(), 0)
  await disturb(fleet)
  await stop(t, next)
}

async function drain(t: Test): Promise<void> {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue } = fleet
  const args = { seed: 3, size: 3 * PART, pace: 200 }
  const draining = fleet.start('a', '--drain=10m')
  const { job } = await queue.add({ key: 'finished', source: 'content', args })
  await until(() => fleet.done('UploadPart').length > 0)
  await stop(t, draining)
  t.match(await queue.find(job.id ?? ''), { attemptsMade: 1, returnvalue: { host: 'a' } })
  t.same(await bench.get('finished'), contentOf(3, 3 * PART))

  const hurried = fleet.start('a', '--drain=10m', '--health=0')
  const slow = { seed: 4, size: 100 * PART, pace: 200 }
  const { job: returned } = await queue.add({ key: 'returned', source: 'content', args: slow })
  await until(() => /health on \S+/.test(hurried.said()))
  const url = /health on (\S+)/.exec(hurried.said())?.[1] ?? ''
  await until(() => fleet.done('UploadPart').some(({ key }) => key === 'returned'))
  hurried.run.child.kill('SIGTERM')
  await until(async () => (await fetch(url)).status === 503)
  t.match(await (await fetch(url)).json(), { status: 'stopping', active: 1 })
  await stop(t, hurried)
  t.equal(await returned.getState(), 'waiting')
  t.match(await queue.find(returned.id ?? ''), { attemptsMade: 0 })
}

/** `npm test` tries one or two of these. `test/bullmq/shutdown.test.ts` covers the decisions of a worker, without processes. */
const TESTS: readonly (readonly [name: string, body: (t: Test) => Promise<void>])[] = [
  ...DISTURBANCES.flatMap(disturbance => [
    [
      `SIGTERM while Redis ${disturbance[0]}: no job of any state uses up an attempt`,
      (t: Test) => stopInEachState(t, disturbance),
    ] as const,
    [
      `SIGTERM while Redis ${disturbance[0]}: a worker between jobs loses none`,
      (t: Test) => stopBetweenJobs(t, disturbance),
    ] as const,
  ]),
  ['a draining worker finishes its job, and a second signal ends the drain', drain],
]

for (const [name, body] of sampled(t, TESTS, 5)) t.test(name, body)
