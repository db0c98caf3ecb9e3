/**
 * CSV. No value is dropped silently: a record with a property that has no column is an error, unless an option
 * says what to do with it.
 */
import { types } from 'node:util'
import { checkObject, checkProperties, invalidType, invalidValue } from '../errors.js'
import { errorMessage } from '../util/error-shape.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { CsvColumns, type CsvColumn, type CsvRow } from './csv-columns.js'
import { setFreshFormat, type Format } from './format.js'

/** Options of `csv`. Most are those of `csv-stringify`, of which the most common ones are typed. */
export interface CsvOptions {
  /**
   * Columns, in order. Required for records that are arrays. Default: the properties of the first record of the
   * job.
   */
  readonly columns?: readonly (string | CsvColumn)[]
  /** Whether each object starts with a header line of column names. @default true */
  readonly header?: boolean
  /**
   * What to do with a property that has no column, or with elements of an array behind the last column: refuse
   * the record, or ignore the value. @default 'error'
   */
  readonly extraColumns?: 'error' | 'ignore'
  /** Name of a last column, which takes the properties that have no column as JSON. Excludes `extraColumns`. */
  readonly rest?: string
  /** Separator of fields. @default ',' */
  readonly delimiter?: string
  /**
   * Functions that return the text of a value, by its type: `boolean`, `date`, `number`, `bigint`, `string`,
   * `object`. Default: `true` or `false`, dates as ISO 8601 in UTC, objects as JSON.
   */
  readonly cast?: Readonly<Record<string, unknown>>
  /** Any other option of `csv-stringify` that concerns fields or lines, such as `quoted` or `record_delimiter`. */
  readonly [option: string]: unknown
}

/** Options of `csv-stringify`, except those that would break lines or columns, such as `eof` and `on_record`. */
const STRINGIFY_OPTIONS = [
  'bom',
  'cast',
  'delimiter',
  'escape',
  'escape_formulas',
  'header_as_comment',
  'quote',
  'quoted',
  'quoted_empty',
  'quoted_match',
  'quoted_string',
  'quote_record_delimiter',
  'record_delimiter',
]

const CSV_OPTIONS: Readonly<Record<string, true>> = Object.fromEntries(
  ['columns', 'header', 'extraColumns', 'rest', ...STRINGIFY_OPTIONS]
    .flatMap(name => [name, toCamelCase(name)])
    .map(name => [name, true]),
)

type Stringify = (rows: CsvRow[], options: object) => string

/**
 * Creates a CSV format. Loads `csv-stringify`, an optional peer dependency that must be installed; rejects if
 * it is missing. Records are objects, or arrays if `columns` is set. A record with a property that has no column
 * is an error, which names the property.
 * @throws TypeError, by rejecting, for invalid options
 */
export async function csv<T extends object>(options: CsvOptions = {}): Promise<Format<T>> {
  const columns = checkCsvOptions(options)
  const { stringify } = await import('csv-stringify/sync')
  return createFormat<T>(stringify, options, columns)
}

function createFormat<T extends object>(
  stringify: Stringify,
  options: CsvOptions,
  givenColumns: CsvColumns | undefined,
): Format<T> {
  const { columns: _, header = true, extraColumns = 'error', rest, cast, bom, ...others } = options
  const writeLines = (rows: CsvRow[], { list }: CsvColumns, isFirst: boolean): string => {
    const columns = rest === undefined ? list : [...list, { key: rest }]
    return stringify(rows, {
      // Readers skip empty lines, and would lose the record.
      quoted_empty: columns.length === 1 ? true : undefined,
      ...others,
      columns,
      // A copy, because `csv-stringify` adds its defaults to it.
      cast: { boolean: String, date: toIsoDate, ...omitUndefined(cast ?? {}) },
      header: header && isFirst,
      bom: bom === true && isFirst,
    })
  }
  checkStringifyOptions(() => writeLines([], givenColumns ?? new CsvColumns([{ key: 'a' }]), true))

  const start = (): Format<T> => {
    let knownColumns = givenColumns
    const format: Format<T> = (record, isFirst) => {
      checkRecord(record)
      if (givenColumns === undefined && Array.isArray(record))
        throw invalidType('columns', 'set for records that are arrays', undefined)
      const columns = knownColumns ?? columnsOf(record, rest)
      const row = columns.row(record)
      const extra = extraColumns === 'ignore' ? undefined : columns.extra(record)
      if (rest !== undefined) row[rest] = extra && JSON.stringify(extra)
      else if (extra !== undefined) throw extraError(extra)
      const text = writeLines([row], columns, isFirst)
      knownColumns = columns // not before: a record that is refused decides nothing
      return text
    }
    setFreshFormat(format, start)
    return format
  }
  return start()
}

