/**
 * The retry policy: how long to wait before the next attempt, and the loop that follows it. The
 * policy is a pure function, so that a test can hold the random numbers in its hand.
 */
import { errorKind, OssRequestError, type RequestErrorKind } from '../../oss/request-error.js'

/** The caller's `retry` option with its defaults filled in. */
export interface RetryOptions {
  /** Attempts per part, counted from the seal (before it there is no limit). */
  readonly attempts: number
  /** Shortest delay before an attempt, in ms. */
  readonly minDelay: number
  /** Longest delay before an attempt, in ms. */
  readonly maxDelay: number
  /** For so many ms after the seal, attempts go on although they are used up. */
  readonly minRetryTime?: number
}

/**
 * Delay in ms before the attempt after `failures` failed ones (1 or more): full jitter between
 * `minDelay` and a bound that doubles with every failure up to `maxDelay`, also from 0.
 */
export function retryDelay(retry: RetryOptions, failures: number, random = Math.random): number {
  const bound = Math.min(retry.maxDelay, Math.max(1, retry.minDelay) * 2 ** Math.min(failures, 30))
  return retry.minDelay + random() * Math.max(0, bound - retry.minDelay)
}

/** How one loop of attempts goes on and is seen. */
export interface RetryPolicy {
  readonly retry: RetryOptions
  /** Kinds of failure that mean something to the caller and are thrown at once. */
  readonly fatalKinds?: readonly RequestErrorKind[]
  /** Told of every failure that will be followed by another attempt. */
  onFailure?(failure: OssRequestError): void
  /** Waits; may end early, and rejects when the upload was stopped. */
  pause(ms: number): Promise<void>
  /** While true (the source flows) there is no limit and nothing is final but what `final` names. */
  isUnlimited?(): boolean
  /** While true, attempts that may help go on although they are used up. */
  isWithinRetryTime?(): boolean
  /** A number that grows with every part that arrives: then attempts count from the start again. */
  progress?(): number
}

/** What may be over by the next attempt; anything else stays as it is. */
const RETRYABLE: ReadonlySet<RequestErrorKind> = new Set([
  'transient',
  'throttled',
  'skewed',
  'recovered',
])

/** True for what may be over by the next attempt. */
export function isRetryable(kind: RequestErrorKind): boolean {
  return RETRYABLE.has(kind)
}

/** Immediate retries after the cause of a failure was removed; then it counts as any other failure. */
const MAX_RECOVERIES = 3

/** Calls `attempt` until it succeeds or the policy ends; throws the last `OssRequestError`. */
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
