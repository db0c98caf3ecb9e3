/**
 * Power cuts. A real process is killed after each disk operation, so that OSS is in the state of that moment.
 * Its spool directory is then replaced with the content of a disk that lost all unsynced data, and the next
 * process must still follow the rules.
 */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import t from 'tap'
import { bench } from '../support/oss.js'
import { DiskImage, type Loss, type TraceEntry } from './disk-image.js'
import { runCases } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { recover } from './recovery.js'
import { LONG, sampled } from '../support/long.js'
import { countOperations, expectedAfter, SCENARIOS, setUp, type Scenario } from './scenario.js'

setLongTimeout(t)

const LOSSES: readonly Loss[] = ['all', 'data', 'names']

/** `true` tries every kind of loss at each operation, `false` rotates through them. */
const CASES: readonly (readonly [Scenario, boolean])[] = [
  [SCENARIOS.small, true],
  [SCENARIOS.parts, LONG],
  [SCENARIOS.bounded, LONG],
  [SCENARIOS.resume, LONG],
  [SCENARIOS.answered, LONG],
  [SCENARIOS.rest, LONG],
  [SCENARIOS.supersede, LONG],
  [SCENARIOS.supersedeFreed, LONG],
  [SCENARIOS.once, LONG],
  [SCENARIOS.commits, LONG],
  [SCENARIOS.commitsBounded, LONG],
  [SCENARIOS.commitsSupersede, LONG],
  [SCENARIOS.commitsSupersedeFreed, LONG],
  [SCENARIOS.supersedeCommitted, LONG],
  [SCENARIOS.replaceCommitted, LONG],
]

for (const [scenario, every] of sampled(t, CASES, 8)) {
  t.test(`${scenario.name}: survives a power cut after each disk operation`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario)
    const cases: { at: number; loss: Loss }[] = []
    for (let at = 1; at <= operations; at++) {
      for (const [i, loss] of LOSSES.entries()) if (every || at % 3 === i) cases.push({ at, loss })
    }
    await runCases(
      t,
      sampled(t, cases, 21, 16).map(({ at, loss }) => ({
        name: `power cut after operation ${at}, loss of ${loss}`,
        run: () => lose(at, loss),
      })),
    )

    async function lose(at: number, loss: Loss): Promise<string> {
      const fixture = await setUp(b, scenario)
      const root = dirname(fixture.dir)
      await mkdir(root, { recursive: true })
      const image = new DiskImage(root)
      const trace = `${root}.trace`
      const child = fixture.startWorker(scenario.job, {
        root,
        at,
        do: 'kill',
        when: 'after',
        trace,
      })
      const outcome = await child.ended
      const entries = readFileSync(trace, 'utf8').trim().split('\n')
      // Every line was written by `preload.mjs`.
      for (const line of entries) image.play(JSON.parse(line) as TraceEntry)
      image.restore(loss)
      const recovered = await recover(fixture, {
        ...expectedAfter(scenario, fixture, outcome),
        superseding: true, // a lost upload id means that its parts are sent again
      })
      return `found ${recovered.found}, resumed ${recovered.resumed}, read ${recovered.read}`
    }
  })
}
