/** `oss-spool resume`: finishes sealed and committed uploads without their sources. Designed to be run by cron. */
import { Option, type Command } from 'commander'
import { mapLimit } from '../../util/map-limit.js'
import type { Spool } from '../../spool.js'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import type { SpoolWarning } from '../../upload/run/context.js'
import { checkId } from '../../upload/model/names.js'
import type { UploadStatus } from '../../upload/maintenance/status.js'
import { EXIT_SUCCESS, UsageError, combineExitStatuses } from '../exit-status.js'
import { countOption, addExamples, addTransferOptions, valueOption } from '../shared-options.js'
import { parseMoveTarget } from '../target.js'
import type { CliConnection, ConnectionFlags } from '../connection.js'
import type { MoveTarget } from '../../spool-options.js'
import { startProgressDisplay, type ProgressDisplay, type ProgressFlags } from '../progress.js'
import { reportError, reportResult, reportWarnedError } from '../report.js'
import type { Session, SpoolFlags } from '../session.js'

type ResumeFlags = SpoolFlags &
  ProgressFlags & {
    readonly all?: boolean
    readonly force?: boolean
    readonly to?: string
    readonly parallel?: number
    readonly parallelUploads?: number
    readonly retries?: number
  }

export function defineResume(program: Command, session: Session): void {
  const command = addTransferOptions(program.command('resume'))
    .description('finish sealed and committed uploads without their sources')
    .argument('[ID...]')
    .addOption(new Option('--all', 'finish every sealed or committed upload of this endpoint'))
    .addOption(new Option('--force', 'replace an object that someone else wrote'))
    .addOption(
      valueOption(
        '--to <URL>',
        'publish it as oss://BUCKET/KEY instead, at the --endpoint, --region or --local given with it',
      ),
    )
    .addOption(countOption('--parallel-uploads <N>', 'uploads finished concurrently (default: 4)'))
    .action((ids: string[], flags: ResumeFlags) =>
      session.run(flags, merged => resumeUploads(session, ids, merged, flags)),
    )
  addExamples(command, [
    'oss-spool resume --all --quiet   # from cron: prints only results and failures',
    'oss-spool resume mydb-2026-11-23',
    'oss-spool resume mydb-2026-11-23 --to oss://backups/mydb-2026-11-23.dump --region cn-beijing',
  ])
}

async function resumeUploads(
  session: Session,
  ids: readonly string[],
  flags: ResumeFlags,
  givenFlags: ConnectionFlags,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected upload ids or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected upload ids or --all, not both')
  for (const id of ids) checkId(id)
  if (flags.to !== undefined && ids.length !== 1) {
    throw new UsageError('--to moves one upload: expected its id, and not --all')
  }
  const target = flags.to === undefined ? undefined : parseMoveTarget(flags.to)
  const connection = await session.connect(flags)
  const to = target && { ...target, ...moveEndpoint(connection, givenFlags) }
  const spool = await session.openSpool(flags, connection)
  const lostStatuses: number[] = []
  const onWarning = ({ cause }: SpoolWarning): void => {
    if (cause instanceof SpoolError) lostStatuses.push(reportWarnedError(session, cause, flags))
  }
  if (flags.all) spool.on('warning', onWarning) // listing warns of damaged uploads, which can never be finished
  const selectedIds = flags.all
    ? await selectResumableIds(session, spool, connection.endpoint, flags)
    : [...new Set(ids)]
  spool.off('warning', onWarning)
  if (selectedIds.length === 0 && lostStatuses.length === 0 && !flags.quiet)
    session.logLine('nothing to do')
  if (selectedIds.length === 0) return combineExitStatuses(lostStatuses)
  const name = selectedIds.length === 1 ? (selectedIds[0] ?? '') : `${selectedIds.length} uploads`
  const progress = startProgressDisplay(session, name, flags, selectedIds.length)
  const statuses = await mapLimit(flags.parallelUploads ?? 4, selectedIds, id =>
    session.signal.aborted
      ? Promise.resolve(EXIT_SUCCESS) // not started, so there is nothing to report
      : resumeOne(session, spool, id, progress, flags, to),
  )
  progress.stop()
  return combineExitStatuses([...lostStatuses, ...statuses])
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
      ...(flags.parallel === undefined ? {} : { parallel: flags.parallel }),
      ...(flags.retries === undefined ? {} : { retry: { attempts: flags.retries } }),
    })
    reportResult(session, result, flags)
    return EXIT_SUCCESS
  } catch (error) {
    const isSkipped = flags.all && error instanceof SpoolError && NO_FAILURE_OF_ALL.has(error.code)
    if (!isSkipped) return reportError(session, error, flags, { command: 'oss-spool resume' })
    session.logLine(`${id} is skipped: ${error.code}: ${error.message}`)
    session.log(error.hint)
    return EXIT_SUCCESS
  }
}

/** Errors that are no failure of `--all`: another process was faster, or only a person can decide. */
const NO_FAILURE_OF_ALL: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_LOCKED',
  'ERR_SPOOL_NOT_FOUND',
  'ERR_SPOOL_UNSEALED',
  'ERR_SPOOL_OBJECT_EXISTS',
])

/** Resolves to the ids that can be finished. Logs why the others cannot. */
async function selectResumableIds(
  session: Session,
  spool: Spool,
  endpoint: string,
  flags: ResumeFlags,
): Promise<string[]> {
  const resumableIds: string[] = []
  for (const status of await spool.uploads({ all: true })) {
    const reason =
      status.endpoint === endpoint
        ? notResumableReason(status, flags.force === true)
        : `it belongs to ${status.endpoint}`
    if (reason === undefined) {
      resumableIds.push(status.id)
    } else if (!flags.quiet) {
      const object = `oss://${status.bucket}/${status.key}`
      session.logLine(`${status.id} (${object}) is skipped: ${reason}`)
    }
  }
  return resumableIds
}

function notResumableReason(
  { phase, resumable, committed, owner, error }: UploadStatus,
  force: boolean,
): string | undefined {
  if (owner !== undefined) {
    return phase === 'spooling'
      ? 'its source is still being read'
      : `process ${owner.pid} on ${owner.host} works on it`
  }
  if (!resumable) return 'it is not sealed and needs its source again'
  if (error?.code === 'ERR_SPOOL_OBJECT_EXISTS' && !force) {
    return 'the object already exists; use --force to replace it'
  }
  // A committed upload is not read in place: its source failed after the commit.
  if (error?.code === 'ERR_SPOOL_SOURCE_FAILED' && committed === undefined) {
    return 'its file has changed; upload it again'
  }
  return undefined
}
