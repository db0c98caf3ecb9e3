/** The public names of `oss-spool/etl`: records in, well-named objects out. */
export { csv, jsonl, type CsvOptions, type Format } from './format.js'
export type { Manifest, ManifestObject } from './manifest.js'
export type { ObjectUpload, RotateOptions, Transforms } from './options.js'
export { rotate, type RotateStream } from './rotate.js'
export { tap, type Tap, type TapCounts } from './tap.js'
