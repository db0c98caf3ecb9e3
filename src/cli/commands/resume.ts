/** `oss-spool resume`: finishes sealed and committed uploads without their sources. Designed to be run by cron. */
import { Option, type Command } from 'commander'
import { mapLimit } from '../../util/map-limit.js'
import type { Spool } from '../../spool.js'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import type { SpoolWarning } from '../../upload/run/context.js'
import type { UploadStatus } from '../../upload/maintenance/status.js'
import { EXIT_FAILURE, EXIT_SUCCESS, UsageError, combineExitStatuses } from '../exit-status.js'
import { keptPlaceOf } from '../../upload/model/destination.js'
import { keyTakenHint, wordHint } from '../../hint.js'
import {
  logSkipped,
  ownUploadsOf,
  ownerText,
  proposeFor,
  skipReason,
  wordingFor,
  type SkipReason,
} from '../all-uploads.js'
import {
  ID_DESCRIPTION,
  addExamples,
  addFleetOptions,
  addSettings,
  addTransferOptions,
  valueOption,
} from '../shared-options.js'
import type { MoveTarget } from '../../spool-options.js'
import { parseMoveTarget } from '../target.js'
import { startProgressDisplay, type ProgressDisplay, type ProgressFlags } from '../progress.js'
import { monitored, type MonitoringFlags } from '../monitoring.js'
import { reportError, reportResult, reportWarnedError } from '../report.js'
import { resolveIds } from '../resolve-ids.js'
import type { CliConnection, ConnectionFlags } from '../connection.js'
import { spoolErrorHint } from '../spool-error-hint.js'
import { reportStaleUploads } from '../stale-uploads.js'
import { fleetOptions, selectedRecords, type FleetRecordFlags } from '../fleet-records.js'
import type { Session, SpoolFlags } from '../session.js'

type ResumeFlags = SpoolFlags &
  FleetRecordFlags &
  MonitoringFlags &
  ProgressFlags & {
    readonly all?: boolean
    readonly force?: boolean
    readonly to?: string
    readonly parallel?: number | 'auto'
    readonly parallelUploads?: number
    readonly retries?: number
    readonly staleAfter?: number
  }

export function defineResume(program: Command, session: Session): void {
  const command = addFleetOptions(addTransferOptions(program.command('resume')))
    .description('finish sealed and committed uploads without their sources')
    .argument('[ID...]', ID_DESCRIPTION)
    .addOption(new Option('--all', 'finish every sealed or committed upload of this endpoint'))
    .addOption(new Option('--force', 'replace an existing object, which is then lost'))
    .addOption(
      valueOption(
        '--to <URL>',
        'publish it as oss://BUCKET/KEY instead, at the --endpoint, --region or --local given with it',
      ),
    )
    .action((ids: string[], flags: ResumeFlags) =>
      session.run(
        flags,
        monitored(session, 'resume', merged => resumeUploads(session, ids, merged, flags)),
      ),
    )
  addExamples(addSettings(command, 'staleAfter', 'parallelUploads'), [
    'oss-spool resume --all --quiet --stale-after 24h   # from cron',
    'oss-spool resume oss://backups/mydb-2026-11-23.dump',
    'oss-spool resume orders-2026-11-24 --fleet oss-spool',
    'oss-spool resume mydb-2026-11-23 --to oss://backups/mydb-2026-11-23.dump --region cn-beijing',
  ])
}

async function resumeUploads(
  session: Session,
  ids: readonly string[],
  flags: ResumeFlags,
  givenFlags: ResumeFlags,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected upload ids or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected upload ids or --all, not both')
  if (flags.to !== undefined && ids.length !== 1) {
    throw new UsageError('--to moves one upload: expected its id, and not --all')
  }
  const target = flags.to === undefined ? undefined : parseMoveTarget(flags.to)
  if (givenFlags.staleAfter !== undefined && !flags.all) {
    throw new UsageError('--stale-after judges all uploads and needs --all')
  }
  const connection = await session.connect(flags)
  const to = target && { ...target, ...moveEndpoint(connection, givenFlags) }
  const fleet = await fleetOptions(session, flags)
  const { parallel, retries } = flags
  // As defaults, they are checked even if there is nothing to resume.
  const spool = await session.openSpool(flags, connection, {
    ...fleet,
    ...(parallel === undefined ? {} : { parallel }),
    ...(retries === undefined ? {} : { retry: { attempts: retries } }),
  })
  if (!flags.all) {
    const isOwn = ownUploadsOf(connection)
    const selectedIds = await resolveIds(session, ids, flags, isOwn)
    return combineExitStatuses(await resumeEach(session, spool, selectedIds, flags, to))
  }
  const isHere = ({ host }: UploadStatus): boolean => host === fleet.checkpointStore?.host
  const status = await resumeAll(session, spool, connection, isHere, flags)
  if (flags.staleAfter === undefined || session.signal.aborted) return status
  // Stale uploads need a person, while 75 says that a later run may succeed.
  return (await reportStaleUploads(session, flags, flags.staleAfter)) ? EXIT_FAILURE : status
}

