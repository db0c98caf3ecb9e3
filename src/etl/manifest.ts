/**
 * The manifest of a job. It is written last, so that a reader who finds it also finds all its objects. Every
 * run of the job gives the same manifest.
 */

/** Identifies a record in a `Manifest`. */
export type RecordId = string | number

/** Entry of one object in a `Manifest`. */
export interface ManifestObject {
  /** Key of the object. */
  readonly key: string
  /** Size in bytes as stored on OSS, that is after `transform`. */
  readonly size: number
  /** CRC64 of the whole object as confirmed by OSS, as an unsigned decimal. */
  readonly crc64: string
  /** Number of records in the object. */
  readonly records: number
  /** `recordId` of the first record. Default: the record's number in the job, from 0. */
  readonly first: RecordId
  /** `recordId` of the last record. */
  readonly last: RecordId
  /** Time at which the last byte was written to disk: ISO 8601, UTC. */
  readonly created: string
}

/** The manifest of a job of `rotate`, as JSON in its own object: all objects of the job. */
export interface Manifest {
  /** Name of the job. */
  readonly job: string
  /** Total number of records. */
  readonly records: number
  /** Total size of all objects in bytes, as stored on OSS. */
  readonly size: number
  /** Number of bad records that were skipped. Present if the job has `onBadRecord` or `deadLetter`. */
  readonly skipped?: number
  /**
   * Object with the bad records that were skipped, if there are any and the job has `deadLetter`. `first` and
   * `last` are numbers of records.
   */
  readonly deadLetter?: ManifestObject
  /** Entries in the order in which the objects were started. */
  readonly objects: readonly ManifestObject[]
}

/** @param skips – of a job that can skip records */
export function createManifest(
  job: string,
  objects: readonly ManifestObject[],
  skips: Pick<Manifest, 'skipped' | 'deadLetter'>,
): Manifest {
  const sum = (name: 'records' | 'size'): number => objects.reduce((total, o) => total + o[name], 0)
  return { job, records: sum('records'), size: sum('size'), ...skips, objects }
}
