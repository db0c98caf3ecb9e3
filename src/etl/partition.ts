/**
 * Partition values as text in keys. A record chooses its partition, so its value must not add segments to a key
 * unless the template asks for a path.
 */
import { invalidValue } from '../errors.js'
import { invalidResult } from './callback-result.js'

/** Value that `partitionBy` returns. `null`, `undefined` and an empty string are one partition, as in Hive. */
export type PartitionValue = string | number | bigint | boolean | null | undefined

/** Hive's name of the partition of records without a value. */
const DEFAULT_PARTITION = '__HIVE_DEFAULT_PARTITION__'

/** Characters that Hive escapes in the names of partitions. */
// oxlint-disable-next-line no-control-regex -- control characters are among them
const ESCAPED = /[\u0000-\u001F"#%'*/:=?\\\u007F{[\]^]/g

/**
 * Returns the text of a partition value, not escaped.
 * @throws TypeError if it has none: `NaN`, infinite numbers, objects
 */
export function partitionText(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value === '' ? DEFAULT_PARTITION : value
    case 'undefined':
      return DEFAULT_PARTITION
    case 'bigint':
    case 'boolean':
      return String(value)
    case 'number':
      if (Number.isFinite(value)) return String(value)
      throw invalidValue('partitionBy', 'must not return NaN or an infinite number', value)
    default:
      if (value === null) return DEFAULT_PARTITION
      throw invalidResult('partitionBy', 'a string or a number', value)
  }
}

/** Escapes a partition as Hive does, and `.` and `..`, which would change the path of a URL. */
export function escapePartition(partition: string): string {
  if (partition === '.' || partition === '..') return partition.replaceAll('.', '%2E')
  return partition.replace(ESCAPED, escapeChar)
}

/** @throws TypeError unless all segments of the path are safe: not empty, and not `.` or `..` */
export function partitionPath(partition: string): string {
  if (!/(?:^|\/)\.{0,2}(?:\/|$)/.test(partition)) return partition
  throw invalidValue(
    'partitionBy',
    'must return a path without empty, "." and ".." segments for {partition:path}',
    partition,
  )
}

function escapeChar(char: string): string {
  return `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`
}
