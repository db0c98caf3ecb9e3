/**
 * The manifest: what a job has made. It is written last, so that whoever finds it finds all its
 * objects; and it holds nothing that another run of the job would tell differently.
 */

/** What names a record. */
export type RecordId = string | number

/** One object of a job. */
export interface ManifestObject {
  /** Key of the object. */
  readonly key: string
  /** Bytes, as they are on OSS: compressed. */
  readonly size: number
  /** Of the whole object, as OSS confirmed it: an unsigned decimal. */
  readonly crc64: string
  /** Number of records. */
  readonly records: number
  /** What `recordId` says of its first record; by default the record's number in the job, from 0. */
  readonly first: RecordId
  /** The same of its last one. */
  readonly last: RecordId
  /** When its last byte was on disk: ISO 8601, UTC. */
  readonly created: string
}

/** The JSON of the manifest object. */
export interface Manifest {
  /** Name of the job. */
  readonly job: string
  /** Of all objects. */
  readonly records: number
  /** Of all objects, as they are on OSS. */
  readonly size: number
  /** In the order in which they were begun. */
  readonly objects: readonly ManifestObject[]
}

export function createManifest(job: string, objects: readonly ManifestObject[]): Manifest {
  const sum = (name: 'records' | 'size'): number => objects.reduce((total, o) => total + o[name], 0)
  return { job, records: sum('records'), size: sum('size'), objects }
}
