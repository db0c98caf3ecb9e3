/** `oss-spool prune`: removes what nobody came back for. */
import { Option, type Command } from 'commander'
import type { Pruned } from '../../upload/prune.js'
import { confirmed } from '../confirm.js'
import { EXIT_DONE, EXIT_FAILED } from '../exit-status.js'
import { connectionOptions, examples, periodOption } from '../option.js'
import type { Session, SpoolFlags } from '../session.js'
import { printable } from '../text.js'

type PruneFlags = SpoolFlags & {
  readonly olderThan?: number
  readonly sealed?: boolean
  readonly orphans?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export function definePrune(program: Command, session: Session): void {
  const command = connectionOptions(program.command('prune'))
    .description('remove what nobody came back for')
    .addOption(periodOption('--older-than <TIME>', 'only what was idle for so long (default: 7d)'))
    .addOption(new Option('--sealed', 'sealed uploads, too: their bytes are lost'))
    .addOption(new Option('--orphans', 'upload ids on OSS that lost answers left behind'))
    .addOption(new Option('--dry-run', 'remove nothing, say what would be removed'))
    .addOption(new Option('--yes', 'do not ask'))
    .action((flags: PruneFlags) => session.run(flags, merged => prune(session, merged)))
  examples(command, [
    'oss-spool prune --older-than 30d --dry-run',
    'oss-spool prune --older-than 14d --orphans --yes',
  ])
}

async function prune(session: Session, flags: PruneFlags): Promise<number> {
  const { olderThan, sealed = false, orphans = false, dryRun = false } = flags
  const spool = await session.spool(flags, await session.connect(flags))
  const ask = !dryRun && !flags.yes
  if (ask && !(await confirmed(session, 'Remove what nobody came back for?'))) return EXIT_FAILED
  const age = olderThan === undefined ? {} : { olderThan }
  for (const one of await spool.prune({ ...age, sealed, orphans, dryRun })) {
    session.print(flags.json ? JSON.stringify(one) : printable(describe(one, dryRun)))
  }
  return EXIT_DONE
}

function describe({ kind, id, bucket, key, uploadId }: Pruned, dryRun: boolean): string {
  const object = key === undefined ? '' : ` (oss://${bucket}/${key})`
  const orphan = uploadId === undefined ? '' : ` ${uploadId}`
  return `${id}${object}: ${kind}${orphan} ${dryRun ? 'would be removed' : 'removed'}`
}
