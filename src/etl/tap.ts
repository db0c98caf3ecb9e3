/** Pass-through stream that counts records and reports the counts periodically. */
import { Transform } from 'node:stream'
import { checkObject, checkProperties, invalidType, outOfRange } from '../errors.js'
import { toError } from '../util/error-shape.js'

/** Counts that a stream of `tap()` reports. */
export interface TapCounts {
  /** Number of records so far. */
  readonly records: number
  /** Records per second since the previous report; in the last report, since the first record. */
  readonly rate: number
  /** Time since the first record, in ms. */
  readonly elapsed: number
  /** Whether this is the last report, which is always made when the stream ends without an error. */
  readonly done: boolean
}

/** Pass-through stream in object mode that counts its records. */
export interface Tap<T> extends Transform {
  /** Number of records so far. */
  readonly records: number
  /** Input type for `stream-chain`. Exists only in the type system. */
  __streamTypeW(): T
  /** Output type for `stream-chain`. Exists only in the type system. */
  __streamTypeR(): T
}

/**
 * Creates a pass-through stream for `pipeline()` or `stream-chain` that counts records.
 * @param onCounts – called at most `perSecond` times per second while records pass, and once at the end; an
 * exception it throws fails the stream
 * @throws TypeError, or RangeError unless `perSecond` is above 0 and at most 1,000 (default 1)
 */
export function tap<T>(
  onCounts: (counts: TapCounts) => void = () => {},
  options: { readonly perSecond?: number } = {},
): Tap<T> {
  if (typeof onCounts !== 'function') throw invalidType('onCounts', 'a function', onCounts)
  checkObject('options', options)
  checkProperties('options', options, { perSecond: true })
  const { perSecond = 1 } = options
  if (typeof perSecond !== 'number') throw invalidType('perSecond', 'a number', perSecond)
  if (!(perSecond > 0 && perSecond <= 1000))
    throw outOfRange('perSecond', '> 0 and <= 1000', perSecond)
  const intervalMs = 1000 / perSecond
  let startedAt: number | undefined
  let lastReport: { at: number; records: number } | undefined
  let records = 0
  const ratePerSecond = (count: number, ms: number): number => (ms > 0 ? (count / ms) * 1000 : 0)
  const reportCounts = (counts: TapCounts, callback: (error: Error | null) => void): void => {
    try {
      onCounts(counts)
    } catch (error) {
      return callback(toError(error))
    }
    callback(null)
  }
  const stream = new Transform({
    objectMode: true,
    transform(record, _encoding, callback) {
      records++
      const now = performance.now()
      startedAt ??= now
      lastReport ??= { at: now, records: 0 }
      if (now - lastReport.at < intervalMs) return callback(null, record)
      const counts = {
        records,
        rate: ratePerSecond(records - lastReport.records, now - lastReport.at),
      }
      lastReport = { at: now, records }
      reportCounts({ ...counts, elapsed: now - startedAt, done: false }, error =>
        callback(error, record),
      )
    },
    flush(callback) {
      const elapsed = startedAt === undefined ? 0 : performance.now() - startedAt
      reportCounts(
        { records, rate: ratePerSecond(records, elapsed), elapsed, done: true },
        callback,
      )
    },
  })
  // The two remaining members of `Tap` exist only in the type system.
  return Object.defineProperty(stream, 'records', {
    get: () => records,
    enumerable: true,
  }) as Tap<T>
}
