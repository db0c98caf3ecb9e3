/**
 * SIGKILL at random moments, including during recovery. `npm run torture` runs more of it. The seed is printed;
 * set `SEED` to kill the same uploads at the same times after their start.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { LONG } from '../support/long.js'
import { bench } from '../support/oss.js'
import { KillBatch, type Kill, type Tally } from './kill-batch.js'
import type { WorkerOutcome } from './worker-process.js'
import { setLongTimeout } from './long-timeout.js'
import { SCENARIOS, type Scenario } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'

const KILLS = Number(process.env['KILLS'] ?? (LONG ? 40 : 2))
const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** Maximum delay of a kill in ms, somewhat longer than an upload takes. */
const MAX_DELAY = 700
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
    console.error(`torture: ${state} ${seconds} s, seed ${SEED}: ${summaryOf(tally)}`)
  }
  let reported = 0
  batch.onKill = () => {
    if (!long || tally.kills < reported + REPORT_EVERY) return
    reported = tally.kills
    report('running,')
  }
  await batch.run(kills(() => tally.kills))
  if (long || tally.failed > 0) report(tally.failed === 0 ? 'passed,' : 'FAILED,')
  t.ok(tally.kills >= KILLS, `${tally.kills} kills, seed ${SEED}`)
})

function summaryOf({
  kills,
  ended,
  found,
  resumed,
  read,
  published,
  failed,
  wrong,
}: Tally): string {
  const records = Object.entries(found).map(([phase, count]) => `${phase} ${count}`)
  return [
    `${kills} kills (and ${ended} workers that were faster)`,
    `records found: ${records.join(', ')}`,
    `resumed: ${resumed}, read again: ${read}, published already: ${published}`,
    `failed checks: ${failed}, wrong objects: ${wrong}`,
  ].join('; ')
}

/** What a supervisor does after a crash, and the time in ms after which it is killed, too. */
interface Rerun {
  readonly step: 'upload' | 'resume'
  readonly after: number
}

/** Codes of a `resume` that needs the source, or whose upload is published. */
const NOTHING_TO_RESUME = ['ERR_SPOOL_UNSEALED', 'ERR_SPOOL_NOT_FOUND']

/** Yields kills until `KILLS` workers were killed. Some workers exit before that. */
function* kills(done: () => number): Generator<Kill> {
  const random = randomOf(SEED)
  const scenarios: readonly Scenario[] = Object.values(SCENARIOS)
  for (let i = 0; done() < KILLS; i++) {
    const scenario = scenarios[Math.floor(random() * scenarios.length)]!
    const first = random() * MAX_DELAY
    const rerun: Rerun | undefined =
      random() < 0.3
        ? { step: random() < 0.5 ? 'upload' : 'resume', after: random() * MAX_DELAY }
        : undefined
    const then = rerun === undefined ? '' : `, its ${rerun.step} after ${rerun.after.toFixed(1)} ms`
    yield {
      scenario,
      where: `kill ${i} of seed ${SEED}, after ${first.toFixed(1)} ms${then}`,
      kill: fixture => killed(fixture, scenario, first, rerun),
      rerun: rerun !== undefined,
    }
  }
}

async function killed(
  fixture: UploadFixture,
  scenario: Scenario,
  first: number,
  rerun: Rerun | undefined,
): Promise<WorkerOutcome> {
  const outcome = await killAfter(fixture, scenario.job, first)
  if (rerun === undefined || !outcome.killed) return outcome
  const { result, error } = await killAfter(fixture, { step: rerun.step }, rerun.after)
  // Written in the same second: `recover` checks that the object is the one of the earlier run.
  const isOfEarlierRun =
    scenario === SCENARIOS.published && error?.code === 'ERR_SPOOL_OBJECT_EXISTS'
  if (error !== undefined && !isOfEarlierRun && !NOTHING_TO_RESUME.includes(error.code ?? '')) {
    throw new Error(`${error.code}: ${error.message}`)
  }
  // It may have finished a predecessor, or the stream up to its last commit.
  const whole = result?.size === fixture.size ? { result } : {}
  return { ...outcome, ...whole }
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
