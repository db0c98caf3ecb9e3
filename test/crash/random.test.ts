/**
 * SIGKILL at random moments, including during recovery. `npm run torture` runs more of it. The seed is printed;
 * set `SEED` to kill the same uploads at the same times after their start.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { LONG } from '../support/long.js'
import { bench } from '../support/oss.js'
import { KillBatch, type Kill } from './kill-batch.js'
import type { WorkerOutcome } from './worker-process.js'
import { setLongTimeout } from './long-timeout.js'
import { SCENARIOS, type Scenario } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'

const KILLS = Number(process.env['KILLS'] ?? (LONG ? 40 : 4))
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Maximum delay of a kill in ms, somewhat longer than an upload takes. */
const MAX_DELAY = 400
/** Report progress after this many kills. */
const REPORT_EVERY = 100

if (process.env['KILLS'] === undefined) setLongTimeout(t)
else t.setTimeout(0)
t.comment(`repeat with SEED=${SEED}`)

t.test(`an upload killed at a random moment is recovered (${KILLS} kills)`, async t => {
  const b = await bench(t)
  const batch = new KillBatch(t, b)
  const { tally } = batch
  const startedAt = Date.now()
  const long = process.env['KILLS'] !== undefined
  batch.quiet = long
  const report = (state: string): void => {
    const seconds = Math.round((Date.now() - startedAt) / 1000)
    console.error(`torture: ${state} ${seconds} s, seed ${SEED}, ${JSON.stringify(tally)}`)
  }
  batch.onKill = () => {
    if (long && (tally.kills + tally.ended) % REPORT_EVERY === 0) report('running,')
  }
  await batch.run(kills(() => tally.kills))
  if (long || tally.failed > 0) report(tally.failed === 0 ? 'passed,' : 'FAILED,')
  t.ok(tally.kills >= KILLS, `${tally.kills} kills, seed ${SEED}`)
})

/** Yields kills until `KILLS` workers were killed. Some workers exit before that. */
function* kills(done: () => number): Generator<Kill> {
  const random = randomOf(SEED)
  const scenarios: readonly Scenario[] = Object.values(SCENARIOS)
  for (let i = 0; done() < KILLS; i++) {
    const scenario = scenarios[Math.floor(random() * scenarios.length)]!
    const first = random() * MAX_DELAY
    const second = random() < 0.3 ? random() * MAX_DELAY : undefined
    const then = second === undefined ? '' : `, its rerun after ${second.toFixed(1)} ms`
    yield {
      scenario,
      where: `kill ${i} of seed ${SEED}, after ${first.toFixed(1)} ms${then}`,
      kill: fixture => killed(fixture, scenario, first, second),
    }
  }
}

async function killed(
  fixture: UploadFixture,
  scenario: Scenario,
  first: number,
  second: number | undefined,
): Promise<WorkerOutcome> {
  const outcome = await killAfter(fixture, scenario.job, first)
  if (second === undefined || !outcome.killed) return outcome
  // Rerun the upload as a supervisor would. It may finish a sealed upload or read the source.
  const again = await killAfter(fixture, { step: 'upload' }, second)
  if (again.error !== undefined) throw new Error(`${again.error.code}: ${again.error.message}`)
  // If the rerun succeeded, it may have finished a predecessor instead of this upload.
  const { result, ...unfinished } = again
  return {
    ...(scenario.predecessor === undefined ? again : unfinished),
    killed: true,
    sealed: outcome.sealed && result === undefined,
  }
}

async function killAfter(
  fixture: UploadFixture,
  job: Scenario['job'],
  after: number,
): Promise<WorkerOutcome> {
  const child = fixture.startWorker({ ...job, wait: true })
  await child.waitFor('ready')
  child.go()
  await Promise.race([sleep(after), child.ended])
  return child.kill()
}

/** Returns a mulberry32 generator. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}
