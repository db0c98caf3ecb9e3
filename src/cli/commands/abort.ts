/** `oss-spool abort`: gives uploads up, here and on OSS. */
import { confirmed } from '../confirm.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE, EXIT_FAILED, UsageError, worst } from '../exit-status.js'
import { reportError, type ReportFlags } from '../report.js'
import type { Session } from '../session.js'

export type AbortOptions = ConnectionFlags &
  ReportFlags & { spool?: string; all?: boolean; yes?: boolean }

export async function abort(
  session: Session,
  ids: readonly string[],
  flags: AbortOptions,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected the IDs of uploads, or --all')
  const { io } = session
  const spool = await session.spool(flags)
  const chosen = flags.all ? (await spool.uploads()).map(({ id }) => id) : ids
  if (chosen.length === 0) return EXIT_DONE
  const what = chosen.length === 1 ? chosen[0] : `${chosen.length} uploads`
  const question = `Give up ${what}, here and on OSS? Their bytes are lost.`
  if (!flags.yes && !(await confirmed(io, question))) return EXIT_FAILED
  const statuses: number[] = []
  for (const id of chosen) {
    try {
      await spool.abort(id)
      io.stdout.write(
        flags.json ? `${JSON.stringify({ id, aborted: true })}\n` : `${id}: aborted\n`,
      )
      statuses.push(EXIT_DONE)
    } catch (error) {
      statuses.push(reportError(io, error, flags))
    }
  }
  return worst(statuses)
}
