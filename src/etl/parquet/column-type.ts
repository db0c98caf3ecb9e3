/** Types of Parquet columns: which JavaScript values they accept, and how values are stored. */
import { types } from 'node:util'
import type { SchemaElement } from 'hyparquet-writer'
import { parseDecimalType, unscaledDecimal, type DecimalDigits } from './decimal.js'
import { toDays, toMicroseconds } from './instant.js'
import type { ParquetType } from './options.js'

/** A value as the column holds it until its row group is written. */
export type StoredValue = string | number | bigint | boolean | Uint8Array

/** One type of column. */
export interface ColumnType {
  /** Names of types in schema elements of Parquet. */
  readonly element: Omit<SchemaElement, 'name' | 'repetition_type'>
  /** Differences of the element while values are written. Default: none. */
  readonly written?: Partial<SchemaElement>
  /** Whether row groups have the lowest and the highest value, by which readers skip them. */
  readonly hasStatistics: boolean
  /** Accepted values, as the end of a sentence. */
  readonly accepts: string
  /** Returns the value to store, or `undefined` if the type does not accept it. */
  store(value: unknown): StoredValue | undefined
}

const TYPES: Readonly<Record<Exclude<ParquetType, `decimal(${string}`>, ColumnType>> = {
  string: {
    element: { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } },
    hasStatistics: true,
    accepts: 'a string of well-formed Unicode',
    store: value => (typeof value === 'string' && value.isWellFormed() ? value : undefined),
  },
  int32: {
    element: { type: 'INT32' },
    hasStatistics: true,
    accepts: 'an integer of 32 bits',
    store: value => (typeof value === 'number' && (value | 0) === value ? value | 0 : undefined),
  },
  int64: {
    element: { type: 'INT64' },
    hasStatistics: true,
    accepts: 'a safe integer, a bigint of 64 bits, or the decimal text of one',
    store: toInt64,
  },
  double: {
    element: { type: 'DOUBLE' },
    hasStatistics: true,
    accepts: 'a number',
    // Dictionaries do not distinguish -0 from 0, so that the sign would depend on other records.
    store: value => (typeof value === 'number' ? value + 0 : undefined),
  },
  boolean: {
    element: { type: 'BOOLEAN' },
    hasStatistics: true,
    accepts: 'a boolean',
    store: value => (typeof value === 'boolean' ? value : undefined),
  },
  timestamp: {
    element: {
      type: 'INT64',
      converted_type: 'TIMESTAMP_MICROS',
      logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
    },
    hasStatistics: true,
    accepts:
      'a valid Date, integer ms since the epoch, or an ISO 8601 text with a time zone and at most 6 decimals',
    store: toMicroseconds,
  },
  date: {
    element: { type: 'INT32', converted_type: 'DATE', logical_type: { type: 'DATE' } },
    hasStatistics: true,
    accepts: 'a text YYYY-MM-DD, or a Date at midnight UTC',
    store: toDays,
  },
  json: {
    element: { type: 'BYTE_ARRAY', converted_type: 'JSON', logical_type: { type: 'JSON' } },
    // The writer would serialise a JSON column itself, after the caller may have changed the value.
    written: { converted_type: 'UTF8' },
    hasStatistics: false, // they would repeat whole documents in the footer
    accepts: 'a value that JSON can represent',
    store: toJson,
  },
  uuid: {
    element: { type: 'FIXED_LEN_BYTE_ARRAY', type_length: 16, logical_type: { type: 'UUID' } },
    hasStatistics: true,
    accepts: 'a UUID with hyphens',
    store: value =>
      typeof value === 'string' && UUID.test(value) ? value.toLowerCase() : undefined,
  },
  bytes: {
    element: { type: 'BYTE_ARRAY' },
    hasStatistics: true,
    accepts: 'a Uint8Array',
    store: value => (types.isUint8Array(value) ? new Uint8Array(value) : undefined), // a copy
  },
}

/** Names of all types, for messages. */
export const TYPE_NAMES: readonly string[] = [...Object.keys(TYPES), 'decimal(p,s)']

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/i
const INTEGER = /^-?\d{1,19}$/
const INT64_LIMIT = 2n ** 63n

/** Returns the type of that name, or `undefined` if there is none. */
export function columnType(name: unknown): ColumnType | undefined {
  if (typeof name !== 'string') return undefined
  const simple: Readonly<Record<string, ColumnType>> = TYPES
  if (Object.hasOwn(simple, name)) return simple[name]
  const digits = parseDecimalType(name)
  return digits === undefined ? undefined : decimalType(digits)
}

function decimalType({ precision, scale }: DecimalDigits): ColumnType {
  const decimal = { precision, scale }
  return {
    element: {
      ...decimalStorage(precision),
      ...decimal,
      converted_type: 'DECIMAL',
      logical_type: { type: 'DECIMAL', ...decimal },
    },
    hasStatistics: true,
    accepts: `a decimal text, bigint or number of at most ${precision - scale} digits before and ${scale} after the point`,
    store: value => unscaledDecimal(value, decimal),
  }
}

/** The smallest physical type that holds all values of a precision. */
function decimalStorage(precision: number): Pick<SchemaElement, 'type' | 'type_length'> {
  if (precision <= 9) return { type: 'INT32' }
  if (precision <= 18) return { type: 'INT64' }
  const bits = (10n ** BigInt(precision)).toString(2).length + 1 // one for the sign
  return { type: 'FIXED_LEN_BYTE_ARRAY', type_length: Math.ceil(bits / 8) }
}

function toInt64(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : undefined
  const integer = typeof value === 'string' && INTEGER.test(value) ? BigInt(value) : value
  if (typeof integer !== 'bigint') return undefined
  return integer >= -INT64_LIMIT && integer < INT64_LIMIT ? integer : undefined
}

function toJson(value: unknown): string | undefined {
  return JSON.stringify(value) // `undefined` for functions and symbols
}
