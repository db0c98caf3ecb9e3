/** `oss-spool prune`: removes what nobody came back for. */
import type { Pruned } from '../../upload/prune.js'
import type { ConnectionFlags } from '../connection.js'
import { confirmed } from '../confirm.js'
import { EXIT_DONE, EXIT_FAILED } from '../exit-status.js'
import type { ReportFlags } from '../report.js'
import type { Session } from '../session.js'

export type PruneOptions = ConnectionFlags &
  ReportFlags & {
    spool?: string
    quiet?: boolean
    olderThan: number
    sealed?: boolean
    orphans?: boolean
    dryRun?: boolean
    yes?: boolean
  }

export async function prune(session: Session, flags: PruneOptions): Promise<number> {
  const { io } = session
  const { olderThan, sealed = false, orphans = false, dryRun = false } = flags
  const spool = await session.spool(flags)
  if (!dryRun && !flags.yes && !(await confirmed(io, 'Remove what nobody came back for?'))) {
    return EXIT_FAILED
  }
  const pruned = await spool.prune({ olderThan, sealed, orphans, dryRun })
  for (const one of pruned) {
    const line = flags.json ? JSON.stringify(one) : describe(one, dryRun)
    io.stdout.write(`${line}\n`)
  }
  return EXIT_DONE
}

function describe({ kind, id, bucket, key, uploadId }: Pruned, dryRun: boolean): string {
  const object = key === undefined ? '' : ` (oss://${bucket}/${key})`
  const orphan = uploadId === undefined ? '' : ` ${uploadId}`
  return `${id}${object}: ${kind}${orphan} ${dryRun ? 'would be removed' : 'removed'}`
}
