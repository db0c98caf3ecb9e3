/** A longer timeout for tests that start processes, which are slow on a busy machine. */
import type { Test } from 'tap'

const LIMIT = 1_200_000

export function setLongTimeout(t: Test): void {
  t.setTimeout(LIMIT)
  t.comment(`timeout=${LIMIT}`) // read by the runner, which has its own limit per file
}
