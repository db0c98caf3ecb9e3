/** Options of `parquet`. Types only, so that programs without `hyparquet-writer` compile against them. */

/** Type of a Parquet column. docs/etl.md lists the values that each type accepts. */
export type ParquetType =
  | 'string'
  | 'int32'
  | 'int64'
  | 'double'
  | 'boolean'
  | 'timestamp'
  | 'date'
  | 'json'
  | 'uuid'
  | 'bytes'
  | `decimal(${number},${number})`

/** A Parquet column: its type, or its type and whether values may be missing. */
export type ParquetColumn =
  | ParquetType
  | {
      /** Type of the values. */
      readonly type: ParquetType
      /** Whether a value may be `null`, `undefined` or missing. @default false */
      readonly optional?: boolean
    }

/** Compression of the pages of a Parquet file; `'zstd'` needs Node 22.15. */
export type ParquetCodec = 'snappy' | 'gzip' | 'zstd' | 'none'

/** Options of `parquet`. */
export interface ParquetOptions {
  /** The columns by name, in order. At least one. */
  readonly schema: Readonly<Record<string, ParquetColumn>>
  /**
   * Number of records in a row group, 1 to 1,000,000. Each open object holds up to that number of records in memory. A row
   * group ends earlier if its values take 16 MiB, or if those of all open objects take 256 MiB. @default 50,000
   */
  readonly rowGroup?: number
  /** Compression. @default 'snappy' */
  readonly codec?: ParquetCodec
  /**
   * What happens to a record with a property that is no column: it is an error, or the property is dropped.
   * @default 'error'
   */
  readonly extraColumns?: 'error' | 'ignore'
}
