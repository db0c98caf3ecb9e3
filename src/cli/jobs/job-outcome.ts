/** Reports what became of one job. */
import type { Session } from '../session.js'
import { DAMAGED_TEXT } from './job-status.js'

/** Output of `--json`. */
export interface JobOutcome {
  readonly id: string
  readonly outcome: keyof typeof OUTCOME_TEXTS
}

const OUTCOME_TEXTS = {
  added: 'added',
  found: 'is there already',
  removed: 'removed before it started',
  stopping: 'its worker stops it and aborts its upload',
  ended: 'not cancelled: it has ended',
  retried: 'waits for a worker',
  'not-failed': 'not retried: it has not failed',
  unknown: 'there is no such job',
  damaged: DAMAGED_TEXT,
} as const

/** Outcomes that are not what the command is for. */
const FAILURES: ReadonlySet<string> = new Set<JobOutcome['outcome']>([
  'ended',
  'not-failed',
  'unknown',
  'damaged',
])

/** Prints the outcome; a failure to standard error, too. Returns whether it is a success. */
export function reportJob(
  session: Session,
  result: JobOutcome,
  { json }: { readonly json?: boolean },
): boolean {
  const { id, outcome } = result
  const isFailure = FAILURES.has(outcome)
  const line = `${id}: ${OUTCOME_TEXTS[outcome]}`
  if (json) session.printJson(result)
  else if (!isFailure) session.print(line)
  if (isFailure) session.logLine(line, { level: 'error', id })
  return !isFailure
}
