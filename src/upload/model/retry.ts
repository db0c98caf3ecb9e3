/**
 * The retry policy: the delay before each attempt, and the retry loop. The delay is a pure function, so that
 * tests can inject the random source.
 */
import { errorKind, OssRequestError, type RequestErrorKind } from '../../oss/request-error.js'

/** How failed requests are retried: the option `retry` of an upload. */
export interface RetryOptions {
  /** Attempts per part, counted from the seal; before it, there is no limit. */
  readonly attempts: number
  /** Minimum delay before an attempt, in ms. */
  readonly minDelay: number
  /** Maximum delay before an attempt, in ms. */
  readonly maxDelay: number
  /** Keep retrying for at least this many ms after the seal, even after all `attempts`. */
  readonly minRetryTime?: number
}

/**
 * Returns the delay before the next attempt, in ms: full jitter between `minDelay` and a bound that doubles with
 * every failure up to `maxDelay`, even if `minDelay` is 0.
 * @param failures – number of failed attempts, at least 1
 */
export function retryDelay(retry: RetryOptions, failures: number, random = Math.random): number {
  const bound = Math.min(retry.maxDelay, Math.max(1, retry.minDelay) * 2 ** Math.min(failures, 30))
  return retry.minDelay + random() * Math.max(0, bound - retry.minDelay)
}

/** Limits and callbacks of one retry loop. */
export interface RetryPolicy {
  readonly retry: RetryOptions
  /** Kinds of failure that the caller handles itself; thrown at once. */
  readonly fatalKinds?: readonly RequestErrorKind[]
  /** Called for every failure that will be retried. */
  onFailure?(failure: OssRequestError): void
  /** Waits; may resolve early, and rejects when the upload is stopped. */
  pause(ms: number): Promise<void>
  /** While true (the source flows), attempts are unlimited and only aborts and `fatalKinds` are thrown. */
  isUnlimited?(): boolean
  /** While true, retryable failures are retried even after all attempts. */
  isWithinRetryTime?(): boolean
  /** Returns a number that changes with every part that succeeds; attempts are then counted anew. */
  progress?(): number
}

/** Failures that a later attempt may not see. All others are permanent. */
const RETRYABLE: ReadonlySet<RequestErrorKind> = new Set([
  'transient',
  'throttled',
  'skewed',
  'recovered',
])

/** True for failures that a later attempt may not see. */
export function isRetryable(kind: RequestErrorKind): boolean {
  return RETRYABLE.has(kind)
}

/** Immediate retries after the cause of a failure was removed; further ones count as ordinary failures. */
const MAX_RECOVERIES = 3

/**
 * Calls `attempt` until it succeeds or the policy allows no further attempt.
 * @throws OssRequestError of the last attempt
 */
export async function withRetry<T>(attempt: () => Promise<T>, policy: RetryPolicy): Promise<T> {
  let failures = 0
  let recoveries = 0
  let counted = 0
  let arrived = policy.progress?.()
  for (;;) {
    const free = policy.isUnlimited?.() ?? false
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof OssRequestError)) throw error
      const kind = errorKind(error)
      if (kind === 'aborted' || policy.fatalKinds?.includes(kind)) throw error
      if (kind === 'recovered' && ++recoveries <= MAX_RECOVERIES) {
        await policy.pause(0)
        continue
      }
      const now = policy.progress?.()
      if (now !== arrived) [arrived, counted, failures] = [now, 0, 0]
      failures++
      if (!free) {
        const usedUp = ++counted >= policy.retry.attempts && policy.isWithinRetryTime?.() !== true
        if (!RETRYABLE.has(kind) || usedUp) throw error
      }
      policy.onFailure?.(error)
      await policy.pause(retryDelay(policy.retry, failures))
    }
  }
}
