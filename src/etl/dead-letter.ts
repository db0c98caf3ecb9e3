/** Lines of the dead letter object: one line of JSON for each bad record that was skipped. */
import { isUtf8 } from 'node:buffer'
import { inspect, types } from 'node:util'
import type { BadRecord } from './bad-records.js'

/** Returns the line of a bad record, with its newline. It is the same in every run. */
export function deadLetterLine(
  { record, number, partition }: BadRecord<unknown>,
  error: Error,
): string {
  const head = JSON.stringify({ number, partition, reason: error.message })
  return `${head.slice(0, -1)},"record":${recordJson(record)}}\n`
}

/**
 * Returns JSON for any record: bytes as text, or in base64 if they are no text, and records that JSON cannot
 * represent as `inspect` shows them.
 */
function recordJson(record: unknown): string {
  if (types.isUint8Array(record)) {
    const bytes = Buffer.from(record.buffer, record.byteOffset, record.byteLength)
    return JSON.stringify(isUtf8(bytes) ? bytes.toString() : { base64: bytes.toString('base64') })
  }
  try {
    // The declared type is wrong: the result is `undefined` for `undefined`, functions and symbols.
    const json = JSON.stringify(record, bigintToText) as string | undefined
    if (json !== undefined) return json
  } catch {
    // A cycle, or a getter or `toJSON` that throws.
  }
  return JSON.stringify({ inspected: inspectSafely(record) })
}

function bigintToText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

function inspectSafely(record: unknown): string {
  try {
    return inspect(record, { customInspect: false, breakLength: Infinity })
  } catch {
    return Object.prototype.toString.call(record)
  }
}
