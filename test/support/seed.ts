/**
 * Reproducible random numbers. The seed is printed when a test fails and can be set in the environment
 * (`SEED=123 npx tap run test/...`).
 */
import * as fc from 'fast-check'
import type { Test } from 'tap'

/** Returns a mulberry32 generator, which is small, fast, and good enough to choose sizes and cuts. */
export function randomOf(t: Test): () => number {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32))
  t.teardown(() => {
    if (!t.passing()) t.comment(`repeat with SEED=${seed}`)
  })
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let x = Math.imul(state ^ (state >>> 15), 1 | state)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Asserts that a property holds. The failure contains fast-check's report with its seed. */
export async function holds<T>(
  t: Test,
  property: fc.IAsyncPropertyWithHooks<T> | fc.IPropertyWithHooks<T>,
  numRuns: number,
): Promise<void> {
  const seed = process.env['SEED']
  const parameters = { numRuns, ...(seed === undefined ? {} : { seed: Number(seed) }) }
  const details = await fc.check(property, parameters)
  t.notOk(details.failed, (details.failed && fc.defaultReportMessage(details)) || `${numRuns} runs`)
}
