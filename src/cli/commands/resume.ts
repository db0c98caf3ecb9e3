/** `oss-spool resume`: finishes what is sealed, without the sources. Made to be run by cron. */
import { Option, type Command } from 'commander'
import { mapLimit } from '../../util/map-limit.js'
import type { Spool } from '../../spool.js'
import { SpoolError } from '../../errors.js'
import type { SpoolWarning } from '../../upload/context.js'
import { checkId } from '../../upload/names.js'
import type { UploadStatus } from '../../upload/status.js'
import { EXIT_DONE, UsageError, worst } from '../exit-status.js'
import { countOption, examples, transferOptions } from '../option.js'
import { display, type Display, type DisplayFlags } from '../progress.js'
import { reportError, reportResult, reportWarned } from '../report.js'
import type { Session, SpoolFlags } from '../session.js'

type ResumeFlags = SpoolFlags &
  DisplayFlags & {
    readonly all?: boolean
    readonly force?: boolean
    readonly parallel?: number
    readonly parallelUploads?: number
    readonly retries?: number
  }

export function defineResume(program: Command, session: Session): void {
  const command = transferOptions(program.command('resume'))
    .description('finish sealed uploads, without their sources')
    .argument('[ID...]')
    .addOption(new Option('--all', 'every sealed upload of this endpoint'))
    .addOption(new Option('--force', 'publish over an object that someone else wrote'))
    .addOption(countOption('--parallel-uploads <N>', 'uploads at a time (default: 4)'))
    .action((ids: string[], flags: ResumeFlags) =>
      session.run(flags, merged => resume(session, ids, merged)),
    )
  examples(command, [
    'oss-spool resume --all --quiet   # from cron: says nothing unless something was done or failed',
    'oss-spool resume mydb-2026-11-23',
  ])
}

async function resume(
  session: Session,
  ids: readonly string[],
  flags: ResumeFlags,
): Promise<number> {
  if (ids.length === 0 && !flags.all) throw new UsageError('Expected the IDs of uploads, or --all')
  if (ids.length > 0 && flags.all) throw new UsageError('Expected IDs or --all, not both')
  for (const id of ids) checkId(id)
  const spool = await session.spool(flags, await session.connect(flags))
  const lost: number[] = []
  const onWarning = ({ cause }: SpoolWarning): void => {
    if (cause instanceof SpoolError) lost.push(reportWarned(session, cause, flags))
  }
  if (flags.all) spool.on('warning', onWarning) // what the list tells of was not finished, and never will be
  const chosen = flags.all ? await finishable(session, spool, flags) : [...new Set(ids)]
  spool.off('warning', onWarning)
  if (chosen.length === 0 && lost.length === 0 && !flags.quiet) session.say('nothing to do')
  if (chosen.length === 0) return worst(lost)
  const name = chosen.length === 1 ? (chosen[0] ?? '') : `${chosen.length} uploads`
  const shown = display(session, name, flags, chosen.length)
  const statuses = await mapLimit(flags.parallelUploads ?? 4, chosen, id =>
    session.signal.aborted
      ? Promise.resolve(EXIT_DONE) // what was not begun is not spoken of
      : resumeOne(session, spool, id, shown, flags),
  )
  shown.end()
  return worst([...lost, ...statuses])
}

async function resumeOne(
  session: Session,
  spool: Spool,
  id: string,
  shown: Display,
  flags: ResumeFlags,
): Promise<number> {
  try {
    const result = await spool.resume(id, {
      signal: session.signal,
      force: flags.force === true,
      onProgress: event => shown.show(id, event),
      ...(flags.parallel === undefined ? {} : { parallel: flags.parallel }),
      ...(flags.retries === undefined ? {} : { retry: { attempts: flags.retries } }),
    })
    reportResult(session, result, flags)
    return EXIT_DONE
  } catch (error) {
    return reportError(session, error, flags, { command: 'oss-spool resume' })
  }
}

/** The ids that can be finished; the others are named on standard error. */
async function finishable(session: Session, spool: Spool, flags: ResumeFlags): Promise<string[]> {
  const chosen: string[] = []
  for (const status of await spool.uploads()) {
    const reason = whyNot(status, flags.force === true)
    if (reason === undefined) {
      chosen.push(status.id)
    } else if (!flags.quiet) {
      const object = `oss://${status.bucket}/${status.key}`
      session.say(`${status.id} (${object}) is left alone: ${reason}`)
    }
  }
  return chosen
}

function whyNot({ phase, owner, error }: UploadStatus, force: boolean): string | undefined {
  if (phase === 'spooling') {
    return owner === undefined ? 'its source is needed again' : 'its source is still being read'
  }
  if (error?.code === 'ERR_SPOOL_OBJECT_EXISTS' && !force) {
    return 'the object is there already; --force publishes over it'
  }
  if (error?.code === 'ERR_SPOOL_SOURCE_FAILED') return 'its file has changed: put it again'
  return undefined
}
