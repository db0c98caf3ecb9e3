/** Runs the cases of a test, a few concurrently. Each case is its own assertion. */
import { inspect } from 'node:util'
import type { Test } from 'tap'

/** Exceeds the number of cores, since workers mostly wait for their disk and their parent. */
export const CONCURRENCY = 4

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
        t.pass(`${name}: ${await run()}`)
      } catch (error) {
        t.fail(name, { found: inspect(error) })
      }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, lane))
}
