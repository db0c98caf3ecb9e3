/** A tap: counts the records that pass, and tells now and then how many. */
import { Transform } from 'node:stream'
import { invalidType, outOfRange } from '../errors.js'

/** What a tap tells. */
export interface TapCounts {
  /** Records so far. */
  readonly records: number
  /** Records per second since it last told; at the end, of the whole time. */
  readonly rate: number
  /** ms since the first record. */
  readonly elapsed: number
  /** True for the last call, which always comes when the records end well. */
  readonly done: boolean
}

/** A stream that hands on what it gets, record by record, as it is. */
export interface Tap<T> extends Transform {
  /** Records so far. */
  readonly records: number
  /** For `stream-chain`: the type of what it takes. There is nothing at run time. */
  __streamTypeW(): T
  /** For `stream-chain`: the type of what it gives. There is nothing at run time. */
  __streamTypeR(): T
}

/**
 * Makes a tap, for `pipeline()` and for `stream-chain`. `tell` is called at most `perSecond` times a
 * second while records pass, and once at their end. What it throws is the stream's error.
 */
export function tap<T>(
  onCounts: (counts: TapCounts) => void = () => {},
  { perSecond = 1 }: { readonly perSecond?: number } = {},
): Tap<T> {
  if (typeof onCounts !== 'function') throw invalidType('onCounts', 'a function', onCounts)
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
      return callback(error instanceof Error ? error : new Error(String(error)))
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
  // The two members whose types are narrower than those of a `Transform` exist for types alone.
  return Object.defineProperty(stream, 'records', {
    get: () => records,
    enumerable: true,
  }) as Tap<T>
}
