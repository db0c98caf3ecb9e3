/**
 * `oss-spool split`: lines of standard input into many objects. No failure of OSS stops the reading: objects that
 * cannot be published wait on the disk. Lines are committed shortly after they were read.
 */
import type { Command } from 'commander'
import { SpoolError } from '../../errors.js'
import type { RotateStream } from '../../etl/rotate.js'
import type { Spool } from '../../spool.js'
import { errorMessage } from '../../util/error-shape.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import { combineExitStatuses, EXIT_RESUMABLE, EXIT_SUCCESS } from '../exit-status.js'
import { readLines } from '../line-reader.js'
import { monitored } from '../monitoring.js'
import { reportError } from '../report.js'
import type { Session } from '../session.js'
import { addExamples, addSplitOptions } from '../shared-options.js'
import {
  currentRun,
  firstKey,
  planSplit,
  type SplitPlan,
  type SplitPlanFlags,
} from '../split-options.js'
import { openStdin } from '../stdin.js'
import { SplitReport } from '../split-report.js'
import { parseTarget } from '../target.js'
import { formatBytes, formatDuration } from '../units.js'
import { toUploadOptions, type UploadFlags } from '../upload-flags.js'

type SplitFlags = UploadFlags & SplitPlanFlags

/** Objects that accept lines concurrently. Each has descriptors, a temp file, and a compressor. */
const MAX_OPEN_OBJECTS = 100

/** Objects that are sent concurrently. */
const MAX_SENDING = 4

/**
 * ms after a signal in which lines may still be written, and objects be sealed, if --max-spool makes them wait for OSS.
 * Otherwise only this disk is in the way, and no line is given up; a second signal exits at once.
 */
const BOUNDED_WRITE_GRACE_MS = 5000
const BOUNDED_SEAL_GRACE_MS = 20_000

/** ms after a signal in which objects may still be published. */
const PUBLISH_GRACE_MS = 5000

export function defineSplit(program: Command, session: Session): void {
  const command = addSplitOptions(program.command('split'))
    .description('split lines of standard input into objects; for logs and queues')
    .argument(
      '<oss://BUCKET/TEMPLATE>',
      'the keys, with {job} and {seq} or {seq:05}, and optionally {partition} {yyyy} {MM} {dd} {HH} {mm} {ss} (UTC)',
    )
    .action((target: string, flags: SplitFlags) =>
      session.run(
        flags,
        monitored(session, 'split', merged => splitStdin(session, target, merged)),
      ),
    )
  addExamples(command, [
    `journalctl -f -o json | oss-spool split --gzip --every 64MiB --every 10m \\
    'oss://logs/{yyyy}/{MM}/{dd}/{job}-{seq:05}.jsonl.gz'`,
    `kcat -C -t orders | oss-spool split --partition country --every 10000lines \\
    'oss://orders/country={partition}/{job}-{seq:05}.jsonl'`,
  ])
  command.addHelpText(
    'after',
    `
Every line is on disk --commit after it was read. After a crash, "oss-spool
resume --all" publishes it. Standard input never waits for OSS, unless
--max-spool is reached.`,
  )
}

async function splitStdin(session: Session, target: string, flags: SplitFlags): Promise<number> {
  const { bucket, key } = parseTarget(target)
  const plan = planSplit(key, flags, currentRun())
  // `rotate` compresses, so that each commit ends a member.
  const { expect: _expect, compression: transform, ...upload } = await toUploadOptions(flags)
  if (flags.dryRun) return describePlan(session, bucket, plan, flags)
  const input = openStdin(session)
  const spool = await session.openSpool(flags, await session.connect(flags, bucket))
  const report = new SplitReport(session, target, flags)
  const { rotate } = await import('../../etl/rotate.js')
  const { job, template, every, commitMs, partitionBy } = plan
  const sink = rotate<Buffer>(spool, {
    job,
    key,
    every,
    commit: { ms: commitMs, onUploadFailure: error => report.failure(error) },
    maxOpen: MAX_OPEN_OBJECTS,
    maxEnding: MAX_SENDING,
    upload: { ...upload, start: 'first-part' },
    ...omitUndefined({ transform, partitionBy }),
    ...(template.hasDate ? { time: 'arrival' } : {}),
  })
  sink.on('error', () => {}) // `result` rejects with it
  sink.on('object', (_object, result) => report.result(result))
  sink.on('warning', ({ objects }) => report.earlyEnds(objects, MAX_OPEN_OBJECTS))
  const isBounded = flags.maxSpool !== undefined
  const writeGraceMs = isBounded ? BOUNDED_WRITE_GRACE_MS : undefined
  const writing = destroyAfter(sink, session.signal, writeGraceMs)
  sink.on('close', () => input.destroy()) // otherwise, a failure would be reported after the next line only
  const inputError = await feed(sink, readLines(input, session.signal), report)
  writing.cancel()
  const sealGraceMs = isBounded ? BOUNDED_SEAL_GRACE_MS : undefined
  const outputError = await finish(sink, session, sealGraceMs)
  report.stop()
  const errors = [inputError, outputError].filter(error => error !== undefined)
  if (errors.length === 0) return EXIT_SUCCESS
  const context = { command: 'oss-spool split', object: target }
  const statuses = errors.map(error => reportError(session, error, flags, context))
  return (await reportLeft(session, spool, job)) ? EXIT_RESUMABLE : combineExitStatuses(statuses)
}

