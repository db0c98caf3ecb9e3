/**
 * `oss-spool worker`: uploads the jobs of a queue until SIGINT or SIGTERM, then returns unfinished jobs to
 * the queue, at once or after `--drain`.
 */
import { once } from 'node:events'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { checkInteger } from '../../errors.js'
import { EXIT_SUCCESS, UsageError } from '../exit-status.js'
import { addExamples, addWorkerOptions } from '../shared-options.js'
import { reportError, reportResult } from '../report.js'
import type { RedisFlags } from '../redis-connection.js'
import type { Session, SpoolFlags } from '../session.js'
import { errorCode } from '../../util/error-code.js'
import { formatDuration } from '../units.js'
import type { UploadStatus } from '../../upload/maintenance/status.js'
import type { WorkerMetrics } from '../worker-metrics.js'

interface WorkerFlags extends SpoolFlags, RedisFlags {
  readonly metrics?: string
  readonly sources?: string
  readonly bucket?: string
  readonly concurrency?: number
  readonly host?: string
  readonly health?: { readonly host: string; readonly port: number }
  readonly fleetRate?: number
  readonly hostTimeout?: number
  readonly hostQueueTimeout?: number
  readonly lockTimeout?: number
  readonly sandbox?: boolean
  readonly sourceIdleTimeout?: number
  readonly sourceTimeout?: number
  readonly drain?: number
  readonly partSize?: number
  readonly maxSpool?: number
  readonly parallel?: number | 'auto'
  readonly retries?: number
}

/** ms for sources to stop after their jobs were returned to the queue. */
const SOURCE_GRACE_MS = 1_000

export function defineWorker(program: Command, session: Session): void {
  const command = addWorkerOptions(program.command('worker'))
    .description('upload the jobs of a queue (BullMQ on Redis) as a member of a fleet')
    .action((flags: WorkerFlags) => session.run(flags, merged => runWorker(session, merged)))
  addExamples(command, [
    'REDIS_URL=redis://:secret@10.0.0.5 oss-spool worker --bucket exports --sources ./sources.mjs',
    'oss-spool worker --redis redis://10.0.0.5 --bucket exports --sources ./sources.mjs --health 9091',
  ])
}

async function runWorker(session: Session, flags: WorkerFlags): Promise<number> {
  const { bucket, drain = 0 } = flags
  checkInteger('drain', drain, 0, 2 ** 31 - 1)
  if (bucket === undefined) throw new UsageError('No bucket: set --bucket or OSS_BUCKET')
  if (flags.sources === undefined) throw new UsageError('No sources: set --sources')
  if (flags.metrics !== undefined) {
    const { checkMetricsPath } = await import('../metrics-file.js')
    checkMetricsPath(flags.metrics)
  }
  const { openFleet } = await import('../worker-connections.js')
  const { loadSandboxedSources, loadSources } = await import('../sources-file.js')
  const load = flags.sandbox === true ? loadSandboxedSources : loadSources
  const sources = await load(flags.sources)
  const projectFolders = [dirname(resolve(flags.sources)), process.cwd()]
  const connection = await session.connect(flags, bucket)
  const fleet = await openFleet(session, flags, projectFolders)
  session.proposeForQueue(fleet.queueName)
  const { omitUndefined } = await import('../../util/omit-undefined.js')
  const spool = await session.openSpool(flags, connection, {
    checkpointStore: fleet.checkpointStore,
    ...omitUndefined({
      maxRate:
        fleet.rateLimit !== undefined && flags.maxRate !== undefined
          ? [fleet.rateLimit, flags.maxRate]
          : fleet.rateLimit,
      partSize: flags.partSize,
      maxSpoolBytes: flags.maxSpool,
      parallel: flags.parallel,
      retry: flags.retries === undefined ? undefined : { attempts: flags.retries },
    }),
  })
  const uploadWorker = fleet.startWorker(spool, sources)
  uploadWorker.on('warning', ({ message }) => fleet.warn(message))
  const metrics = await startMetrics(session, flags, async () => {
    const { host } = fleet.checkpointStore
    return (await spool.uploads()).filter(status => status.host === host)
  })
  uploadWorker.on('completed', (_job, result) => {
    metrics?.jobCompleted(result.elapsed)
    reportResult(session, result, flags)
  })
  uploadWorker.on('failed', (job, error) => {
    const object = `oss://${bucket}/${job?.data.key ?? ''}`
    // BullMQ retries the job while attempts are left, so this is a notice, not a result.
    if (job !== undefined && job.finishedOn === undefined)
      session.logLine(`${object}: ${error.message}; will be retried`, {
        level: 'warn',
        id: job.id,
        code: errorCode(error.cause ?? error),
      })
    else reportError(session, error.cause ?? error, flags, { command: 'oss-spool worker', object })
  })
  if (flags.health !== undefined) {
    const { healthRoute, serveHealth } = await import('../health.js')
    const checkHealth = () => fleet.checkHealth(uploadWorker, session.signal.aborted)
    const { metricsRoute } = await import('../metrics-route.js')
    const warn = (message: string) => session.logLine(message, { level: 'warn' })
    const routes = new Map([
      ['/healthz', healthRoute(checkHealth)],
      ['/metrics', await metricsRoute(uploadWorker, warn)],
    ])
    const health = await serveHealth(flags.health, routes)
    session.onClose(() => health.close())
    if (!flags.quiet) session.logLine(`health on ${health.url}`)
  }
  if (!flags.quiet)
    session.logLine(`working on queue ${fleet.queueName} as host ${uploadWorker.host}`)
  if (!session.signal.aborted) await once(session.signal, 'abort')
  if (drain > 0) session.onSecondSignal(() => void uploadWorker.close().catch(() => {})) // the first call reports it
  if (drain > 0 && uploadWorker.active > 0 && !flags.quiet) {
    session.logLine(`stopping, active jobs may go on for ${formatDuration(drain)}`)
  }
  await Promise.race([uploadWorker.close({ drain }), fleet.whenGivenUp()])
  await metrics?.stop()
  // A source that ignores its signal must not keep the process alive.
  setTimeout(() => session.io.exit(session.exitStatus()), SOURCE_GRACE_MS).unref()
  return EXIT_SUCCESS
}

async function startMetrics(
  session: Session,
  flags: WorkerFlags,
  listUploads: () => Promise<UploadStatus[]>,
): Promise<WorkerMetrics | undefined> {
  if (flags.metrics === undefined) return undefined
  const { WorkerMetrics: WorkerMetricsClass } = await import('../worker-metrics.js')
  return new WorkerMetricsClass(session, flags, flags.metrics, listUploads)
}
