/** Runs the cases of a test, a few concurrently. Each case is its own assertion. */
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { Test } from 'tap'

/** Exceeds the number of cores, since workers mostly wait for their disk and their parent. */
export const CONCURRENCY = 4

/** Longer than any case takes on a busy machine, in ms. */
const LIMIT = 60_000

/** A case, and a function that resolves with its outcome in words or throws if a rule is broken. */
export interface Case {
  readonly name: string
  readonly run: () => Promise<string>
}

export async function runCases(t: Test, cases: Iterable<Case>): Promise<void> {
  const queue = cases[Symbol.iterator]()
  const lane = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      const { name, run } = next.value
      try {
        t.pass(`${name}: ${await Promise.race([run(), expired()])}`)
      } catch (error) {
        t.fail(name, { found: inspect(error) })
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane))
}

async function expired(): Promise<never> {
  await sleep(LIMIT, undefined, { ref: false })
  throw new Error('The case hangs')
}
