/**
 * Record formats. A format is a function from one record to text or bytes. It only learns whether the record
 * is the first one of its object, which is all a header needs, and an object never ends within a record.
 */
import { inspect } from 'node:util'

/**
 * Serialises a record to a string or bytes, including its terminator (such as a newline). It must be
 * deterministic: the same records must give the same bytes in every run of the job.
 * @param record – the record to serialise
 * @param isFirst – whether it is the first record of its object, which is where a header belongs
 */
export type Format<T> = (record: T, isFirst: boolean) => string | Uint8Array

/**
 * Formats a record as one line of JSON Lines, with its newline.
 * @throws TypeError if JSON cannot represent the record: `undefined`, a function, a `bigint`, a cycle
 */
export function jsonl(record: unknown): string {
  // The declared type is wrong: the result is `undefined` for `undefined`, functions and symbols.
  const text = JSON.stringify(record) as string | undefined
  if (text === undefined) throw new TypeError(`JSON cannot represent ${inspect(record)}`)
  return `${text}\n`
}

/** Functions that return a format without what it has learned from the records of a job. */
const FRESH_FORMATS = new WeakMap<object, () => Format<never>>()

/** @param start – returns a format like `format` that has seen no record */
export function setFreshFormat<T>(format: Format<T>, start: () => Format<T>): void {
  FRESH_FORMATS.set(format, start)
}

/** Returns the format for a new job: several jobs may share a format whose first record decides its columns. */
export function freshFormat<T>(format: Format<T>): Format<T> {
  // Registered with the same type of record.
  return (FRESH_FORMATS.get(format)?.() as Format<T> | undefined) ?? format
}
