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

/** Options of `csv`, passed on to `csv-stringify`. The most common ones are typed. */
export interface CsvOptions {
  /** Names of the columns, in order. Default: the properties of the first record of the job. */
  readonly columns?: readonly string[]
  /** Whether each object starts with a header line of column names. @default true */
  readonly header?: boolean
  /** Separator of fields. @default ',' */
  readonly delimiter?: string
  /** Any other option of `csv-stringify`. */
  readonly [option: string]: unknown
}

/**
 * Creates a CSV format. Loads `csv-stringify`, an optional peer dependency that must be installed; rejects if
 * it is missing. Records are objects, or arrays if `columns` is set.
 */
export async function csv<T extends object>(options: CsvOptions = {}): Promise<Format<T>> {
  const { stringify } = await import('csv-stringify/sync')
  const { header = true, ...rest } = options
  let columns = options.columns
  return (record, isFirst) => {
    columns ??= Object.keys(record)
    return stringify([record], { ...rest, columns: [...columns], header: header && isFirst })
  }
}
