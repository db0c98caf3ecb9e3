/** Columns of CSV: the values of a record by column, and those that have no column. */
import { recordProperty } from './record-property.js'

/** A column of `csv`. */
export interface CsvColumn {
  /** Name of the property. */
  readonly key: string
  /** Name in the header line. Default: `key`. */
  readonly header?: string
}

/** Values of one line, by the keys of their columns. */
export type CsvRow = Record<string, unknown>

export class CsvColumns {
  readonly list: readonly CsvColumn[]
  readonly #keys: ReadonlySet<string>

  constructor(list: readonly CsvColumn[]) {
    this.list = list
    this.#keys = new Set(list.map(({ key }) => key))
  }

  /** Number of different names. */
  get size(): number {
    return this.#keys.size
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** Returns the values of the columns. Missing ones are `undefined`. */
  row(record: object): CsvRow {
    const value = Array.isArray(record)
      ? (_key: string, i: number): unknown => record[i]
      : (key: string): unknown => recordProperty(record, key)
    return Object.fromEntries(this.list.map(({ key }, i) => [key, value(key, i)]))
  }

  /** Returns the properties without a column, or the elements behind the last one; `undefined` if there are none. */
  extra(record: object): object | undefined {
    if (Array.isArray(record)) {
      const extra: unknown[] = record.slice(this.list.length)
      return extra.length > 0 ? extra : undefined
    }
    const keys = Object.keys(record).filter(key => !this.#keys.has(key))
    const extra = keys
      .map((key): [string, unknown] => [key, recordProperty(record, key)])
      .filter(([, value]) => value !== undefined)
    return extra.length > 0 ? Object.fromEntries(extra) : undefined
  }
}
