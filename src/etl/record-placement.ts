/**
 * Where a record goes and what is written of it. Calls every function of the caller before any object changes, so
 * that a record that one of them refuses leaves no trace.
 */
import type { BadRecord } from './bad-records.js'
import { invalidResult } from './callback-result.js'
import type { KeySequence, KeySequences } from './key-sequence.js'
import type { RecordId } from './manifest.js'
import type { ObjectEncoder } from './object-format.js'
import type { EncodedRecord } from './object-writer.js'
import type { RotateSettings } from './options.js'

/** The record in process. Its partition is added once it is known. */
export type CurrentRecord<T> = { -readonly [K in keyof BadRecord<T>]: BadRecord<T>[K] }

/** The latest record of an object that accepts records, if the job has `cutBefore`, and its encoder. */
export interface PlacementTarget<T> {
  readonly latestRecord: T | undefined
  readonly encoder: ObjectEncoder<T>
}

/** A record that all functions of the caller have accepted. */
export interface PlacedRecord<T> extends EncodedRecord<T> {
  readonly sequence: KeySequence
  /** Whether the record starts an object, with the next encoder. */
  readonly startsObject: boolean
}

export class RecordPlacement<T> {
  readonly #settings: RotateSettings<T>
  readonly #sequences: KeySequences<T>

  constructor(settings: RotateSettings<T>, sequences: KeySequences<T>) {
    this.#settings = settings
    this.#sequences = sequences
  }

  /**
   * @param current – gets the partition
   * @param targetOf – returns the open object of a sequence
   * @param nextEncoder – for the object that the record may start
   * @throws if the record is bad
   */
  place(
    current: CurrentRecord<T>,
    targetOf: (name: string) => PlacementTarget<T> | undefined,
    nextEncoder: ObjectEncoder<T>,
  ): PlacedRecord<T> {
    const { record, number } = current
    current.partition = this.#sequences.partitionOf(record)
    const sequence = this.#sequences.sequenceFor(record, current.partition)
    const target = targetOf(sequence.name)
    const startsObject = target === undefined || this.#isCutBefore(record, target)
    if (startsObject) this.#sequences.checkNextKey(sequence)
    const id = this.#idOf(record, number)
    const bytes = (startsObject ? nextEncoder : target.encoder).add(record)
    const kept = this.#settings.cutBefore === undefined ? undefined : record
    return { record: kept, id, bytes, sequence, startsObject }
  }

  #isCutBefore(record: T, { latestRecord }: PlacementTarget<T>): boolean {
    const { cutBefore } = this.#settings
    if (cutBefore === undefined) return false
    const result: unknown = cutBefore(record, latestRecord as T) // an open object has a record
    if (typeof result !== 'boolean') throw invalidResult('cutBefore', 'a boolean', result)
    return result
  }

  #idOf(record: T, number: number): RecordId {
    const id: unknown = this.#settings.recordId(record, number)
    if (typeof id === 'string' || (typeof id === 'number' && Number.isFinite(id))) return id
    throw invalidResult('recordId', 'a string or a finite number', id)
  }
}
