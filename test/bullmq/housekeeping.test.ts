/** What hosts leave in Redis when they are gone: nothing that grows with the number of pods that ever existed. */
import t, { type Test } from 'tap'
import { UploadWorker } from '../../src/bullmq/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { until } from '../support/command-line.js'
import { LONG } from '../support/long.js'
import { bench, bytes } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'
import { Fleet } from './fleet.js'

const HOSTS = LONG ? 100 : 20
const content = bytes(1_000)
const sources = { content: () => [content] }

const server = await startRedis(t)

/** Starts a worker whose host is gone soon after its process has ended. Resolves with a function that ends it. */
async function startPod(t: Test, fleet: Fleet<typeof sources>, host: string) {
  const { redis: connection, prefix } = fleet
  const dir = `${fleet.bench.dir}-${host}`
  const checkpointStore = redisCheckpoints(connection, { host, prefix, hostTimeout: 2_000 })
  const spool = fleet.bench.another({ dir, checkpointStore })
  const worker = new UploadWorker({
    connection,
    prefix,
    spool,
    checkpointStore,
    sources,
    hostQueueTimeout: 1_000,
    lockTimeout: 2_000,
  })
  const end = async (): Promise<void> => {
    await worker.close()
    checkpointStore.close()
    await removeDirectory(dir)
  }
  t.teardown(end)
  await until(async () => (await connection.keys(`${prefix}:*@${host}:*`)).length > 0)
  return { worker, checkpointStore, spool, end }
}

if (server !== undefined) {
  t.test(`${HOSTS} hosts that are gone leave no key in Redis`, async t => {
    const fleet = new Fleet(t, await bench(t), server, sources)
    const { queue, redis, prefix } = fleet
    const keys = async (): Promise<string[]> => (await redis.keys(`${prefix}:*`)).toSorted()
    const live = await startPod(t, fleet, 'live')
    const { job } = await queue.add({ key: 'first', source: 'content' })
    await fleet.reaches(job.id, 'completed')
    const before = await keys()

    for (let i = 0; i < HOSTS; i++) await (await startPod(t, fleet, `pod-${i}`)).end()
    await until(async () => (await keys()).every(key => !key.includes('pod-')))
    const hosts = await redis.smembers(`${prefix}:oss-spool:homes`)
    t.same(hosts, ['live'])
    const after = await keys()
    t.ok(after.length <= before.length + 1, `${before.length} keys, then ${after.length}`) // a turn, for a while
    t.ok(
      after.some(key => key.includes('@live:')),
      'the queue of a live host stays',
    )
    await live.end()
  })

  t.test('a job in the queue of a host that is gone is done before the queue goes', async t => {
    const b = await bench(t)
    const fleet = new Fleet(t, b, server, sources)
    const { queue, redis, prefix } = fleet
    const pod = await startPod(t, fleet, 'pod')
    await pod.worker.close()
    const refusal = b.oss.inject({
      operation: 'PutObject',
      do: 'answer',
      status: 403,
      times: 'always',
    })
    const { job } = await queue.add({ key: 'k', source: 'content', id: 'job' })
    await t.rejects(pod.spool.upload('k', () => [content], { id: 'job', once: true }))
    await startPod(t, fleet, 'other')
    await fleet.reaches(job.id, 'waiting-children')
    refusal.remove()
    pod.checkpointStore.close()
    await fleet.reaches(job.id, 'completed')
    t.same(await b.get('k'), content)
    await until(async () => (await redis.keys(`${prefix}:*@pod:*`)).length === 0)
  })
}
