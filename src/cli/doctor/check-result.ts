/** What a check-up finds: one line each, and how to mend what is wrong. */

export interface CheckResult {
  /** What was looked at, such as `spool directory`. */
  readonly check: string
  /** `skipped`: it could not be looked at; another finding says why. */
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped'
  /** What was found. */
  readonly message: string
  /** How to mend it. */
  readonly mend?: string
}

export function okResult(check: string, message: string): CheckResult {
  return { check, state: 'ok', message }
}

export function warningResult(check: string, message: string, fix: string): CheckResult {
  return { check, state: 'warning', message, mend: fix }
}

export function failedResult(check: string, message: string, fix: string): CheckResult {
  return { check, state: 'failed', message, mend: fix }
}

export function skippedResult(check: string, message: string): CheckResult {
  return { check, state: 'skipped', message }
}
