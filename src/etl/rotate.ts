/**
 * The rotation: a `Writable` of records that go to one object after the other, or to many at once.
 * Which record goes to which object depends on the records and their order alone (but for
 * `every.ms`), so a job that is run again finds what it has done. `finish` comes when OSS holds all
 * objects and, written after them, the manifest.
 */
import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { Writable } from 'node:stream'
import { SpoolError } from '../errors.js'
import type { Spool } from '../index.js'
import { manifestOf, type Manifest, type ManifestObject } from './manifest.js'
import { checkRotate, type RotateOptions, type RotateSettings } from './options.js'
import { Outgoing } from './outgoing.js'
import { Sequences, type Place } from './sequences.js'
import { Stages } from './stages.js'

/**
 * Makes a sink for `pipeline()` and `stream-chain` that spreads records over objects: one after the
 * other by `every` and `cutBefore`, beside each other by what `key` is made of. Exactly once: ids and
 * keys follow from the job and the records, objects that an earlier run has sealed are finished and
 * not sent again (what comes for them is compared), and no object is overwritten.
 * @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
 */
export function rotate<T = string | Uint8Array>(
  spool: Spool,
  options: RotateOptions<T>,
): RotateStream<T> {
  return new Rotation<T>(spool, checkRotate<T>(options))
}

/**
 * The sink that `rotate` makes. In object mode: what one `write` gives is a record. It fails with the
 * first failure of any of its objects; what is sealed then can be resumed or is finished by the next
 * run of the job, the rest is not published. Emits `object` (`ManifestObject`) whenever OSS holds one more.
 */
export interface RotateStream<T> extends Writable {
  /** The manifest, once OSS holds it; rejects with what ended the job. Ignoring it is safe. */
  readonly result: Promise<Manifest>
  on(event: 'object', listener: (object: ManifestObject) => void): this
  on(event: string | symbol, listener: (...args: never[]) => void): this
  once(event: 'object', listener: (object: ManifestObject) => void): this
  once(event: string | symbol, listener: (...args: never[]) => void): this
  /** For `stream-chain`: the type of its records. There is nothing at run time. */
  __streamTypeW(): T
}