/** Writes all lines. Resolves with the error of the input. Ends as well if the sink fails. */
async function feed(
  sink: RotateStream<Buffer>,
  batches: AsyncIterable<readonly Buffer[]>,
  report: SplitReport,
): Promise<SpoolError | undefined> {
  try {
    for await (const lines of batches) {
      for (const line of lines) sink.write(line)
      report.read(lines.reduce((sum, { length }) => sum + length, 0))
      if (sink.writableNeedDrain) await drained(sink)
      if (sink.destroyed) break
    }
    return undefined
  } catch (error) {
    const message = `Reading standard input failed: ${errorMessage(error)}. All lines before that were accepted`
    const hint = 'Fix the source, and run the command again with the input that follows.'
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { cause: error, hint })
  }
}

/** Publishes everything; after a signal, only what OSS accepts soon. Resolves with the failure. */
async function finish(
  sink: RotateStream<Buffer>,
  session: Session,
  sealGraceMs: number | undefined,
): Promise<unknown> {
  const { signal } = session
  sink.end()
  const sealing = destroyAfter(sink, signal, sealGraceMs)
  const isDurable = await sink.commit().then(
    () => true,
    () => false,
  )
  sealing.cancel()
  const publishing = destroyAfter(sink, signal, PUBLISH_GRACE_MS)
  const failure = await sink.result.then(
    () => undefined,
    (error: unknown) => ({ error }),
  )
  publishing.cancel()
  if (failure === undefined) return undefined
  if (!signal.aborted) return failure.error
  const extent = isDurable
    ? 'All lines that were read are kept on this disk'
    : 'Lines that were read after the last commit are lost'
  const message = `Stopped by ${String(signal.reason)} before OSS has stored all objects. ${extent}`
  const hint = `Run "${session.propose('resume', '--all')}" to publish what is kept.`
  const cause = failure.error
  return new SpoolError('ERR_SPOOL_ABORTED', message, { hint, cause, resumable: true })
}

/** Resolves when a sink accepts more lines, or is closed. */
function drained(sink: RotateStream<Buffer>): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      sink.off('drain', done).off('close', done)
      resolve()
    }
    sink.on('drain', done).on('close', done)
  })
}

/** Destroys a sink `ms` after the signal, or after this call if that is later; never if `ms` is undefined. */
function destroyAfter(
  sink: RotateStream<Buffer>,
  signal: AbortSignal,
  ms: number | undefined,
): { cancel(): void } {
  if (ms === undefined) return { cancel: () => {} }
  let timer: NodeJS.Timeout | undefined
  const start = (): void => {
    timer = setTimeout(() => sink.destroy(), ms)
  }
  if (signal.aborted) start()
  else signal.addEventListener('abort', start, { once: true })
  return {
    cancel: () => {
      signal.removeEventListener('abort', start)
      clearTimeout(timer)
    },
  }
}

/** Names the objects of this run that `resume` can publish. Resolves with whether there are any. */
async function reportLeft(session: Session, spool: Spool, job: string): Promise<boolean> {
  const uploads = await spool.uploads()
  const left = uploads.filter(({ id, resumable }) => resumable && id.startsWith(`${job}-`))
  if (left.length === 0) return false
  const objects = left.length === 1 ? '1 object is' : `${left.length} objects are`
  const command = session.propose('resume', '--all')
  session.logLine(`${objects} kept on this disk. Run "${command}" to publish`, { level: 'warn' })
  return true
}

/** Prints the plan of `--dry-run`. Reads no line. */
async function describePlan(
  session: Session,
  bucket: string,
  plan: SplitPlan,
  flags: SplitFlags,
): Promise<number> {
  await session.connectOffline(flags, bucket) // as a run would
  const { bytes, records: lines, ms } = plan.every
  const first = firstKey(plan, flags.partition)
  const every = omitUndefined({ bytes, lines, ms })
  const { job, commitMs } = plan
  if (flags.json) {
    session.printJson({
      dryRun: true,
      action: 'split',
      bucket,
      key: first,
      job,
      every,
      commit: commitMs,
    })
    return EXIT_SUCCESS
  }
  const limits = [
    ...(bytes === undefined ? [] : [formatBytes(bytes)]),
    ...(ms === undefined ? [] : [formatDuration(ms)]),
    ...(lines === undefined ? [] : [`${lines} lines`]),
  ]
  const ends = limits.length === 0 ? 'one object' : `a new object every ${limits.join(' or ')}`
  session.print(
    `oss://${bucket}/${first}: first object of the lines of standard input, ${ends}, committed after ${formatDuration(commitMs)}`,
  )
  return EXIT_SUCCESS
}
