/**
 * Power cuts: a process is killed for real after each step on its disk, so that OSS is as it was
 * then; its spool directory is replaced by what a disk would hold that has lost all that was not
 * synced; and the next process must obey the rules all the same.
 */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { bench } from '../support/oss.js'
import { DiskImage, type Loss, type TraceEntry } from './disk-image.js'
import { setLongTimeout } from './long-timeout.js'
import { recover } from './recovery.js'
import { LONG, sampled } from '../support/long.js'
import { SCENARIOS, setUp, type Scenario } from './scenario.js'

setLongTimeout(t)

const LOSSES: readonly Loss[] = ['all', 'data', 'names']
const CONCURRENCY = 4

/** Those that begin with an empty disk: the trace is all there is. With every loss, or in turns. */
const TRIED: readonly (readonly [Scenario, boolean])[] = [
  [SCENARIOS.small, true],
  [SCENARIOS.parts, LONG],
  [SCENARIOS.bounded, LONG],
]

for (const [scenario, every] of TRIED) {
  t.test(`${scenario.name}: the power fails after each change of the disk`, async t => {
    const b = await bench(t)
    const probe = await setUp(b, scenario)
    const { operations = 0 } = await probe.startWorker(scenario.job, { root: probe.dir }).ended
    const cases: { at: number; loss: Loss }[] = []
    for (let at = 1; at <= operations; at++) {
      for (const [i, loss] of LOSSES.entries()) if (every || at % 3 === i) cases.push({ at, loss })
    }
    const tried = sampled(t, cases)
    const lane = async (): Promise<void> => {
      for (let one = tried.shift(); one !== undefined; one = tried.shift()) {
        const name = `step ${one.at}, lost: ${one.loss}`
        try {
          t.pass(`${name}: ${await lose(one.at, one.loss)}`)
        } catch (error) {
          t.fail(name, { found: inspect(error) })
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, lane))

    async function lose(at: number, loss: Loss): Promise<string> {
      const fixture = await setUp(b, scenario)
      const root = dirname(fixture.dir)
      await mkdir(root, { recursive: true })
      const trace = `${root}.trace`
      const child = fixture.startWorker(scenario.job, {
        root,
        at,
        do: 'kill',
        when: 'after',
        trace,
      })
      const { sealed, result } = await child.ended
      const image = new DiskImage(root)
      const entries = readFileSync(trace, 'utf8').trim().split('\n')
      // Each line was written by `preload.mjs`.
      for (const line of entries) image.play(JSON.parse(line) as TraceEntry)
      image.restore(loss)
      const seen = await recover(fixture, {
        before: [],
        sealed,
        finished: result !== undefined,
        superseding: true, // a lost upload id: its parts have to be sent again
      })
      return `resumed ${seen.resumed}, read ${seen.read}`
    }
  })
}
