/** `oss-spool abort`: aborts uploads, on this disk and on OSS. */
import { Option, type Command } from 'commander'
import { confirm } from '../confirm.js'
import { EXIT_SUCCESS, EXIT_FAILURE, UsageError, combineExitStatuses } from '../exit-status.js'
import { ID_DESCRIPTION, addConnectionOptions, addExamples } from '../shared-options.js'
import { reportError } from '../report.js'
import { resolveIds } from '../resolve-ids.js'
import type { Session, SpoolFlags } from '../session.js'

type AbortFlags = SpoolFlags & { readonly all?: boolean; readonly yes?: boolean }

export function defineAbort(program: Command, session: Session): void {
  const command = addConnectionOptions(program.command('abort'))
    .description('abort uploads, on this disk and on OSS; their bytes are lost')
    .argument('[ID...]', ID_DESCRIPTION)
    .addOption(new Option('--all', 'abort every unfinished upload of this endpoint'))
    .addOption(new Option('--yes', 'do not ask for confirmation'))
    .action((ids: string[], flags: AbortFlags) =>
      session.run(flags, merged => abortUploads(session, ids, merged)),
    )
  addExamples(command, ['oss-spool abort mydb-2026-11-23', 'oss-spool abort --all --local --yes'])
}

async function abortUploads(
  session: Session,
  ids: readonly string[],
  flags: AbortFlags,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected upload ids or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected upload ids or --all, not both')
  const connection = await session.connect(flags)
  const spool = await session.openSpool(flags, connection)
  const selectedIds = flags.all
    ? (await spool.uploads()).map(({ id }) => id)
    : await resolveIds(session, ids, flags, connection.endpoint)
  if (selectedIds.length === 0) return EXIT_SUCCESS
  const subject = selectedIds.length === 1 ? selectedIds[0] : `${selectedIds.length} uploads`
  const question = `Abort ${subject}, on this disk and on OSS? All spooled bytes will be lost.`
  if (!flags.yes && !(await confirm(session, question))) return EXIT_FAILURE
  const statuses: number[] = []
  for (const id of selectedIds) {
    try {
      await spool.abort(id)
      session.print(flags.json ? JSON.stringify({ id, aborted: true }) : `${id}: aborted`)
      statuses.push(EXIT_SUCCESS)
    } catch (error) {
      statuses.push(reportError(session, error, flags, { command: 'oss-spool abort' }))
    }
  }
  return combineExitStatuses(statuses)
}
