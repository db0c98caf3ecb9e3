/**
 * Chaos test: machines of a fleet die at random moments and are replaced, Redis is killed and restarted, OSS
 * throttles and loses replies. `JOBS=` and `DEATHS=` make the test longer. `SEED=`, printed on failure,
 * reproduces the same jobs and the same order of deaths.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t from 'tap'
import type { FlowManifest, UploadRequest } from '../../src/bullmq/index.js'
import { crc64 } from '../../src/crc64.js'
import { contentOf } from '../crash/seeded-content.js'
import { setLongTimeout } from '../crash/long-timeout.js'
import { until } from '../support/command-line.js'
import { long } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { randomOf } from '../support/seed.js'
import { Machines, PART, type Machine, type TestSources } from './machines.js'

const JOBS = Number(process.env['JOBS'] ?? 300)
const DEATHS = Number(process.env['DEATHS'] ?? 30)
/** Objects per flow; the manifest is one more job. */
const IN_FLOW = 11
const MACHINES = 3
/** Maximum number of parts in flight per machine: four jobs with five parts each. */
const PARTS_IN_FLIGHT = 4 * 5

setLongTimeout(t)

void long(t, `${JOBS} jobs are each published once while ${DEATHS} machines die`, async t => {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue, server } = fleet
  const random = randomOf(t)
  const below = (limit: number): number => Math.floor(random() * limit)
  const tally = { kills: 0, returned: 0, redis: 0, done: 0 }
  const often = { times: 'always', probability: 0.06, seed: below(2 ** 31) } as const
  const sending = ['UploadPart', 'PutObject'] as const
  const busy = { do: 'answer', status: 503 } as const
  bench.oss.inject({ operation: sending, ...busy, code: 'SlowDown', ...often })
  bench.oss.inject({
    operation: 'CompleteMultipartUpload',
    ...busy,
    code: 'ServiceUnavailable',
    ...often,
  })
  const publishing = ['CompleteMultipartUpload', 'PutObject'] as const
  bench.oss.inject({ operation: publishing, do: 'reset', at: 'done', ...often })

  const objects = new Map<string, { seed: number; size: number }>()
  const flows: string[][] = []
  while (objects.size + flows.length < JOBS) {
    const keys: string[] = []
    const requests: UploadRequest<TestSources>[] = []
    for (let i = Math.min(IN_FLOW, JOBS - objects.size - flows.length - 1); i > 0; i--) {
      const size = random() < 0.3 ? below(PART) : PART + below(8 * PART)
      const made = { seed: below(2 ** 31), size }
      const key = `flow-${flows.length}/${keys.length}.bin`
      const upload = random() < 0.4 ? ({ replay: 'offset' } as const) : {}
      requests.push({ key, source: 'content', args: { ...made, pace: 20 + below(80) }, upload })
      keys.push(key)
      objects.set(key, made)
    }
    const manifest = `flow-${flows.length}/manifest.json`
    await queue.addFlow({ job: `flow-${flows.length}`, manifest, objects: requests })
    flows.push(keys)
  }

  const machines: Machine[] = []
  const hosts = Array.from({ length: MACHINES }, (_, i) => `m${i}`)
  for (const host of hosts) machines.push(fleet.start(host))
  let next = MACHINES
  const completed = async (): Promise<number> => {
    tally.done = await queue.queue.getCompletedCount()
    return tally.done
  }
  const reached = (count: number) => until(async () => (await completed()) >= count)
  for (let i = 0; i < DEATHS; i++) {
    // Spreads the deaths over the jobs; the first one happens after the first jobs are completed.
    await reached(Math.floor((JOBS * (i + 0.3)) / (DEATHS + 1)))
    await sleep(below(600))
    const [dead] = machines.splice(below(machines.length), 1)
    if (dead === undefined) throw new Error('all machines are dead')
    await fleet.kill(dead)
    tally.kills++
    // Most machines never return; some restart on their existing disk.
    const returns = random() < 0.2
    if (returns) tally.returned++
    else if (random() < 0.5) await fleet.checkpoints.declareGone(dead.host)
    machines.push(fleet.start(returns ? dead.host : `m${next++}`))
    if (i === Math.floor(DEATHS / 2)) {
      await server.kill()
      await sleep(500)
      await server.start()
      tally.redis++
    }
  }
  await reached(JOBS)
  t.same(await queue.queue.getFailed(), [])

  for (const [key, { seed, size }] of objects) {
    const content = contentOf(seed, size)
    if (!(await bench.get(key))?.equals(content)) t.fail(`${key} does not match its source`)
  }
  for (const [i, keys] of flows.entries()) {
    const text = String(await bench.get(`flow-${i}/manifest.json`))
    const manifest = JSON.parse(text) as FlowManifest
    const expected = keys.map(key => {
      const { seed, size } = objects.get(key) ?? { seed: 0, size: 0 }
      return { key, size, crc64: String(crc64(contentOf(seed, size))) }
    })
    t.match(manifest, { job: `flow-${i}`, objects: expected }, `manifest ${i}`)
    t.equal(manifest.objects.length, keys.length)
  }
  const published = fleet.done(...publishing).map(({ key = '' }) => key)
  const all = [...objects.keys(), ...flows.map((_, i) => `flow-${i}/manifest.json`)]
  t.same(published.toSorted(), all.toSorted(), 'each key is published once')

  const sizes = [...objects.values()].reduce((sum, { size }) => sum + size, 0)
  // Everything OSS has read, including requests cut off when their machine died, but not rejected ones.
  const read = bench.oss.requests.filter(
    ({ operation, key = '', fault }) =>
      ['UploadPart', 'PutObject'].includes(operation) &&
      objects.has(key) &&
      fault !== 'answer@start',
  )
  const again = read.reduce((sum, { bytes }) => sum + bytes, 0) - sizes
  t.comment(`${again} bytes sent again, of ${sizes}; ${JSON.stringify(tally)}`)
  t.ok(again >= 0 && again <= tally.kills * PARTS_IN_FLIGHT * PART, `${again} bytes sent again`)

  t.same(await fleet.spool.uploads(), [], 'no upload is unfinished')
  await fleet.spool.prune({ olderThan: 0, orphans: true })
  const client = new OSS(bench.oss.clientOptions(BUCKET))
  const { uploads } = await client.listUploads({ 'max-uploads': 1000 }, {})
  t.same(uploads, [], 'no upload id is left on OSS')
})
