/** Inputs of the demo, with a link speed at which an upload takes half a minute. */
import { statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { PARQUET } from './flights.mjs'

const KIB = 1024
const MIB = 1024 * KIB

/** Flights, generated in the uploading process; `sample` is the file for the shell pipe. */
export function flights() {
  return {
    source: '3,000,000 US flights of 2001 (parquet) | filter, reshape, CSV | gzip',
    key: 'flights-2001.csv.gz',
    partSize: 512 * KIB,
    parallel: 4,
    bandwidth: 1.2e6,
    sample: PARQUET,
  }
}

/** The user's file, in about 16 parts and 8 s; `undefined` if `name` is not a regular file. */
export function yourFile(name) {
  const file = resolve(process.env['INIT_CWD'] ?? '.', name) // npm has changed the directory
  const stat = statSync(file, { throwIfNoEntry: false })
  if (!stat?.isFile()) return undefined
  const partSize = Math.min(8 * MIB, Math.max(100 * KIB, Math.ceil(stat.size / 16)))
  return {
    source: file,
    key: basename(file),
    partSize,
    parallel: stat.size < 8 * partSize ? 1 : 4, // with two concurrent parts, neither would be complete at half time
    bandwidth: Math.max(64 * KIB, stat.size / 8),
    file,
    sample: file,
  }
}