async function resumeAll(
  session: Session,
  spool: Spool,
  connection: CliConnection,
  isHere: (status: UploadStatus) => boolean,
  flags: ResumeFlags,
): Promise<number> {
  const lostStatuses: number[] = []
  const onWarning = ({ cause }: SpoolWarning): void => {
    if (cause instanceof SpoolError) lostStatuses.push(reportWarnedError(session, cause, flags))
  }
  spool.on('warning', onWarning) // listing warns of damaged uploads, which can never be finished
  const uploads = await spool.uploads({ all: true })
  spool.off('warning', onWarning)
  const ids: string[] = []
  const isOwn = ownUploadsOf(connection)
  for (const status of uploads) {
    const isOurs = isOwn(status)
    const reason = isHere(status) ? skipReason(status, isOurs) : 'other host'
    const isForced = reason === 'exists' && flags.force === true && isOurs
    if (reason === undefined || isForced) ids.push(status.id)
    else if (!flags.quiet) {
      const nextStep = await nextStepOf(session, status, reason, isOurs, flags)
      logSkipped(session, status, REASON_TEXTS[reason](status), nextStep)
    }
  }
  if (uploads.length === 0 && lostStatuses.length === 0 && !flags.quiet)
    session.logLine('nothing to do')
  return combineExitStatuses([...lostStatuses, ...(await resumeEach(session, spool, ids, flags))])
}

/** Why an upload is skipped. */
const REASON_TEXTS: Readonly<Record<SkipReason, (status: UploadStatus) => string>> = {
  'other host': ({ host }) => `its bytes are on host ${host}`,
  owned: ownerText,
  unsealed: () => 'it is not sealed and needs its source again',
  exists: () => 'its key is taken by an existing object',
  elsewhere: ({ endpoint }) => `it belongs to ${endpoint}`,
}

/** Returns what the user can do about a skipped upload, if there is anything. */
async function nextStepOf(
  session: Session,
  status: UploadStatus,
  reason: SkipReason,
  isOurs: boolean,
  flags: ResumeFlags,
): Promise<string | undefined> {
  if (reason === 'elsewhere') {
    return `To finish it, run "${proposeFor(session, status, isOurs, 'resume')}".`
  }
  if (reason !== 'exists') return undefined
  const records = await selectedRecords(session, flags)
  const checkpoint = await records.read(status.id).catch(() => null) // may be gone or damaged by now
  if (checkpoint === null) return undefined
  const hint = keyTakenHint(status.id, keptPlaceOf(checkpoint))
  return wordHint(hint, wordingFor(session, status, isOurs))
}

async function resumeEach(
  session: Session,
  spool: Spool,
  ids: readonly string[],
  flags: ResumeFlags,
  to?: MoveTarget,
): Promise<number[]> {
  if (ids.length === 0) return []
  const name = ids.length === 1 ? (ids[0] ?? '') : `${ids.length} uploads`
  const progress = startProgressDisplay(session, name, flags, ids.length)
  const statuses = await mapLimit(flags.parallelUploads ?? 4, ids, id =>
    session.signal.aborted
      ? Promise.resolve(EXIT_SUCCESS) // not started, so there is nothing to report
      : resumeOne(session, spool, id, progress, flags, to),
  )
  progress.stop()
  return statuses
}

/**
 * Returns the endpoint of the new place: that of the given flags, with which the client was made. A configured
 * endpoint does not move an upload.
 */
function moveEndpoint(connection: CliConnection, given: ConnectionFlags): MoveTarget {
  const names = ['local', 'endpoint', 'region', 'internal', 'cname'] as const
  if (names.every(name => given[name] === undefined)) return {}
  const { endpoint, region, cname } = connection.place('unused')
  return { endpoint, region, cname }
}

async function resumeOne(
  session: Session,
  spool: Spool,
  id: string,
  progress: ProgressDisplay,
  flags: ResumeFlags,
  to: MoveTarget | undefined,
): Promise<number> {
  try {
    const result = await spool.resume(id, {
      signal: session.signal,
      force: flags.force === true,
      ...(to === undefined ? {} : { to }),
      onProgress: event => progress.update(id, event),
    })
    reportResult(session, result, flags)
    return EXIT_SUCCESS
  } catch (error) {
    if (!flags.all || !(error instanceof SpoolError) || !NO_FAILURE_OF_ALL.has(error.code))
      return reportError(session, error, flags, { command: 'oss-spool resume' })
    const { code } = error
    const notice = SETTLED_ELSEWHERE[code]
    if (notice === undefined) {
      const hint = spoolErrorHint(error, session)
      session.logLine(`${id} is skipped: ${code}: ${error.message}`, { id, code, hint })
    } else if (!flags.quiet) session.logLine(`${id} is skipped: ${notice}`, { id, code })
    return EXIT_SUCCESS
  }
}

/** Errors that are no failure of `--all`: another process was faster, or only a person can decide. */
const NO_FAILURE_OF_ALL: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_LOCKED',
  'ERR_SPOOL_NOT_FOUND',
  'ERR_SPOOL_UNSEALED',
  'ERR_SPOOL_OBJECT_EXISTS',
  'ERR_SPOOL_ENDPOINT',
])

/** What another process did with an upload after it was listed. There is nothing left to do. */
const SETTLED_ELSEWHERE: Readonly<Partial<Record<SpoolErrorCode, string>>> = {
  ERR_SPOOL_LOCKED: 'another process works on it',
  ERR_SPOOL_NOT_FOUND: 'another process finished or aborted it meanwhile',
  ERR_SPOOL_UNSEALED: 'a new stream took over and needs its source again',
}
