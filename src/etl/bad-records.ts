/**
 * Bad records: those that a function of the job refuses. They fail the job, unless its options skip them. The
 * decision depends on the record alone, so that a rerun skips the same ones.
 */
import { SpoolError } from '../errors.js'
import { errorCode } from '../util/error-code.js'
import { toError } from '../util/error-shape.js'
import { invalidResult } from './callback-result.js'

/** A record that `rotate` could not write, as `onBadRecord` receives it. */
export interface BadRecord<T> {
  /** The record as it was written to the sink. */
  readonly record: T
  /** Number of the record in the job, from 0. */
  readonly number: number
  /** Its partition, as text, unless the job has none or `partitionBy` failed. */
  readonly partition?: string | undefined
}

/** Decides about a bad record: returns "'skip'", or throws to fail the job. */
export type OnBadRecord<T> = (error: Error, bad: BadRecord<T>) => 'skip'

/** Characters of a partition in messages. */
const MAX_SHOWN_CHARS = 100

/**
 * Decides whether a bad record is skipped. Returns its error if it is.
 * @param onBadRecord – `undefined` skips all bad records
 * @throws the error that fails the job
 */
export function skipBadRecord<T>(
  thrown: unknown,
  bad: BadRecord<T>,
  onBadRecord: OnBadRecord<T> | undefined,
): Error {
  const error = toError(thrown)
  if (onBadRecord === undefined) return error
  let verdict: unknown
  try {
    verdict = onBadRecord(error, bad)
  } catch (failure) {
    throw failure === error ? badRecordError(error, bad) : failure
  }
  if (verdict !== 'skip') throw invalidResult('onBadRecord', "'skip'", verdict)
  return error
}

/** Returns the error of a job that has no option for bad records. */
export function badRecordError(thrown: unknown, bad: BadRecord<unknown>): Error {
  const cause = toError(thrown)
  const message = `${describe(bad)} is bad: ${cause.message}`
  if (cause instanceof SpoolError) {
    const hint =
      'Fix the record, or skip such records with the option "onBadRecord" or "deadLetter".'
    return new SpoolError(cause.code, message, { hint, cause })
  }
  const code = errorCode(cause)
  return Object.assign(new Error(message, { cause }), code === undefined ? {} : { code })
}

function describe({ number, partition }: BadRecord<unknown>): string {
  if (partition === undefined) return `Record ${number}`
  const isLong = partition.length > MAX_SHOWN_CHARS
  const shown = isLong ? `${partition.slice(0, MAX_SHOWN_CHARS)}...` : partition
  return `Record ${number} (partition ${JSON.stringify(shown)})`
}
