/** Encodes the records of one object as a Parquet file. Only the open row group and the footer are in memory. */
import type { ByteWriter, ParquetWriter, SchemaElement } from 'hyparquet-writer'
import type { ObjectEncoder } from '../object-format.js'
import type { ParquetSettings } from './check-options.js'
import { codecOptions } from './codec.js'
import type { MemoryBudget } from './memory-budget.js'
import { toError } from '../../util/error-shape.js'
import { RowGroup } from './row-group.js'
import { RowReader, type Column } from './row.js'

/** The part of `hyparquet-writer` that is used, which is loaded on demand. */
export interface ParquetLibrary {
  readonly ByteWriter: typeof ByteWriter
  readonly ParquetWriter: typeof ParquetWriter
}

/**
 * In the form that readers expect of writers. Without the version of this package, so that a job that was killed
 * can be rerun by another one.
 */
const CREATED_BY = 'oss-spool version 1'

/** Maximum size in bytes of a page before compression. */
const PAGE_BYTES = 2 ** 20

export class ParquetEncoder implements ObjectEncoder<object> {
  readonly #columns: readonly Column[]
  readonly #reader: RowReader
  readonly #rowGroup: RowGroup
  readonly #bytes: ByteWriter
  readonly #file: ParquetWriter
  /** A row group that could not be written. Its records are lost, so the object must not be published. */
  #failure: Error | undefined

  constructor(
    { ByteWriter, ParquetWriter }: ParquetLibrary,
    settings: ParquetSettings,
    budget: MemoryBudget,
  ) {
    const { columns, rowGroup, codec } = settings
    this.#columns = columns
    this.#reader = new RowReader(columns, settings)
    this.#rowGroup = new RowGroup(columns.length, rowGroup, budget)
    this.#bytes = new ByteWriter()
    this.#file = new ParquetWriter({
      writer: this.#bytes,
      schema: schemaOf(columns, ({ type }) => ({ ...type.element, ...type.written })),
      createdBy: CREATED_BY,
      ...codecOptions(codec),
    })
  }

  add(record: object): Uint8Array | undefined {
    if (this.#failure !== undefined) throw this.#failure
    this.#rowGroup.add(this.#reader.read(record))
    if (!this.#rowGroup.isFull) return undefined
    this.#writeRowGroup()
    return this.#takeBytes()
  }

  end(): Uint8Array {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#rowGroup.rows > 0) this.#writeRowGroup()
    this.#file.schema = schemaOf(this.#columns, ({ type }) => type.element)
    void this.#file.finish() // no promise, because a `ByteWriter` returns none
    return this.#takeBytes()
  }

  #writeRowGroup(): void {
    const rowGroupSize = this.#rowGroup.rows
    const columnData = this.#rowGroup.take().map((values, i) => ({
      name: this.#columns[i]?.name ?? '',
      data: values,
      statistics: this.#columns[i]?.type.hasStatistics ?? false,
    }))
    try {
      void this.#file.write({ columnData, rowGroupSize, pageSize: PAGE_BYTES }) // no promise, as above
    } catch (error) {
      throw (this.#failure = toError(error))
    }
  }

  /** Returns the bytes since the last call. They are not copied: the writer gets new memory. */
  #takeBytes(): Uint8Array {
    const bytes = this.#bytes.getBytes()
    this.#bytes.buffer = new ArrayBuffer(0)
    this.#bytes.view = new DataView(this.#bytes.buffer)
    this.#bytes.index = 0
    return bytes
  }
}

function schemaOf(
  columns: readonly Column[],
  elementOf: (column: Column) => Omit<SchemaElement, 'name' | 'repetition_type'>,
): SchemaElement[] {
  const elements = columns.map((column): SchemaElement => ({
    ...elementOf(column),
    name: column.name,
    repetition_type: column.isOptional ? 'OPTIONAL' : 'REQUIRED',
  }))
  return [{ name: 'schema', num_children: columns.length }, ...elements]
}
