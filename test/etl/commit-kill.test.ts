/**
 * Kills a consumer of a queue with SIGKILL at random moments. Each time, its committed uploads are resumed and
 * the messages that it had not acknowledged are delivered again.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { LONG } from '../support/long.js'
import { pathOf } from '../support/project.js'
import { randomOf } from '../support/seed.js'
import { unpackers } from '../support/unpack.js'

const WORKER = pathOf('test/etl/queue-worker.mjs')
const MESSAGES = 3000
const KILLS = LONG ? 20 : 2
/** Each kill happens within this many ms after the worker is ready. */
const MAX_DELAY_MS = 250

interface Message {
  readonly id: number
  readonly text: string
}

/** A queue that delivers messages until they are acknowledged. */
class Queue {
  readonly messages: readonly Message[]
  /** The runs to which each message was delivered. */
  readonly deliveries = new Map<number, string[]>()
  /** The run that has acknowledged each message. */
  readonly acknowledged = new Map<number, string>()

  constructor(random: () => number) {
    this.messages = Array.from({ length: MESSAGES }, (_, id) => ({
      id,
      text: 'x'.repeat(random() * 300),
    }))
  }

  deliver(run: string): string {
    const open = this.messages.filter(({ id }) => !this.acknowledged.has(id))
    for (const { id } of open) this.deliveries.set(id, [...(this.deliveries.get(id) ?? []), run])
    return open.map(message => `${JSON.stringify(message)}\n`).join('')
  }

  acknowledge(run: string, ids: readonly number[]): void {
    for (const id of ids) this.acknowledged.set(id, run)
  }
}

interface Run {
  readonly name: string
  readonly acknowledge: 'call' | 'event'
  readonly transform: string
  /** Time in ms after which the worker is killed. */
  readonly killAfter: number | undefined
}

/** Runs one worker. Returns whether it has ended by itself. */
async function consume({ oss, dir }: Bench, queue: Queue, run: Run): Promise<boolean> {
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const { name: job, acknowledge, transform } = run
  const options = { client: oss.clientOptions(BUCKET), dir, job, acknowledge, transform }
  const child = spawn(process.execPath, [WORKER, JSON.stringify(options)], {
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => {}) // EPIPE after the kill
  const closed = once(child, 'close')
  const lines = createInterface({ input: child.stdout })
  let ready = (): void => {}
  const isReady = new Promise<void>(resolve => (ready = resolve))
  lines.on('line', line => {
    if (line === 'ready') ready()
    else queue.acknowledge(run.name, JSON.parse(line) as number[]) // written by the worker
  })
  await isReady
  child.stdin.end(queue.deliver(run.name))
  if (run.killAfter !== undefined) {
    await sleep(run.killAfter)
    child.kill('SIGKILL')
  }
  const [status, signal]: unknown[] = await closed
  if (signal !== 'SIGKILL' && status !== 0)
    throw new Error(`The worker exited with ${String(status)}`)
  return signal !== 'SIGKILL'
}

/** Publishes what killed workers have committed. */
async function resumeAll(b: Bench): Promise<number> {
  let resumed = 0
  for (const { id, resumable } of await b.another().uploads()) {
    if (!resumable) continue
    await b.another().resume(id)
    resumed++
  }
  return resumed
}

/** Returns how often each message is in the objects of each run. Every object must be valid by itself. */
async function found(t: Test, b: Bench, unpack: (content: Buffer) => Buffer) {
  const keys = new Set(
    b.oss.requests.flatMap(({ key }) => (key?.startsWith('queue/') === true ? [key] : [])),
  )
  const counts = new Map<string, number>()
  for (const key of keys) {
    const content = await b.get(key)
    if (content === undefined) continue // never published
    const text = unpack(content).toString()
    if (!text.endsWith('\n')) t.fail(`${key} ends within a record`)
    for (const line of text.trimEnd().split('\n')) {
      const { id } = JSON.parse(line) as Message // written by `jsonl`
      const name = `${key.split('/')[1]} ${id}`
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
  }
  return counts
}

for (const [transform, unpack] of unpackers) {
  t.test(
    `messages that a killed consumer acknowledged are published once (${transform})`,
    async t => {
      const random = randomOf(t)
      const b = await bench(t)
      b.oss.inject({ do: 'delay', ms: 15, operation: 'PutObject', times: 'always' })
      const queue = new Queue(random)
      let resumed = 0
      let kills = 0
      for (let run = 0; run <= KILLS; run++) {
        const ended = await consume(b, queue, {
          name: `run-${run}`,
          acknowledge: random() < 0.5 ? 'call' : 'event',
          transform,
          killAfter: run === KILLS ? undefined : random() * MAX_DELAY_MS,
        })
        if (ended) break
        kills++
        if (random() < 0.7) resumed += await resumeAll(b) // otherwise later, together with other runs
      }
      resumed += await resumeAll(b)
      t.comment(`${kills} kills, ${resumed} objects resumed`)
      t.equal(queue.acknowledged.size, MESSAGES, 'every message is acknowledged in the end')

      const counts = await found(t, b, unpack)
      const wrong: string[] = []
      for (const { id } of queue.messages) {
        const runs = queue.deliveries.get(id) ?? []
        for (const run of runs) {
          const count = counts.get(`${run} ${id}`) ?? 0
          counts.delete(`${run} ${id}`)
          // Committed, and killed before the acknowledgement: published, and delivered again.
          const right = queue.acknowledged.get(id) === run ? count === 1 : count <= 1
          if (!right) wrong.push(`${id} is ${count} times in ${run}`)
        }
      }
      t.same(wrong, [], 'the run that acknowledged a message has published it once')
      t.same([...counts], [], 'nothing else is published')
      t.same(
        (await b.another().uploads()).filter(({ resumable }) => resumable),
        [],
        'nothing is left to resume',
      )
    },
  )
}
