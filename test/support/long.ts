/**
 * What takes long: `npm test` leaves it out, or tries some of it, others each time (`SEED=` for the
 * same again); `npm run torture` (`LONG=1`) does it all.
 */
import type { Test } from 'tap'
import { randomOf } from './seed.js'

export const LONG = process.env['LONG'] !== undefined

const ONE_IN = 64

/** A test that takes long. */
export async function long(
  t: Pick<Test, 'test'>,
  name: string,
  body: (t: Test) => unknown,
): Promise<void> {
  if (LONG) await t.test(name, body)
}

/** All cases, or one in 64 of them. */
export function sampled<T>(t: Test, cases: Iterable<T>): T[] {
  const all = [...cases]
  if (LONG) return all
  const first = Math.floor(randomOf(t)() * Math.min(ONE_IN, all.length))
  return all.filter((_, i) => i % ONE_IN === first)
}
