/**
 * Formats whose objects are more than a sequence of records, such as Parquet. An encoder holds the state of one
 * object; functions of one record (`Format`) become encoders here.
 */
import { types } from 'node:util'
import { invalidResult } from './callback-result.js'
import { freshFormat, type Format } from './format.js'

/** Encodes the records of one object, in order. */
export interface ObjectEncoder<T> {
  /**
   * Adds a record.
   * @returns bytes to append to the object, or `undefined` if the encoder holds the record for now
   * @throws if the format cannot represent the record; nothing of it is in the object then
   */
  add(record: T): string | Uint8Array | undefined
  /**
   * Ends the object. Called once, after the last record.
   * @returns its remaining bytes, such as a footer, or `undefined` if there are none
   */
  end(): string | Uint8Array | undefined
}

/**
 * A format whose records are no object until it has ended. It must be deterministic: the same records must give
 * the same bytes in every run of the job.
 */
export interface ObjectFormat<T> {
  /**
   * Returns a new encoder for each object.
   * @param job – the same object for all encoders of one job, to key state that they share
   */
  createEncoder(job: object): ObjectEncoder<T>
}

/** Returns a function that creates the encoder of each object of one job. */
export function encoderFactory<T>(format: Format<T> | ObjectFormat<T>): () => ObjectEncoder<T> {
  if (typeof format !== 'function') {
    const job = {}
    return () => checkedEncoder(format.createEncoder(job))
  }
  const formatRecord = freshFormat(format)
  return () => {
    let isFirst = true
    return {
      add: record => {
        const bytes: unknown = formatRecord(record, isFirst)
        if (!isContent(bytes)) throw invalidResult('format', 'a string or bytes', bytes)
        isFirst = false
        return bytes
      },
      end: () => undefined,
    }
  }
}

/** @throws TypeError if the caller's encoder has no `add()` or `end()`, which would make every record a bad one */
function checkedEncoder<T>(encoder: ObjectEncoder<T>): ObjectEncoder<T> {
  const given: { readonly add?: unknown; readonly end?: unknown } | null = encoder // callers in JavaScript
  if (typeof given?.add !== 'function' || typeof given.end !== 'function') {
    throw invalidResult('format.createEncoder', 'an object with add() and end()', encoder)
  }
  return {
    add: record => checkContent('add', encoder.add(record)),
    end: () => checkContent('end', encoder.end()),
  }
}

function checkContent(method: string, result: unknown): string | Uint8Array | undefined {
  if (result === undefined || isContent(result)) return result
  throw invalidResult(`format.createEncoder().${method}`, 'a string, bytes or undefined', result)
}

function isContent(value: unknown): value is string | Uint8Array {
  return typeof value === 'string' || types.isUint8Array(value)
}
