/** `oss-spool resume`: finishes what is sealed, without the sources. */
import type { Spool } from '../../spool.js'
import type { UploadStatus } from '../../upload/status.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE, UsageError, worst } from '../exit-status.js'
import { progressDisplay } from '../progress-bar.js'
import { reportError, reportResult, type ReportFlags } from '../report.js'
import type { Session } from '../session.js'

export type ResumeOptions = ConnectionFlags &
  ReportFlags & {
    spool?: string
    quiet?: boolean
    all?: boolean
    force?: boolean
    parallel?: number
    retries?: number
    maxRate?: number
  }

export async function resume(
  session: Session,
  ids: readonly string[],
  flags: ResumeOptions,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected the IDs of uploads, or --all')
  const { io } = session
  const spool = await session.spool(flags)
  const chosen = flags.all ? await finishable(session, spool, flags.force === true) : ids
  const statuses: number[] = []
  for (const id of chosen) {
    if (session.signal.aborted) break
    statuses.push(await resumeOne(session, spool, id, flags))
  }
  if (flags.all && chosen.length === 0 && !flags.quiet && !flags.json) {
    io.stderr.write('oss-spool: nothing to do\n')
  }
  return worst(statuses)
}

async function resumeOne(
  session: Session,
  spool: Spool,
  id: string,
  flags: ResumeOptions,
): Promise<number> {
  const { io, signal } = session
  const display = await progressDisplay(io, id, flags)
  try {
    const result = await spool.resume(id, {
      signal,
      force: flags.force === true,
      onProgress: event => display.show(event),
      ...(flags.parallel === undefined ? {} : { parallel: flags.parallel }),
      ...(flags.retries === undefined ? {} : { retry: { attempts: flags.retries } }),
    })
    display.end()
    reportResult(io, result, flags)
    return EXIT_DONE
  } catch (error) {
    display.end()
    return reportError(io, error, flags)
  }
}

/** The ids that can be finished; the others are named on standard error. */
async function finishable({ io }: Session, spool: Spool, force: boolean): Promise<string[]> {
  const why = (status: UploadStatus): string | undefined => {
    if (status.phase === 'spooling') {
      return status.owner === undefined
        ? 'its source is needed again'
        : 'its source is still being read'
    }
    if (status.error?.code === 'ERR_SPOOL_OBJECT_EXISTS' && !force) {
      return 'the object is there already; --force publishes over it'
    }
    return undefined
  }
  const chosen: string[] = []
  for (const status of await spool.uploads()) {
    const reason = why(status)
    if (reason === undefined) chosen.push(status.id)
    else
      io.stderr.write(
        `oss-spool: ${status.id} (oss://${status.bucket}/${status.key}) is left alone: ${reason}\n`,
      )
  }
  return chosen
}
