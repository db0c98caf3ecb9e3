/** Validates the options of `parquet`. */
import {
  checkInteger,
  checkObject,
  checkProperties,
  invalidType,
  invalidValue,
} from '../../errors.js'
import { columnType, TYPE_NAMES } from './column-type.js'
import { isCodecSupported, isKnownCodec } from './codec.js'
import type { ParquetCodec, ParquetOptions } from './options.js'
import type { Column } from './row.js'

/** Validated options with all defaults applied. */
export interface ParquetSettings {
  readonly columns: readonly Column[]
  readonly rowGroup: number
  readonly codec: ParquetCodec
  readonly ignoresExtraColumns: boolean
}

/** Names of the options. */
const PARQUET_OPTIONS: Readonly<Record<keyof ParquetOptions, true>> = {
  schema: true,
  rowGroup: true,
  codec: true,
  extraColumns: true,
}

/** @throws TypeError, RangeError */
export function checkParquetOptions(options: ParquetOptions): ParquetSettings {
  checkObject('options', options)
  checkProperties('options', options, PARQUET_OPTIONS)
  const { schema, rowGroup, codec = 'snappy', extraColumns = 'error' } = options
  checkInteger('rowGroup', rowGroup, 1, 1_000_000)
  if (!isKnownCodec(codec)) {
    throw invalidValue('codec', `must be 'snappy', 'gzip', 'zstd' or 'none'`, codec)
  }
  if (!isCodecSupported(codec)) {
    const reason = `must not be '${codec}', which Node ${process.version} does not support`
    throw invalidValue('codec', reason, codec)
  }
  if (extraColumns !== 'error' && extraColumns !== 'ignore') {
    throw invalidValue('extraColumns', `must be 'error' or 'ignore'`, extraColumns)
  }
  return {
    columns: checkSchema(schema),
    rowGroup: rowGroup ?? 50_000,
    codec,
    ignoresExtraColumns: extraColumns === 'ignore',
  }
}

function checkSchema(schema: ParquetOptions['schema']): readonly Column[] {
  checkObject('schema', schema)
  const columns = Object.entries(schema).map(([name, column]) => checkColumn(name, column))
  if (columns.length === 0) throw invalidValue('schema', 'must have at least one column', schema)
  return columns
}

function checkColumn(name: string, column: unknown): Column {
  const option = `schema.${name}`
  if (name === '' || !name.isWellFormed()) {
    throw invalidValue('schema', 'must have column names of well-formed Unicode', name)
  }
  if (typeof column !== 'object' || column === null) {
    return { name, type: checkType(option, column), isOptional: false }
  }
  checkProperties(option, column, { type: true, optional: true })
  const { type, optional = false }: { type?: unknown; optional?: unknown } = column
  if (typeof optional !== 'boolean') throw invalidType(`${option}.optional`, 'a boolean', optional)
  return { name, type: checkType(`${option}.type`, type), isOptional: optional }
}

function checkType(option: string, name: unknown): Column['type'] {
  const type = columnType(name)
  if (type === undefined)
    throw invalidValue(option, `must be one of ${TYPE_NAMES.join(', ')}`, name)
  return type
}
