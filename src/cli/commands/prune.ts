/** `oss-spool prune`: removes stale uploads, receipts and quarantined files. */
import { Option, type Command } from 'commander'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import type { Pruned } from '../../upload/maintenance/prune.js'
import { confirm } from '../confirm.js'
import type { Spool } from '../../spool.js'
import { EXIT_SUCCESS, EXIT_FAILURE, UsageError } from '../exit-status.js'
import {
  addConnectionOptions,
  addExamples,
  addFleetOptions,
  addSettings,
} from '../shared-options.js'
import { reportFailure } from '../report.js'
import { fleetOptions, type FleetRecordFlags } from '../fleet-records.js'
import type { Session, SpoolFlags } from '../session.js'

type PruneFlags = SpoolFlags &
  FleetRecordFlags & {
    readonly olderThan?: number
    readonly sealed?: boolean
    readonly orphans?: boolean
    readonly unknownJobs?: boolean
    readonly dryRun?: boolean
    readonly yes?: boolean
  }

export function definePrune(program: Command, session: Session): void {
  const command = addFleetOptions(addConnectionOptions(program.command('prune')))
    .description('remove stale uploads, receipts and quarantined files')
    .addOption(new Option('--yes', 'do not ask for confirmation'))
    .action((flags: PruneFlags) => session.run(flags, merged => pruneSpool(session, merged)))
  addExamples(addSettings(command, 'olderThan', 'sealed', 'orphans', 'unknownJobs', 'dryRun'), [
    'oss-spool prune --older-than 30d --dry-run',
    'oss-spool prune --older-than 14d --orphans --yes',
    'oss-spool prune --fleet oss-spool --unknown-jobs --dry-run',
  ])
}

async function pruneSpool(session: Session, flags: PruneFlags): Promise<number> {
  const { olderThan, sealed = false, orphans = false, unknownJobs = false, dryRun = false } = flags
  if (unknownJobs && !session.selectsFleet)
    throw new UsageError('--unknown-jobs needs a fleet: add --fleet NAME')
  const connection = await session.connect(flags)
  const spool = await session.openSpool(flags, connection, await fleetOptions(session, flags))
  const needsConfirmation = !dryRun && !flags.yes
  if (needsConfirmation && !(await confirm(session, questionFor(flags)))) return EXIT_FAILURE
  const olderThanOption = olderThan === undefined ? {} : { olderThan }
  let status = EXIT_SUCCESS
  spool.on('warning', ({ cause }) => {
    if (!(cause instanceof SpoolError)) return
    if (!NO_FAILURE.has(cause.code)) status = EXIT_FAILURE
  })
  const ofUnknownJobs = unknownJobs ? await pruneUnknownJobs(session, flags, spool) : []
  const stale = await spool.prune({ ...olderThanOption, sealed, orphans, dryRun })
  // What was only listed is still there.
  const listed = new Set(ofUnknownJobs.map(({ id }) => id))
  const others = stale.filter(({ kind, id }) => kind !== 'upload' || !listed.has(id))
  for (const pruned of [...ofUnknownJobs, ...others]) {
    if (pruned.error !== undefined) status = EXIT_FAILURE
    reportPruned(session, pruned, flags)
  }
  return status
}

function questionFor({ sealed = false, unknownJobs = false }: PruneFlags): string {
  const items = 'stale uploads, receipts and quarantined files'
  const subject = unknownJobs ? `uploads without a job, and ${items}` : items
  const isLost = sealed || unknownJobs
  const loss = isLost ? ' The bytes of sealed and committed uploads will be lost.' : ''
  return `Remove ${subject}?${loss}`
}

async function pruneUnknownJobs(
  session: Session,
  flags: PruneFlags,
  spool: Spool,
): Promise<Pruned[]> {
  const { openQueue } = await import('../jobs/open-queue.js')
  const queue = await openQueue(session, flags)
  return queue.pruneUnknownJobs(spool, { dryRun: flags.dryRun === true })
}

/** A damaged upload is in the quarantine now, and one of another embedded OSS is pruned with `--local`. */
const NO_FAILURE: ReadonlySet<SpoolErrorCode> = new Set(['ERR_SPOOL_CORRUPT', 'ERR_SPOOL_ENDPOINT'])

function reportPruned(session: Session, pruned: Pruned, { dryRun, json }: PruneFlags): void {
  const { error, ...entry } = pruned
  if (error === undefined) {
    const line = formatPruned(entry, dryRun === true)
    if (json) session.printJson(entry)
    else session.print(line)
    return
  }
  const report = reportFailure(session, error)
  if (json) session.printJson({ ...entry, error: report })
}

function formatPruned({ kind, id, bucket, key, uploadId }: Pruned, dryRun: boolean): string {
  const object = key === undefined ? '' : ` (oss://${bucket}/${key})`
  const orphan = uploadId === undefined ? '' : ` ${uploadId}`
  return `${id}${object}: ${kind}${orphan} ${dryRun ? 'would be removed' : 'removed'}`
}
