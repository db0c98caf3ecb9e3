/** Closing a worker around the death of Redis: `close()` resolves once Redis is back, and no job is lost. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/command-line.js'
import { sampled } from '../support/long.js'
import { bench, bytes } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const PART = 102_400
const content = bytes(3 * PART + 17)

/** ms from the death of Redis to `close()`. */
const MOMENTS = Array.from({ length: 28 }, (_, i) => -500 + i * 200)
const DOWN_MS = 1_000
const DRAINS = [0, 1_000]

/** Longer than Redis is down, so that the worker keeps its jobs until it returns them. */
const lockTimeout = 60_000

const server = await startRedis(t, '--appendonly', 'yes', '--appendfsync', 'always')

/** Starts a fleet with an active job, which ends only on its second run. */
async function start(test: Parameters<typeof bench>[0], redis: NonNullable<typeof server>) {
  let isOpen = false
  const gated = async function* () {
    yield content.subarray(0, 2 * PART)
    if (!isOpen) await new Promise(() => {})
    yield content.subarray(2 * PART)
  }
  const fleet = new Fleet(test, await bench(test), redis, { gated })
  const { worker } = fleet.machine('a', { lockTimeout })
  const { job } = await fleet.queue.add({ key: 'k', source: 'gated' })
  await until(() => fleet.bench.count('UploadPart') === 2)
  const finish = async () => {
    isOpen = true
    fleet.machine('b')
    const { attemptsMade } = await fleet.reaches(job.id, 'completed')
    test.equal(attemptsMade, 1, 'no attempt was used up')
    test.same(await fleet.bench.get('k'), content)
  }
  return { fleet, worker, job, finish }
}

if (server !== undefined) {
  t.test('close() resolves if it was called while a worker waited to reconnect', async t => {
    const { worker, job, finish } = await start(t, server)
    const { sharedWorker, hostWorker } = worker.internals
    await server.kill()
    for (const { backend } of [sharedWorker, hostWorker]) {
      const client = await backend.blockingClient
      await until(() => client?.status === 'reconnecting')
    }
    const closing = worker.close()
    await server.start()
    await closing
    t.equal(worker.active, 0)
    t.equal(await job.getState(), 'waiting')
    await finish()
  })

  for (const drain of DRAINS) {
    for (const moment of sampled(t, MOMENTS, MOMENTS.length)) {
      t.test(`close({ drain: ${drain} }) ${moment} ms after Redis was killed`, async t => {
        const { worker, job, finish } = await start(t, server)
        const close = async (): Promise<void> => {
          await sleep(500 + moment)
          await worker.close({ drain })
        }
        const restart = async (): Promise<void> => {
          await sleep(500)
          await server.kill()
          await sleep(DOWN_MS)
          await server.start()
        }
        await Promise.all([close(), restart()])
        t.equal(worker.active, 0)
        t.not(await job.getState(), 'active')
        await finish()
      })
    }
  }
}
