/**
 * Key sequences. Records whose keys differ only in `{seq}` share one sequence of objects. A job never uses the
 * same key twice.
 */
import { SpoolError } from '../errors.js'
import { checkKey } from '../upload/model/names.js'
import type { RotateSettings } from './options.js'
import type { KeyFields } from './key-template.js'
import { partitionText } from './partition.js'

/** The sequence that a record belongs to. */
export interface KeySequence {
  /** Name of the sequence: the key of its first object, without dates of arrival. */
  readonly name: string
  readonly fields: KeyFields
}

export class KeySequences<T> {
  readonly #settings: RotateSettings<T>
  readonly #nextSeqByName = new Map<string, number>()
  readonly #usedKeys = new Set<string>()

  constructor(settings: RotateSettings<T>) {
    this.#settings = settings
    for (const key of settings.reservedKeys) this.#usedKeys.add(key)
  }

  /**
   * Returns the partition of a record as text, or `undefined` if the job has none.
   * @throws TypeError if `partitionBy` returns an invalid value
   */
  partitionOf(record: T): string | undefined {
    const { partitionBy } = this.#settings
    return partitionBy === undefined ? undefined : partitionText(partitionBy(record))
  }

  /** @throws TypeError if `time` returns an invalid value, or the partition does not suit the template */
  sequenceFor(record: T, partition = this.partitionOf(record) ?? ''): KeySequence {
    const { job, keyTemplate, calendar, time } = this.#settings
    const date = typeof time === 'function' ? calendar.fields(time(record)) : undefined
    const fields = { job, partition, date, seq: 0 }
    return { name: keyTemplate.key(fields), fields }
  }

  /**
   * Returns the key of the next object.
   * @throws SpoolError `ERR_SPOOL_OBJECT_EXISTS` if the job has already used the key; `ERR_SPOOL_INVALID_KEY` if a
   * record made it too long
   */
  nextKey(sequence: KeySequence): string {
    const { job } = this.#settings
    const { key, seq } = this.#next(sequence)
    checkKey(key)
    if (this.#usedKeys.has(key)) {
      const message = `Two objects of the job ${job} have the same key ${key}. The second one was not published`
      const hint = 'Add {seq} to the "key" template, separated from other placeholders.'
      throw new SpoolError('ERR_SPOOL_OBJECT_EXISTS', message, { hint })
    }
    this.#nextSeqByName.set(sequence.name, seq + 1)
    this.#usedKeys.add(key)
    return key
  }

  /**
   * Checks a key that a record would begin.
   * @throws SpoolError `ERR_SPOOL_INVALID_KEY`, or `ERR_SPOOL_OBJECT_EXISTS` if it is that of the manifest or of the
   * bad records
   */
  checkNextKey(sequence: KeySequence): void {
    const { key } = this.#next(sequence)
    checkKey(key)
    if (!this.#settings.reservedKeys.has(key)) return
    throw new SpoolError(
      'ERR_SPOOL_OBJECT_EXISTS',
      `The job writes another object to the key ${key}`,
    )
  }

  #next({ name, fields }: KeySequence): { key: string; seq: number } {
    const { keyTemplate, calendar, time, commit } = this.#settings
    const date = time === 'arrival' ? calendar.fields(Date.now()) : fields.date
    const keyOf = (seq: number): string => keyTemplate.key({ ...fields, date, seq })
    let seq = this.#nextSeqByName.get(name) ?? 0
    // No rerun of a committed job has to find its keys again, so a number can be skipped.
    if (commit !== undefined && keyTemplate.placeholders.has('seq')) {
      while (this.#usedKeys.has(keyOf(seq))) seq++
    }
    return { key: keyOf(seq), seq }
  }
}
