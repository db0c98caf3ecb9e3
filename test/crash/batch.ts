/** Many kills, a few at a time; each is an assertion of its own. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { Test } from 'tap'
import type { Bench } from '../support/oss.js'
import type { Ending } from './child.js'
import { prunes, recover } from './recovery.js'
import { setUp, isSealedBefore, type Scenario } from './scenario.js'
import type { Site } from './site.js'

/** More than there are cores: workers wait for their disk and their parent. */
const AT_A_TIME = 4

/** A note is of an upload id for sure when it is older than this, in ms. */
const CERTAIN = 2_200

/** One kill: where, and how it is done. */
export interface Kill {
  readonly scenario: Scenario
  readonly where: string
  readonly kill: (site: Site) => Promise<Ending>
}

export interface Tally {
  kills: number
  /** Workers that had ended by themselves. */
  ended: number
  failed: number
  resumed: number
  read: number
}

export class Batch {
  readonly #t: Test
  readonly #bench: Bench
  readonly #sites: { site: Site; name: string }[] = []
  readonly tally: Tally = { kills: 0, ended: 0, failed: 0, resumed: 0, read: 0 }
  /** Only what fails is an assertion of its own. */
  quiet = false
  /** Told after each kill. */
  onKill: () => void = () => {}

  constructor(t: Test, bench: Bench) {
    this.#t = t
    this.#bench = bench
  }

  /** Kills and recovers; the last line is that nothing is left on OSS. */
  async run(kills: Iterable<Kill>): Promise<void> {
    const queue = kills[Symbol.iterator]()
    const lane = async (): Promise<void> => {
      for (let next = queue.next(); next.done !== true; next = queue.next()) {
        await this.#one(next.value)
        this.onKill()
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, lane))
    await this.#prune()
  }

  async #one({ scenario, where, kill }: Kill): Promise<void> {
    const name = `${scenario.name}, ${where}`
    let ending: Ending | undefined
    try {
      const site = await setUp(this.#bench, scenario)
      ending = await kill(site)
      const { killed, sealed, result, error } = ending
      if (!killed && error !== undefined) throw new Error(`${error.code}: ${error.message}`)
      this.tally[killed ? 'kills' : 'ended']++
      const before = scenario.predecessor?.(site)
      const { resumed, read } = await recover(site, {
        before: before === undefined ? [] : [before],
        sealed: sealed || isSealedBefore(scenario),
        finished: result !== undefined,
        superseding: before !== undefined,
      })
      this.tally.resumed += resumed
      this.tally.read += read
      if (!this.quiet) this.#t.pass(`${name}: ${killed ? 'killed' : 'ended'}`)
      this.#sites.push({ site, name })
      if (this.#sites.length === 500) await this.#prune()
    } catch (error) {
      this.tally.failed++
      this.#t.fail(name, { found: inspect(error), ending: inspect(ending) })
    }
  }

  async #prune(): Promise<void> {
    const sites = this.#sites.splice(0)
    await sleep(CERTAIN)
    for (const { site, name } of sites) {
      try {
        await prunes(site)
      } catch (error) {
        this.tally.failed++
        this.#t.fail(`${name}: prune`, { found: inspect(error) })
      }
    }
    this.#t.pass(`prune leaves nothing of ${sites.length} uploads`)
  }
}
