/**
 * Exactly once, proven by a reader of its own: a job is killed at random moments until it succeeds, then the objects of
 * the bucket are listed, unpacked and compared with the records, without the manifest. Afterwards, each kind of changed
 * source is refused and publishes nothing.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { Manifest } from '../../src/etl/index.js'
import { LONG, sampled } from '../support/long.js'
import { bench, BUCKET, QUICK, type Bench } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { randomOf } from '../support/seed.js'

const WORKER = pathOf('test/etl/exactly-once-worker.mjs')
const [RECORDS, KILLS] = LONG ? [300_000, 12] : [12_000, 2]
/** Each kill happens after at most this many requests, so that most kills hit a job that is under way. */
const MAX_REQUESTS = LONG ? 30 : 12
/** Objects of the longest partition. */
const OBJECTS_PER_PARTITION = 4
const PARTITIONS = [
  '..',
  '../../up',
  'a/b',
  'a=b',
  'dt=2026-11-24',
  '100%',
  '%2F',
  'ü 漢\u{1f600}',
  ' ',
  '\'\\"',
  '{seq}',
  '\u0001\n',
  '?#&+',
  'CON',
  '-',
  '',
]

interface Outcome {
  readonly killed?: true
  readonly manifest?: Manifest
  readonly error?: { readonly code: string; readonly message: string }
}

interface Task {
  readonly records: number
  readonly partitions: readonly string[]
  /** Seed of the sizes of chunks and of the pauses between them. */
  readonly seed: number
  /** Number of the record whose content is changed. */
  readonly changed?: number
  /** Number of the record that changes places with the next one. */
  readonly swapped?: number
}