/** @throws TypeError. Returns the columns, if they are given */
function checkCsvOptions(options: CsvOptions): CsvColumns | undefined {
  checkObject('options', options)
  checkProperties('options', options, CSV_OPTIONS)
  const { columns, header, extraColumns, rest, cast } = options
  if (columns !== undefined && !Array.isArray(columns))
    throw invalidType('columns', 'an array', columns)
  if (header !== undefined && typeof header !== 'boolean')
    throw invalidType('header', 'a boolean', header)
  if (extraColumns !== undefined && extraColumns !== 'error' && extraColumns !== 'ignore')
    throw invalidValue('extraColumns', "must be 'error' or 'ignore'", extraColumns)
  const list = columns === undefined ? undefined : checkColumns(columns)
  if (rest !== undefined) {
    if (typeof rest !== 'string' || rest === '') throw invalidType('rest', 'a column name', rest)
    if (list?.has(rest) === true) throw invalidValue('rest', 'must not be in "columns"', rest)
    if (extraColumns !== undefined)
      throw invalidValue('rest', 'must not be set with "extraColumns"', rest)
  }
  if (cast !== undefined) checkObject('cast', cast)
  return list
}

/** @param tryOptions – fails if `csv-stringify` refuses the options */
function checkStringifyOptions(tryOptions: () => unknown): void {
  try {
    tryOptions()
  } catch (error) {
    throw invalidValue('options', `must be valid for csv-stringify: ${errorMessage(error)}`, {})
  }
}

/** @throws TypeError for columns without a name, or with the same one */
function checkColumns(columns: readonly unknown[]): CsvColumns {
  const checked = new CsvColumns(columns.map(toColumn))
  if (checked.size === 0) throw invalidValue('columns', 'must not be empty', columns)
  if (checked.size < checked.list.length)
    throw invalidValue('columns', 'must have different names', columns)
  return checked
}

function toColumn(column: unknown): CsvColumn {
  const { key, header = key }: { key?: unknown; header?: unknown } =
    typeof column === 'object' && column !== null ? column : { key: column }
  if (typeof key !== 'string' || key === '' || typeof header !== 'string') {
    throw invalidType('columns', 'an array of names, or of { key, header }', column)
  }
  return { key, header }
}

/** Returns the columns that the first record has. */
function columnsOf(record: object, rest: string | undefined): CsvColumns {
  const columns = checkColumns(Object.keys(record))
  if (rest !== undefined && columns.has(rest))
    throw invalidValue('rest', 'must not be a property of the first record', rest)
  return columns
}

/** @throws TypeError unless the record is an object with properties, or an array */
function checkRecord(record: unknown): asserts record is object {
  if (typeof record !== 'object' || record === null || types.isArrayBufferView(record))
    throw invalidType('record', 'an object or an array', record)
}

function extraError(extra: object): TypeError {
  const message = `${describeExtra(extra)} no column. Set the option "extraColumns" or "rest" to accept that`
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
}

function describeExtra(extra: object): string {
  if (Array.isArray(extra)) return `The last ${extra.length} elements of the array have`
  const names = Object.keys(extra)
  const shown = names.slice(0, 10).map(name => JSON.stringify(name.slice(0, 100)))
  const more = names.length > shown.length ? ` and ${names.length - shown.length} more` : ''
  const verb = names.length > 1 ? 'have' : 'has'
  return `The record's ${shown.join(', ')}${more} ${verb}`
}

function toIsoDate(date: Date): string {
  return date.toISOString()
}

function toCamelCase(name: string): string {
  return name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase())
}
