/** A Redis that answers, and refuses: workers wait for it without a flood of requests, and continue afterwards. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/command-line.js'
import { bench, bytes } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const content = bytes(1_000)
const sources = { content: () => [content] }

/** ms of refusals. BullMQ without a pause sends thousands of requests in this time. */
const REFUSED_MS = 2_000

const server = await startRedis(t)
if (server !== undefined) {
  t.test('a worker asks a Redis without memory for jobs only once in a while', async t => {
    const fleet = new Fleet(t, await bench(t), server, sources)
    const { queue, redis } = fleet
    const { job } = await queue.add({ key: 'k', source: 'content' })
    await redis.config('SET', 'maxmemory', '1')
    const { worker } = fleet.machine('a')
    let warnings = 0
    worker.on('warning', () => warnings++)
    await until(() => warnings > 0)
    await sleep(REFUSED_MS)
    t.ok(warnings < 100, `${warnings} warnings`)
    await redis.config('SET', 'maxmemory', '0')
    t.match(await fleet.reaches(job.id, 'completed'), { attemptsMade: 1 })
    t.same(await fleet.bench.get('k'), content)
  })

  t.test('a host whose first heartbeat was refused is alive once Redis accepts it', async t => {
    const fleet = new Fleet(t, await bench(t), server, sources)
    const { redis } = fleet
    await redis.config('SET', 'maxmemory', '1')
    const { worker, checkpoints } = fleet.machine('a', { hostQueueTimeout: 1_000 })
    let warnings = 0
    worker.on('warning', () => warnings++)
    await until(() => warnings > 0)
    await redis.config('SET', 'maxmemory', '0')
    await until(async () => !(await checkpoints.isGone('a')))
    t.equal(await checkpoints.isGone('a'), false)
  })

  t.test('a worker closes while Redis refuses jobs', async t => {
    const fleet = new Fleet(t, await bench(t), server, sources)
    const { queue, redis } = fleet
    await queue.add({ key: 'k', source: 'content' })
    await redis.config('SET', 'maxmemory', '1')
    t.teardown(() => redis.config('SET', 'maxmemory', '0'))
    const { worker } = fleet.machine('a')
    let warnings = 0
    worker.on('warning', () => warnings++)
    await until(() => warnings > 0)
    await worker.close()
    t.equal(worker.active, 0)
  })
}
