/** State of the restore of an archived object. Pure. */
import type { ObjectRecord, Restore } from '../store/record.js'

/** Duration of a restore, in ms. */
export const RESTORE_MS = 60_000

const DAY_MS = 24 * 60 * 60 * 1000

/** Returns the state of a restore as in `x-oss-restore`; undefined if the object is not restored. */
export function restoreState(
  object: Pick<ObjectRecord, 'restore'>,
  now: number,
): string | undefined {
  if (object.restore === undefined || expiryOf(object.restore) <= now) return undefined
  if (isOngoing(object, now)) return 'ongoing-request="true"'
  const expiry = new Date(expiryOf(object.restore)).toUTCString()
  return `ongoing-request="false", expiry-date="${expiry}"`
}

/** Returns `x-oss-restore` if the object is restored or being restored. */
export function restoreHeader(object: ObjectRecord, now: number): Record<string, string> {
  const state = restoreState(object, now)
  return state === undefined ? {} : { 'x-oss-restore': state }
}

/** Returns whether a restore has begun and not ended. */
export const isOngoing = ({ restore }: Pick<ObjectRecord, 'restore'>, now: number): boolean =>
  restore !== undefined && now < Date.parse(restore.requested) + RESTORE_MS

/** Returns the time at which a restored object is archived again, in ms since the epoch. */
export const expiryOf = ({ requested, days }: Restore): number =>
  Date.parse(requested) + RESTORE_MS + days * DAY_MS
