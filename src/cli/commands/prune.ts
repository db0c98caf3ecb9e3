/** `oss-spool prune`: removes stale uploads, receipts and quarantined files. */
import { Option, type Command } from 'commander'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import type { Pruned } from '../../upload/maintenance/prune.js'
import { confirm } from '../confirm.js'
import { EXIT_SUCCESS, EXIT_FAILURE } from '../exit-status.js'
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
    readonly dryRun?: boolean
    readonly yes?: boolean
  }

export function definePrune(program: Command, session: Session): void {
  const command = addFleetOptions(addConnectionOptions(program.command('prune')))
    .description('remove stale uploads, receipts and quarantined files')
    .addOption(new Option('--yes', 'do not ask for confirmation'))
    .action((flags: PruneFlags) => session.run(flags, merged => pruneSpool(session, merged)))
  addExamples(addSettings(command, 'olderThan', 'sealed', 'orphans', 'dryRun'), [
    'oss-spool prune --older-than 30d --dry-run',
    'oss-spool prune --older-than 14d --orphans --yes',
    'oss-spool prune --fleet oss-spool --dry-run',
  ])
}

async function pruneSpool(session: Session, flags: PruneFlags): Promise<number> {
  const { olderThan, sealed = false, orphans = false, dryRun = false } = flags
  const connection = await session.connect(flags)
  const spool = await session.openSpool(flags, connection, await fleetOptions(session, flags))
  const needsConfirmation = !dryRun && !flags.yes
  const question = sealed
    ? 'Remove stale uploads, receipts and quarantined files? The bytes of sealed and committed uploads will be lost.'
    : 'Remove stale uploads, receipts and quarantined files?'
  if (needsConfirmation && !(await confirm(session, question))) return EXIT_FAILURE
  const olderThanOption = olderThan === undefined ? {} : { olderThan }
  let status = EXIT_SUCCESS
  spool.on('warning', ({ cause }) => {
    if (!(cause instanceof SpoolError)) return
    if (!NO_FAILURE.has(cause.code)) status = EXIT_FAILURE
  })
  for (const pruned of await spool.prune({ ...olderThanOption, sealed, orphans, dryRun })) {
    if (pruned.error !== undefined) status = EXIT_FAILURE
    reportPruned(session, pruned, flags)
  }
  return status
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
