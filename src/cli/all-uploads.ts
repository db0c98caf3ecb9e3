/**
 * Selects uploads for `--all`: those of one endpoint that no process works on. The others are named on standard
 * error and are no failure.
 */
import type { UploadStatus } from '../upload/maintenance/status.js'
import type { HintWording, RecordedPlace } from '../hint.js'
import { commandWording, idArgument } from './proposed-command.js'
import type { CliConnection } from './connection.js'
import type { IsOwnUpload, Session } from './session.js'

/** Why `resume --all` leaves out an upload. */
export type SkipReason = 'other host' | 'owned' | 'unsealed' | 'exists' | 'elsewhere'

/**
 * Returns why `resume --all` leaves out an upload, or `undefined` if it finishes it.
 * @param isOwn – it belongs to the selected OSS
 */
export function skipReason(
  { resumable, owner, error, phase }: UploadStatus,
  isOwn: boolean,
): SkipReason | undefined {
  if (owner !== undefined) return 'owned'
  // One that is sealed and not resumable has lost its bytes, which is a failure to report.
  if (!resumable && phase === 'spooling') return 'unsealed'
  if (error?.code === 'ERR_SPOOL_OBJECT_EXISTS') return 'exists'
  return isOwn ? undefined : 'elsewhere'
}

/** Returns which uploads belong to the OSS of a connection. */
export function ownUploadsOf({ isConfiguredFor }: CliConnection): IsOwnUpload {
  return ({ endpoint, bucket }) => isConfiguredFor(endpoint, bucket)
}

/** Logs that `--all` leaves out an upload, and the command that does not, if there is one. */
export function logSkipped(
  session: Session,
  { id, bucket, key }: UploadStatus,
  reason: string,
  nextStep?: string,
): void {
  session.logLine(`${id} (oss://${bucket}/${key}) is skipped: ${reason}`, { id, hint: nextStep })
}

/** Describes the process that works on an upload. */
export function ownerText({ phase, owner }: UploadStatus): string {
  if (owner === undefined) return 'another process works on it'
  return phase === 'spooling'
    ? `its source is still being read by process ${owner.pid} on ${owner.host}`
    : `process ${owner.pid} on ${owner.host} works on it`
}

/**
 * Returns a command for one upload: with the given flags if they select its OSS, otherwise with its endpoint.
 * @param isOwn – it belongs to the selected OSS
 */
export function proposeFor(
  session: Session,
  status: Pick<UploadStatus, 'id' | 'endpoint' | 'region'>,
  isOwn: boolean,
  ...args: string[]
): string {
  return session.proposeAt(isOwn ? undefined : status, ...args, ...idArgument(status.id))
}

/** Words hints for one upload, with the flags of `proposeFor`. */
export function wordingFor(session: Session, status: RecordedPlace, isOwn: boolean): HintWording {
  return commandWording(args => session.proposeAt(isOwn ? undefined : status, ...args))
}
