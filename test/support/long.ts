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

/**
 * Returns one of `oneIn` cases, starting at a random one.
 * @param oneInLong – the same with `LONG=1`; more than 1 only where all cases would take hours
 */
export function sampled<T>(t: Test, cases: Iterable<T>, oneIn = ONE_IN, oneInLong = 1): T[] {
  const all = [...cases]
  const step = LONG ? oneInLong : oneIn
  const first = Math.floor(randomOf(t)() * Math.min(step, all.length))
  return all.filter((_, i) => i % step === first)
}
