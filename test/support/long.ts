/**
 * Slow tests. `npm test` skips them or runs a random sample; set `SEED=` to repeat a sample. `npm run
 * torture` (`LONG=1`) runs all of them.
 */
import type { Test } from 'tap'
import { randomOf } from './seed.js'

export const LONG = process.env['LONG'] !== undefined

const ONE_IN = 64

/** Defines a slow test. Runs only with `LONG=1`. */
export async function long(
  t: Pick<Test, 'test'>,
  name: string,
  body: (t: Test) => unknown,
): Promise<void> {
  if (LONG) await t.test(name, body)
}

/** Returns all cases with `LONG=1`, otherwise one in `oneIn`, starting at a random one. */
export function sampled<T>(t: Test, cases: Iterable<T>, oneIn = ONE_IN): T[] {
  const all = [...cases]
  if (LONG) return all
  const first = Math.floor(randomOf(t)() * Math.min(oneIn, all.length))
  return all.filter((_, i) => i % oneIn === first)
}
