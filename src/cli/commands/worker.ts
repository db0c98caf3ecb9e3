/**
 * `oss-spool worker`: uploads the jobs of a queue until SIGINT or SIGTERM, then hands back what it did
 * not finish.
 */
import { once } from 'node:events'
import type { Command } from 'commander'
import { EXIT_DONE, UsageError } from '../exit-status.js'
import { examples, workerOptions } from '../option.js'
import { reportError, reportResult } from '../report.js'
import type { Session, SpoolFlags } from '../session.js'

type WorkerFlags = SpoolFlags & {
  readonly sources: string
  readonly bucket?: string
  readonly redis?: string
  readonly concurrency?: number
  readonly queue?: string
  readonly host?: string
  readonly health?: { readonly host: string; readonly port: number }
  readonly fleetRate?: number
  readonly hostTimeout?: number
  readonly hostQueueTimeout?: number
  readonly lockTimeout?: number
  readonly partSize?: number
  readonly maxSpool?: number
  readonly parallel?: number
  readonly retries?: number
}

/** ms that sources may take to end, when their jobs have been handed back. */
const PATIENCE = 1_000

export function defineWorker(program: Command, session: Session): void {
  const command = workerOptions(program.command('worker'))
    .description('upload the jobs of a queue (BullMQ on Redis), as one of many machines')
    .action((flags: WorkerFlags) => session.run(flags, merged => worker(session, merged)))
  examples(command, [
    'REDIS_URL=redis://:secret@10.0.0.5 oss-spool worker --bucket exports --sources ./sources.js',
    'oss-spool worker --redis redis://10.0.0.5 --bucket exports --sources ./sources.js --health 9091',
  ])
}

async function worker(session: Session, flags: WorkerFlags): Promise<number> {
  const bucket = flags.bucket ?? session.io.env['OSS_BUCKET']
  if (!bucket) throw new UsageError('No bucket: give --bucket or set OSS_BUCKET')
  const { redisUrl, openFleet } = await import('../fleet.js')
  const url = redisUrl(flags.redis, session.io.env)
  const { loadSources } = await import('../sources-file.js')
  const sources = await loadSources(flags.sources)
  const connection = await session.connect(flags, bucket)
  const fleet = await openFleet(session, url, flags)
  const { omitUndefined } = await import('../../util/omit-undefined.js')
  const spool = await session.spool(flags, connection, {
    checkpointStore: fleet.checkpoints,
    ...omitUndefined({
      maxRate:
        fleet.rate !== undefined && flags.maxRate !== undefined
          ? [fleet.rate, flags.maxRate]
          : fleet.rate,
      partSize: flags.partSize,
      maxSpoolBytes: flags.maxSpool,
      parallel: flags.parallel,
      retry: flags.retries === undefined ? undefined : { attempts: flags.retries },
    }),
  })
  const running = fleet.work(spool, sources)
  running.on('warning', ({ message }) => fleet.warn(message))
  running.on('completed', (_job, result) => reportResult(session, result, flags))
  running.on('failed', (job, error) => {
    const object = `oss://${bucket}/${job?.data.key ?? ''}`
    // Attempts that are left come by themselves: a notice, no result.
    if (job !== undefined && job.finishedOn === undefined)
      session.say(`${object}: ${error.message}; tried again`)
    else reportError(session, error.cause ?? error, flags, { command: 'oss-spool worker', object })
  })
  if (flags.health !== undefined) {
    const { serveHealth } = await import('../health.js')
    const health = await serveHealth(flags.health, () =>
      fleet.health(running, session.signal.aborted),
    )
    session.onClose(() => health.close())
    if (!flags.quiet) session.say(`health on ${health.url}`)
  }
  if (!flags.quiet) session.say(`working on ${fleet.name} as host ${running.host}`)
  if (!session.signal.aborted) await once(session.signal, 'abort')
  await running.close()
  // A source that goes on whatever its signal says must not keep the process.
  setTimeout(() => session.io.exit(session.exitStatus()), PATIENCE).unref()
  return EXIT_DONE
}
