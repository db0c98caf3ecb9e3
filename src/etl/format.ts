/**
 * Formats: one record as text. A format knows nothing of objects but whether the record is the first
 * of one, which is all a header needs; so it is a function, and cuts never fall into a record.
 */
import { inspect } from 'node:util'

/**
 * A record as text or bytes, with whatever ends it (a newline). `isFirst`: it is the first record of
 * its object, where a header belongs. The same records must give the same bytes.
 */
export type Format<T> = (record: T, isFirst: boolean) => string | Uint8Array

/**
 * JSON Lines: one JSON text per line, each with its newline.
 * @throws TypeError for what JSON has no text for: `undefined`, functions, a `bigint`, a cycle
 */
export function jsonl(record: unknown): string {
  // Its type does not tell: there is no text for `undefined`, functions and symbols.
  const text = JSON.stringify(record) as string | undefined
  if (text === undefined) throw new TypeError(`JSON has no text for ${inspect(record)}`)
  return `${text}\n`
}

/** What `csv-stringify` takes; these are the ones used most. */
export interface CsvOptions {
  /** Names of the columns, in order. Default: the properties of the first record. */
  readonly columns?: readonly string[]
  /** Whether each object begins with a line of names. @default true */
  readonly header?: boolean
  /** @default ',' */
  readonly delimiter?: string
  /** Any other option of `csv-stringify`. */
  readonly [option: string]: unknown
}

/**
 * CSV by `csv-stringify`, which must be installed: it is loaded by this call. Records are objects, or
 * arrays if `columns` are given.
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