function start(work: Bench, task: Task): ChildProcess {
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const options = { partSize: 102_400, retry: QUICK }
  const every = { records: Math.ceil(RECORDS / PARTITIONS.length / OBJECTS_PER_PARTITION) }
  const job = { client: work.oss.clientOptions(BUCKET), dir: work.dir, options, every, ...task }
  return spawn(process.execPath, [WORKER, JSON.stringify(job)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let text = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  await once(child, 'close')
  if (child.signalCode === 'SIGKILL') return { killed: true }
  return JSON.parse(text) as Outcome // written by the worker
}

/** Kills the job at a random number of requests after its start, and up to 30 ms later. */
async function runAndKill(work: Bench, task: Task, random: () => number): Promise<Outcome> {
  const child = start(work, task)
  const outcome = outcomeOf(child)
  const until = work.oss.requests.length + Math.floor(random() * MAX_REQUESTS)
  while (work.oss.requests.length < until && child.exitCode === null) await sleep(1)
  await sleep(random() * 30)
  child.kill('SIGKILL')
  return outcome
}

/** Lists the bucket through the client alone. */
async function listKeys(client: OSS): Promise<string[]> {
  const keys: string[] = []
  let token: string | undefined
  do {
    const page = await client.listV2(
      { 'max-keys': '100', ...(token === undefined ? {} : { 'continuation-token': token }) },
      {},
    )
    keys.push(...(page.objects ?? []).map(({ name }) => name))
    token = page.nextContinuationToken
  } while (token !== undefined && token !== null)
  return keys
}

/** Counts how often each record is in the objects of the bucket. Returns the keys that were read. */
async function readBucket(t: Test, client: OSS, manifestKey: string): Promise<string[]> {
  const seen = new Uint8Array(RECORDS)
  const wrong: string[] = []
  const partitionOf = new Map<string, string>()
  const keys = (await listKeys(client)).filter(key => key !== manifestKey)
  for (const key of keys) {
    const { content } = await client.get(key)
    const text = gunzipSync(Buffer.from(content as Uint8Array)).toString()
    if (!text.endsWith('\n')) wrong.push(`${key} ends within a record`)
    let last = -1
    for (const line of text.trimEnd().split('\n')) {
      const { id, of } = JSON.parse(line) as { id: number; of: string }
      seen[id] = (seen[id] ?? 0) + 1
      if (of !== PARTITIONS[id % PARTITIONS.length]) wrong.push(`record ${id} has partition ${of}`)
      if (id <= last) wrong.push(`record ${id} is out of order in ${key}`)
      last = id
      const folder = key.slice(0, key.lastIndexOf('/'))
      if ((partitionOf.get(folder) ?? of) !== of) wrong.push(`${key} has several partitions`)
      partitionOf.set(folder, of)
    }
  }
  t.same(wrong, [])
  t.equal(partitionOf.size, PARTITIONS.length, 'each partition has a folder of its own')
  const counts = new Map<number, number>()
  for (const count of seen) counts.set(count, (counts.get(count) ?? 0) + 1)
  t.same([...counts], [[1, RECORDS]], 'every record is in the bucket exactly once')
  t.same(
    keys.filter(key => !key.startsWith('rows/')),
    [],
    'no record leaves the folder of the template',
  )
  return keys
}

function published(work: Bench): string[] {
  return work.oss.requests
    .filter(({ operation, status }) => /^(Put|Complete)/.test(operation ?? '') && status === 200)
    .map(({ key }) => key ?? '')
}

t.test('a killed job stores every record once, and refuses every changed source', async t => {
  const random = randomOf(t)
  const work = await bench(t)
  const client = new OSS(work.oss.clientOptions(BUCKET))
  const seedOf = (): number => Math.floor(random() * 2 ** 32)
  const task = (): Task => ({ records: RECORDS, partitions: PARTITIONS, seed: seedOf() })
  // Some runs die after an object was stored, but before they have the reply.
  const delayed = work.oss.inject({ do: 'delay', ms: 10, operation: 'PutObject', times: 'always' })
  let kills = 0
  let outcome: Outcome = {}
  while (kills < KILLS && outcome.manifest === undefined) {
    outcome = await runAndKill(work, task(), random)
    if (outcome.killed) kills++
    t.equal(outcome.error, undefined)
  }
  delayed.remove()
  t.ok(kills > 0)
  t.comment(`${kills} kills, ${work.oss.requests.length} requests`)
  outcome = await outcomeOf(start(work, task()))
  t.match(outcome, { manifest: { records: RECORDS } })

  const manifestKey = 'rows/_manifest-job.json'
  const keys = await readBucket(t, client, manifestKey)
  const manifest = JSON.parse(String((await client.get(manifestKey)).content)) as Manifest
  t.same(manifest, outcome.manifest)
  t.same(manifest.objects.map(({ key }) => key).toSorted(), keys.toSorted(), 'it lists each object')
  const stored = published(work)
  t.equal(new Set(stored).size, stored.length, 'no object was published twice')

  const changes: Record<string, Partial<Task>> = {
    'one record more': { records: RECORDS + 1 },
    'one record less': { records: RECORDS - 1 },
    'a new partition': { partitions: [...PARTITIONS, 'new'] },
    'a partition less': { partitions: PARTITIONS.slice(1) },
    'changed content in the middle': { changed: RECORDS / 2 },
    'a changed last record': { changed: RECORDS - 1 },
    'records of a partition in another order': { swapped: 0 },
  }
  for (const [change, changed] of sampled(t, Object.entries(changes), 3)) {
    const from = work.oss.requests.length
    const refused = await outcomeOf(start(work, { ...task(), ...changed }))
    t.match(refused.error, { code: 'ERR_SPOOL_EXPECTATION' }, change)
    t.equal(work.oss.requests.length, from, `${change}: no request`)
  }
  t.same(await outcomeOf(start(work, task())), { manifest }, 'the same records agree')
  t.same((await listKeys(client)).toSorted(), [...keys, manifestKey].toSorted())
  t.same(await work.spool.uploads(), [], 'no upload is left unfinished')
})
