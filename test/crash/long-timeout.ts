/** A longer timeout for tests that start processes, which are slow on a busy machine. */
import type { Test } from 'tap'

const LIMIT = 1_700_000

export function setLongTimeout(t: Test, limit = LIMIT): void {
  t.setTimeout(limit)
  t.comment(`timeout=${limit}`) // read by the runner, which has its own limit per file
}
