/** `oss-spool jobs add`: adds one job. */
import { EXIT_SUCCESS, UsageError } from '../exit-status.js'
import type { Session } from '../session.js'
import { parseTarget } from '../target.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import { reportJob } from './job-outcome.js'
import { openQueue, type JobFlags } from './open-queue.js'

export type AddJobFlags = JobFlags & {
  readonly source?: string
  readonly args?: string
  readonly id?: string
  readonly priority?: number
  readonly delay?: number
  readonly attempts?: number
  readonly bucket?: string
}

export async function addJob(
  session: Session,
  object: string,
  flags: AddJobFlags,
): Promise<number> {
  const key = keyOf(object, flags.bucket)
  const { source, id, priority, delay, attempts } = flags
  if (source === undefined) throw new UsageError('No source: set --source')
  const args = flags.args === undefined ? undefined : parseArgs(flags.args)
  const queue = await openQueue(session, flags)
  const request = { key, source, ...omitUndefined({ args, id, priority, delay, attempts }) }
  const { job, added } = await queue.add(request)
  reportJob(session, { id: job.id ?? '', outcome: added ? 'added' : 'found' }, flags)
  return EXIT_SUCCESS
}

/**
 * Returns the key of the object. The workers of a queue have one bucket, which no job names, so the bucket of a URL
 * can only be compared.
 * @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY`
 */
function keyOf(object: string, bucket: string | undefined): string {
  if (!object.startsWith('oss://')) return object // `add` checks it
  const target = parseTarget(object)
  if (bucket === undefined) {
    throw new UsageError(
      'A queue uploads to the bucket of its workers. Set --bucket or OSS_BUCKET to that bucket, or specify only the key',
    )
  }
  if (target.bucket === bucket) return target.key
  throw new UsageError(`The queue uploads to the bucket ${bucket}, not to ${target.bucket}`)
}

/** The error does not quote the value, which may be a secret. */
function parseArgs(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new UsageError(`--args must be JSON, such as '{"day":"2026-11-24"}'`)
  }
}
