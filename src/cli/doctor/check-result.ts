/** Results of the `doctor` checks: one line each, and a hint for every problem. */

export interface CheckResult {
  /** Name of the check, such as `spool directory`. */
  readonly check: string
  /** `skipped`: the check could not run; another result says why. */
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped'
  /** Finding. */
  readonly message: string
  /** How to fix the problem. */
  readonly hint?: string
}

export function okResult(check: string, message: string): CheckResult {
  return { check, state: 'ok', message }
}

export function warningResult(check: string, message: string, hint: string): CheckResult {
  return { check, state: 'warning', message, hint }
}

export function failedResult(check: string, message: string, hint: string): CheckResult {
  return { check, state: 'failed', message, hint }
}

export function skippedResult(check: string, message: string): CheckResult {
  return { check, state: 'skipped', message }
}
