/**
 * Distributes a stream of records over objects, with a manifest.
 * @module oss-spool/etl
 */
export type { OpenLimit, RotateWarning } from './early-ends.js'
export { csv, type CsvOptions } from './csv.js'
export type { CsvColumn } from './csv-columns.js'
export { jsonl, type Format } from './format.js'
export type { Manifest, ManifestObject, RecordId } from './manifest.js'
export type { ObjectEncoder, ObjectFormat } from './object-format.js'
export type { ObjectUpload, RotateOptions } from './options.js'
export type { ParquetCodec, ParquetColumn, ParquetOptions, ParquetType } from './parquet/options.js'
export { parquet } from './parquet/parquet.js'
export type { BadRecord } from './bad-records.js'
export type { PartitionValue } from './partition.js'
export type { RecordChunk } from './record-chunk.js'
export { rotate, type RotateStream } from './rotate.js'
export { tap, type Tap, type TapCounts } from './tap.js'
export type { ObjectTransform } from './transform-option.js'
export type { Compression, CompressionFormat } from '../util/compression.js'
