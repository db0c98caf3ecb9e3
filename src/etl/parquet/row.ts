/** Rows of a table: one stored value for each column of a record. */
import { inspect } from 'node:util'
import { recordProperty } from '../record-property.js'
import type { ColumnType, StoredValue } from './column-type.js'

/** A column of a table. */
export interface Column {
  readonly name: string
  readonly type: ColumnType
  readonly isOptional: boolean
}

/** Values in the order of the columns; `undefined` where one is missing. */
export type Row = readonly (StoredValue | undefined)[]

/** Turns records into rows. */
export class RowReader {
  readonly #columns: readonly Column[]
  readonly #names: ReadonlySet<string>
  readonly #ignoresExtraColumns: boolean

  constructor(columns: readonly Column[], { ignoresExtraColumns = false }) {
    this.#columns = columns
    this.#names = new Set(columns.map(({ name }) => name))
    this.#ignoresExtraColumns = ignoresExtraColumns
  }

  /** @throws TypeError that names the column whose type does not accept the value, or the unknown property */
  read(record: unknown): Row {
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      throw new TypeError(
        `A record must be an object with a property per column.${received(record)}`,
      )
    }
    for (const name of this.#ignoresExtraColumns ? [] : Object.keys(record)) {
      if (this.#names.has(name) || recordProperty(record, name) === undefined) continue
      throw new TypeError(`The property ${inspect(name)} of the record is no column of the schema`)
    }
    return this.#columns.map(column => storedValue(column, recordProperty(record, column.name)))
  }
}

function storedValue({ name, type, isOptional }: Column, value: unknown): StoredValue | undefined {
  if (value === undefined || value === null) {
    if (isOptional) return undefined
    throw new TypeError(`The column ${inspect(name)} is not optional.${received(value)}`)
  }
  try {
    const stored = type.store(value)
    if (stored !== undefined) return stored
  } catch (cause) {
    throw refusal(name, type, value, { cause }) // `toJSON()` of the value failed, or it is a cycle
  }
  throw refusal(name, type, value)
}

function refusal(
  name: string,
  type: ColumnType,
  value: unknown,
  options?: ErrorOptions,
): TypeError {
  const reason = `The column ${inspect(name)} must be ${type.accepts}.${received(value)}`
  return new TypeError(reason, options)
}

function received(value: unknown): string {
  return ` Received ${inspect(value, { depth: 0, maxArrayLength: 3, maxStringLength: 100 })}`
}
