/**
 * `npm test` tries one in eight of the moments at which something can go wrong, other ones each time
 * (`SEED=` for the same again); `npm run test:crash` tries them all.
 */
import type { Test } from 'tap'
import { randomOf } from '../support/seed.js'

const ONE_IN = 8

export function sampled<T>(t: Test, cases: Iterable<T>): T[] {
  const all = [...cases]
  if (process.env['EVERY'] !== undefined) return all
  const first = Math.floor(randomOf(t)() * ONE_IN)
  return all.filter((_, i) => i % ONE_IN === first)
}
