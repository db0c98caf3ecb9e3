/** What a check-up finds: one line each, and how to mend what is wrong. */

export interface Finding {
  /** What was looked at, such as `spool directory`. */
  readonly check: string
  /** `skipped`: it could not be looked at; another finding says why. */
  readonly state: 'ok' | 'warning' | 'failed' | 'skipped'
  /** What was found. */
  readonly message: string
  /** How to mend it. */
  readonly mend?: string
}

export function ok(check: string, message: string): Finding {
  return { check, state: 'ok', message }
}

export function warning(check: string, message: string, mend: string): Finding {
  return { check, state: 'warning', message, mend }
}

export function failed(check: string, message: string, mend: string): Finding {
  return { check, state: 'failed', message, mend }
}

export function skipped(check: string, message: string): Finding {
  return { check, state: 'skipped', message }
}
