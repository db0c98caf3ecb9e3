/**
 * Random numbers that can be had again: the seed is printed when the test fails, and taken back from
 * the environment (`SEED=123 npx tap run test/...`).
 */
import * as fc from 'fast-check'
import type { Test } from 'tap'

/** mulberry32: small, fast, and good enough to choose sizes and cuts with. */
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

/** Asserts that a property holds; fast-check's report, with its seed, is in the failure. */
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
