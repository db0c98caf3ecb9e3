/**
 * The versions of an object, newest first. They share one record file, so that each change of them is atomic. The newest
 * may be a delete marker. An object without versioning has one version, `null`. Pure.
 */
import { randomBytes } from 'node:crypto'
import type { ObjectRecord, Versioning } from './record.js'

/** Id of the version that was written without versioning, or while it was suspended. */
export const NULL_VERSION = 'null'

/** Content of a record file. */
export interface StoredVersions extends ObjectRecord {
  /** Versions before the newest one, newest first. */
  readonly older?: readonly ObjectRecord[]
}

/** Returns the versions of a record file. */
export function unpackVersions(stored: StoredVersions | undefined): ObjectRecord[] {
  if (stored === undefined) return []
  const { older = [], ...newest } = stored
  return [newest, ...older]
}

/** Returns the content of a record file; undefined without versions, which have no file. */
export function packVersions(versions: readonly ObjectRecord[]): StoredVersions | undefined {
  const [newest, ...older] = versions
  return newest === undefined || older.length === 0 ? newest : { ...newest, older }
}

/** Returns the id of a version. */
export const versionIdOf = ({ versionId }: Pick<ObjectRecord, 'versionId'>): string =>
  versionId ?? NULL_VERSION

/** Returns the property with the id of a new version. */
export const newVersionId = (
  versioning: Versioning | undefined,
): Pick<ObjectRecord, 'versionId'> =>
  versioning === 'Enabled' ? { versionId: `CAEQ${randomBytes(24).toString('hex')}` } : {}

/** Returns the version of this id; the newest if `versionId` is undefined. */
export function findVersion(
  versions: readonly ObjectRecord[],
  versionId: string | undefined,
): ObjectRecord | undefined {
  if (versionId === undefined) return versions[0]
  return versions.find(version => versionIdOf(version) === versionId)
}

/** Returns the newest version unless it is a delete marker. */
export function currentVersion([newest]: readonly ObjectRecord[]): ObjectRecord | undefined {
  return newest?.type === 'DeleteMarker' ? undefined : newest
}

/** Adds the newest version, which replaces one of the same id. */
export function addVersion(
  versions: readonly ObjectRecord[],
  newest: ObjectRecord,
): ObjectRecord[] {
  const id = versionIdOf(newest)
  return [newest, ...versions.filter(version => versionIdOf(version) !== id)]
}
