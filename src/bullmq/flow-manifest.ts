/**
 * The manifest of a flow: which objects it has made, in the form of `oss-spool/etl`'s. It is written
 * when all of them are on OSS, and never when one is missing.
 */
import type { Manifest, ManifestObject } from '../etl/manifest.js'
import type { JobResult, ManifestData } from './job.js'

/** One object; how many records it has is known to its source alone. */
export type FlowObject = Pick<ManifestObject, 'key' | 'size' | 'crc64' | 'created'>

/** The JSON of the manifest object. */
export interface FlowManifest extends Pick<Manifest, 'job' | 'size'> {
  /** In the order in which they were added. */
  readonly objects: readonly FlowObject[]
}

/** @throws Error when one of its objects was not made: its job was removed */
export function createFlowManifest(
  { job, keys }: ManifestData['manifest'],
  results: readonly JobResult[],
): FlowManifest {
  const resultByKey = new Map(results.map(result => [result.key, result]))
  const objects = keys.map(key => {
    const result = resultByKey.get(key)
    if (result === undefined) throw new Error(`The manifest of ${job} lacks ${key}: not written`)
    const { size, crc64, sealedAt } = result
    return { key, size, crc64, created: sealedAt }
  })
  return { job, size: objects.reduce((total, { size }) => total + size, 0), objects }
}

export function formatFlowManifest(manifest: FlowManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`
}
