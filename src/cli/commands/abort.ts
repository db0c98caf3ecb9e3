/** `oss-spool abort`: gives uploads up, here and on OSS. */
import { Option, type Command } from 'commander'
import { checkId } from '../../upload/names.js'
import { confirmed } from '../confirm.js'
import { EXIT_DONE, EXIT_FAILED, UsageError, worst } from '../exit-status.js'
import { connectionOptions, examples } from '../option.js'
import { reportError } from '../report.js'
import type { Session, SpoolFlags } from '../session.js'

type AbortFlags = SpoolFlags & { readonly all?: boolean; readonly yes?: boolean }

export function defineAbort(program: Command, session: Session): void {
  const command = connectionOptions(program.command('abort'))
    .description('give uploads up, here and on OSS: their bytes are lost')
    .argument('[ID...]')
    .addOption(new Option('--all', 'every unfinished upload of this endpoint'))
    .addOption(new Option('--yes', 'do not ask'))
    .action((ids: string[], flags: AbortFlags) =>
      session.run(flags, merged => abort(session, ids, merged)),
    )
  examples(command, ['oss-spool abort mydb-2026-11-23', 'oss-spool abort --all --local --yes'])
}

async function abort(session: Session, ids: readonly string[], flags: AbortFlags): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected the IDs of uploads, or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected IDs or --all, not both')
  for (const id of ids) checkId(id)
  const spool = await session.spool(flags, await session.connect(flags))
  const chosen = flags.all ? (await spool.uploads()).map(({ id }) => id) : [...new Set(ids)]
  if (chosen.length === 0) return EXIT_DONE
  const what = chosen.length === 1 ? chosen[0] : `${chosen.length} uploads`
  const question = `Give up ${what}, here and on OSS? Their bytes are lost.`
  if (!flags.yes && !(await confirmed(session, question))) return EXIT_FAILED
  const statuses: number[] = []
  for (const id of chosen) {
    try {
      await spool.abort(id)
      session.print(flags.json ? JSON.stringify({ id, aborted: true }) : `${id}: aborted`)
      statuses.push(EXIT_DONE)
    } catch (error) {
      statuses.push(reportError(session, error, flags, { command: 'oss-spool abort' }))
    }
  }
  return worst(statuses)
}
