/** Runs many kills, a few concurrently. Each kill is its own assertion. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import type { Bench } from '../support/oss.js'
import type { WorkerOutcome } from './worker-process.js'
import { checkPrune, recover, WrongObjectError } from './recovery.js'
import { expectedAfter, setUp, type Scenario } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'

/** Exceeds the number of cores, since workers mostly wait for their disk and their parent. */
const CONCURRENCY = 4

/** Milliseconds after which a recorded orphan can be attributed to its upload. */
const ORPHAN_AGE = 2_200

/** One kill: its scenario, its moment, and how it is done. */
export interface Kill {
  readonly scenario: Scenario
  readonly where: string
  readonly kill: (fixture: UploadFixture) => Promise<WorkerOutcome>
  /** The upload is rerun after the kill, which may have published it. */
  readonly rerun?: boolean
}

export interface Tally {
  kills: number
  /** Workers that exited before they were killed. */
  ended: number
  failed: number
  /** Objects that no rule allows. */
  wrong: number
  /** Uploads that were finished without their source, that needed it, and that were published already. */
  resumed: number
  read: number
  published: number
  /** Uploads by the phase of the record that was found. */
  found: Record<string, number>
}

export class KillBatch {
  readonly #t: Test
  readonly #bench: Bench
  readonly #fixtures: { fixture: UploadFixture; name: string }[] = []
  readonly tally: Tally = {
    kills: 0,
    ended: 0,
    failed: 0,
    wrong: 0,
    resumed: 0,
    read: 0,
    published: 0,
    found: {},
  }
  /** Report failures only. */
  quiet = false
  /** Called after each kill. */
  onKill: () => void = () => {}

  constructor(t: Test, bench: Bench) {
    this.#t = t
    this.#bench = bench
  }

  /** Kills and recovers every upload, then asserts that `prune` leaves nothing on OSS. */
  async run(kills: Iterable<Kill>): Promise<void> {
    const queue = kills[Symbol.iterator]()
    const lane = async (): Promise<void> => {
      for (let next = queue.next(); next.done !== true; next = queue.next()) {
        await this.#one(next.value)
        this.onKill()
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, lane))
    await this.#prune()
  }

  async #one({ scenario, where, kill, rerun = false }: Kill): Promise<void> {
    const name = `${scenario.name}, ${where}`
    let outcome: WorkerOutcome | undefined
    try {
      const fixture = await setUp(this.#bench, scenario)
      outcome = await kill(fixture)
      const { killed, error } = outcome
      if (!killed && error !== undefined) throw new Error(`${error.code}: ${error.message}`)
      this.tally[killed ? 'kills' : 'ended']++
      const expected = expectedAfter(scenario, fixture, outcome)
      const { resumed, read, found } = await recover(fixture, { ...expected, rerun })
      this.tally[resumed > 0 ? 'resumed' : read > 0 ? 'read' : 'published']++
      this.tally.found[found] = (this.tally.found[found] ?? 0) + 1
      if (!this.quiet) this.#t.pass(`${name}: ${killed ? 'killed' : 'exited'} and recovered`)
      this.#fixtures.push({ fixture, name })
      if (this.#fixtures.length === 500) await this.#prune()
    } catch (error) {
      this.tally.failed++
      if (error instanceof WrongObjectError) this.tally.wrong++
      this.#t.fail(name, { found: inspect(error), outcome: inspect(outcome) })
    }
  }

  async #prune(): Promise<void> {
    const fixtures = this.#fixtures.splice(0)
    await sleep(ORPHAN_AGE)
    for (const { fixture, name } of fixtures) {
      try {
        await checkPrune(fixture)
      } catch (error) {
        this.tally.failed++
        this.#t.fail(`${name}: prune leaves something behind`, { found: inspect(error) })
      }
    }
    this.#t.pass(`prune leaves nothing of ${fixtures.length} uploads`)
  }
}
