/** Processes take their time on a busy machine: longer than tests have by default. */
import type { Test } from 'tap'

const LIMIT = 1_200_000

export function setLongTimeout(t: Test): void {
  t.setTimeout(LIMIT)
  t.comment(`timeout=${LIMIT}`) // the runner, which has a limit of its own for a file, reads this
}
