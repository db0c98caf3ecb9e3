/**
 * The manifest of a flow lists its objects in the format of `oss-spool/etl`. It is written once all of them are
 * on OSS, and never while one is missing.
 */
import type { Manifest, ManifestObject } from '../etl/manifest.js'
import type { JobResult, ManifestData } from './job.js'

/** Entry of one object in a `FlowManifest`. Has no record count, which only the source knows. */
export type FlowObject = Pick<ManifestObject, 'key' | 'size' | 'crc64' | 'created'>

/** The manifest of a flow of jobs, as JSON in its own object: all objects of the flow. */
export interface FlowManifest extends Pick<Manifest, 'job' | 'size'> {
  /** Entries in the order in which the objects were added. */
  readonly objects: readonly FlowObject[]
}

/** @throws Error if an object is missing because its job was removed */
export function createFlowManifest(
  { job, keys }: ManifestData['manifest'],
  results: readonly JobResult[],
): FlowManifest {
  const resultByKey = new Map(results.map(result => [result.key, result]))
  const objects = keys.map(key => {
    const result = resultByKey.get(key)
    if (result === undefined)
      throw new Error(
        `The manifest of ${job} was not written: no completed job for the object ${key}`,
      )
    const { size, crc64, sealedAt } = result
    return { key, size, crc64, created: sealedAt }
  })
  return { job, size: objects.reduce((total, { size }) => total + size, 0), objects }
}

export function formatFlowManifest(manifest: FlowManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`
}
