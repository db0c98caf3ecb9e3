/** Kills a job with SIGKILL at random moments and reruns it until it succeeds. Publishes each object once. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Manifest } from '../../src/etl/index.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { randomOf } from '../support/seed.js'
import { long } from '../support/long.js'
import { pathOf } from '../support/project.js'

const WORKER = pathOf('test/etl/worker.mjs')
const MANIFEST = 'rows/_manifest-job.json'
const RECORDS = 2000
const KILLS = 6
/** Each kill happens after at most this many requests and this many ms. */
const [MAX_REQUESTS, MAX_DELAY_MS] = [5, 30]
/** Maximum number of concurrently unfinished objects: two open ones, and two (plus one) that have ended. */
const UNFINISHED = 5

async function start({ oss, dir }: Bench): Promise<ChildProcess> {
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const job = { client: oss.clientOptions(BUCKET), dir, records: RECORDS, pace: 2 }
  const child = spawn(process.execPath, [WORKER, JSON.stringify(job)], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  child.stdin.write('go\n')
  return child
}

async function ended(child: ChildProcess): Promise<boolean> {
  const [status, signal]: unknown[] = child.exitCode === null ? await once(child, 'close') : [0]
  if (signal === 'SIGKILL') return false
  if (status !== 0) throw new Error(`The job exited with ${String(status)}`)
  return true
}

/** Returns the manifest, and a copy without the creation times for comparison. */
async function result(work: Bench): Promise<{ manifest: Manifest; same: unknown }> {
  const manifest = JSON.parse(String(await work.get(MANIFEST))) as Manifest
  const objects = manifest.objects.map(({ created: _created, ...object }) => object)
  return { manifest, same: { ...manifest, objects } }
}

async function killed(t: Test, work: Bench): Promise<number> {
  const random = randomOf(t)
  // Delays replies, so that some runs die after an object was stored but before they received the reply.
  work.oss.inject({ do: 'delay', ms: 15, operation: 'PutObject', times: 'always' })
  for (let kills = 0; kills < KILLS; kills++) {
    const child = await start(work)
    const until = work.oss.requests.length + Math.floor(random() * (MAX_REQUESTS + 1))
    while (work.oss.requests.length < until && child.exitCode === null) await sleep(2)
    await sleep(random() * MAX_DELAY_MS)
    child.kill('SIGKILL')
    if (await ended(child)) return kills
    const manifest = await work.get(MANIFEST)
    if (manifest === undefined) continue
    // Killed after writing the manifest but before exiting: all objects must exist.
    const { objects } = JSON.parse(String(manifest)) as Manifest
    for (const { key } of objects)
      t.ok(await work.get(key), `${key} was stored before the manifest`)
  }
  t.ok(await ended(await start(work)), 'an undisturbed run succeeds')
  return KILLS
}

void long(
  t,
  'a job killed at random publishes every object once and the manifest last, and resends little',
  async t => {
    let expected: unknown
    await t.test('an undisturbed run as reference', async t => {
      const undisturbed = await bench(t)
      t.ok(await ended(await start(undisturbed)))
      expected = (await result(undisturbed)).same
    })
    const work = await bench(t)
    const kills = await killed(t, work)
    const { manifest, same } = await result(work)
    t.same(same, expected, `the result after ${kills} kills is the same as without`)
    t.equal(manifest.objects.length, 21)
    t.equal(manifest.records, RECORDS)

    const ids: number[] = []
    for (const { key, size } of manifest.objects) {
      const content = (await work.get(key)) ?? Buffer.alloc(0)
      t.equal(content.length, size, key)
      for (const line of String(gunzipSync(content)).trimEnd().split('\n')) {
        ids.push((JSON.parse(line) as { id: number }).id)
      }
    }
    t.same(
      ids.toSorted((a, b) => a - b),
      [...Array(RECORDS).keys()],
      'every record is stored once',
    )

    const puts = work.oss.requests.filter(({ operation }) => operation === 'PutObject')
    const stored = puts.filter(({ status }) => status === 200).map(({ key }) => key)
    t.equal(new Set(stored).size, stored.length, 'no object is stored twice')
    t.equal(stored.length, manifest.objects.length + 1)
    t.equal(stored.at(-1), MANIFEST, 'the manifest is stored last')
    const sent = puts.reduce((sum, { bytes }) => sum + bytes, 0)
    const manifestSize = (await work.get(MANIFEST))?.length ?? 0
    const largest = Math.max(manifestSize, ...manifest.objects.map(({ size }) => size))
    const once = manifest.size + manifestSize
    t.ok(
      sent >= once && sent <= once + kills * UNFINISHED * largest,
      `${sent} bytes were sent for ${once} bytes of objects`,
    )
    t.same(await work.spool.uploads(), [], 'no upload is left unfinished')
  },
)
