/** `oss-spool abort`: aborts uploads, on this disk and on OSS. */
import { Option, type Command } from 'commander'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import type { Spool } from '../../spool.js'
import { logSkipped, ownUploadsOf, ownerText, proposeFor } from '../all-uploads.js'
import type { CliConnection } from '../connection.js'
import { confirm } from '../confirm.js'
import { EXIT_SUCCESS, EXIT_FAILURE, UsageError } from '../exit-status.js'
import {
  ID_DESCRIPTION,
  addConnectionOptions,
  addExamples,
  addFleetOptions,
  addSettings,
} from '../shared-options.js'
import { toJsonLine } from '../../util/control-chars.js'
import { reportError } from '../report.js'
import { resolveIds } from '../resolve-ids.js'
import { fleetOptions, type FleetRecordFlags } from '../fleet-records.js'
import type { Session, SpoolFlags } from '../session.js'

type AbortFlags = SpoolFlags &
  FleetRecordFlags & {
    readonly all?: boolean
    readonly noRemote?: boolean
    readonly yes?: boolean
  }

export function defineAbort(program: Command, session: Session): void {
  const command = addFleetOptions(addConnectionOptions(program.command('abort')))
    .description('abort uploads, on this disk and on OSS; their bytes are lost')
    .argument('[ID...]', ID_DESCRIPTION)
    .addOption(new Option('--all', 'abort every unfinished upload of this endpoint'))
    .addOption(new Option('--yes', 'do not ask for confirmation'))
    .action((ids: string[], flags: AbortFlags) =>
      session.run(flags, merged => abortUploads(session, ids, merged)),
    )
  addExamples(addSettings(command, 'noRemote'), [
    'oss-spool abort mydb-2026-11-23',
    'oss-spool abort --all --local --yes',
    'oss-spool abort orders-2026-11-24 --fleet oss-spool',
  ])
}

async function abortUploads(
  session: Session,
  ids: readonly string[],
  flags: AbortFlags,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected upload ids or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected upload ids or --all, not both')
  if (flags.all && session.selectsFleet)
    throw new UsageError(
      '--all is not for a fleet: its uploads belong to jobs. Expected upload ids',
    )
  const connection = await (!flags.noRemote
    ? session.connect(flags)
    : openOfflineFor(session, flags))
  const spool = await session.openSpool(flags, connection, await fleetOptions(session, flags))
  const isOwn = !flags.noRemote ? ownUploadsOf(connection) : undefined
  const selectedIds = flags.all
    ? await selectAbortable(session, spool, connection, flags)
    : await resolveIds(session, ids, flags, isOwn)
  if (selectedIds.length === 0) return EXIT_SUCCESS
  const subject = selectedIds.length === 1 ? selectedIds[0] : `${selectedIds.length} uploads`
  const here = session.selectsFleet ? 'in the fleet' : 'on this disk'
  const places = !flags.noRemote ? `${here} and on OSS` : `${here} only`
  const question = `Abort ${subject}, ${places}? All spooled bytes will be lost.`
  if (!flags.yes && !(await confirm(session, question))) return EXIT_FAILURE
  let status = EXIT_SUCCESS
  for (const id of selectedIds) {
    try {
      await spool.abortFromAnyHost(id, { remote: !flags.noRemote })
      session.print(formatAborted(id, here, flags))
    } catch (error) {
      if (flags.all && error instanceof SpoolError && SETTLED_ELSEWHERE.has(error.code)) {
        if (!flags.quiet)
          session.logLine(`${id} is skipped: another process works on it or ended it`, {
            id,
            code: error.code,
          })
        continue
      }
      reportError(session, error, flags, { command: 'oss-spool abort' })
      status = EXIT_FAILURE // also if `resume` could finish it: it was to be given up
    }
  }
  return status
}

/** Errors that are no failure of `--all`. */
const SETTLED_ELSEWHERE: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_LOCKED',
  'ERR_SPOOL_NOT_FOUND',
])

/** Needs no credentials and, for ids, no endpoint either. */
async function openOfflineFor(session: Session, flags: AbortFlags): Promise<CliConnection> {
  return session.connectOffline(flags.all ? flags : { local: '.' })
}

/** Resolves to the ids of this endpoint that no process works on. Logs why the others are left out. */
async function selectAbortable(
  session: Session,
  spool: Spool,
  connection: CliConnection,
  flags: AbortFlags,
): Promise<string[]> {
  const ids: string[] = []
  const isOwn = ownUploadsOf(connection)
  const uploads = await spool.uploads({ all: true })
  for (const status of uploads) {
    if (status.owner === undefined && isOwn(status)) ids.push(status.id)
    else if (flags.quiet) continue
    else if (status.owner !== undefined) logSkipped(session, status, ownerText(status))
    else {
      const command = proposeFor(session, status, false, 'abort')
      logSkipped(
        session,
        status,
        `it belongs to ${status.endpoint}`,
        `To abort it, run "${command}".`,
      )
    }
  }
  if (uploads.length === 0 && !flags.quiet) session.logLine('nothing to do')
  return ids
}

function formatAborted(id: string, here: string, { json, noRemote }: AbortFlags): string {
  if (json) return toJsonLine({ id, aborted: true, ...(noRemote ? { remote: false } : {}) })
  return noRemote ? `${id}: aborted ${here} only` : `${id}: aborted`
}
