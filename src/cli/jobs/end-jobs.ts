/** `oss-spool jobs cancel` and `oss-spool jobs retry`: change jobs one by one, and report each. */
import type { UploadQueue } from '../../bullmq/index.js'
import { EXIT_FAILURE, EXIT_SUCCESS, UsageError } from '../exit-status.js'
import type { Session } from '../session.js'
import { reportJob, type JobOutcome } from './job-outcome.js'
import { isDamagedJob } from './job-status.js'
import { openQueue, type JobFlags, type UnknownSources } from './open-queue.js'

export type RetryJobsFlags = JobFlags & { readonly failed?: boolean }

type Queue = UploadQueue<UnknownSources>

export async function cancelJobs(
  session: Session,
  ids: readonly string[],
  flags: JobFlags,
): Promise<number> {
  const queue = await openQueue(session, flags)
  return changeEach(session, ids, flags, id => queue.cancel(id))
}

export async function retryJobs(
  session: Session,
  ids: readonly string[],
  flags: RetryJobsFlags,
): Promise<number> {
  const { failed = false } = flags
  if (ids.length > 0 === failed) throw new UsageError('Expected either job ids or --failed')
  const queue = await openQueue(session, flags)
  const selectedIds = failed ? await queue.queue.getRanges(['failed'], 0, -1) : ids
  if (selectedIds.length === 0 && !flags.quiet) session.logLine('no failed jobs')
  return changeEach(session, selectedIds, flags, id => retry(queue, id))
}

async function retry(queue: Queue, id: string): Promise<JobOutcome['outcome']> {
  const job = await queue.find(id)
  if (job === undefined) return 'unknown'
  try {
    if (!(await job.isFailed())) return 'not-failed'
    await job.retry('failed')
    return 'retried'
  } catch (error) {
    // Another process may have been faster.
    if (await job.isFailed()) throw error
    return 'not-failed'
  }
}

/** A job that cannot be read does not keep the others from being changed. */
function toDamaged(error: unknown): 'damaged' {
  if (isDamagedJob(error)) return 'damaged'
  throw error
}

/** Changes each job and reports the outcome. Resolves to the exit status. */
async function changeEach(
  session: Session,
  ids: readonly string[],
  flags: JobFlags,
  change: (id: string) => Promise<JobOutcome['outcome']>,
): Promise<number> {
  let status = EXIT_SUCCESS
  for (const id of ids) {
    if (session.signal.aborted) break
    const outcome = await change(id).catch(toDamaged)
    if (!reportJob(session, { id, outcome }, flags)) status = EXIT_FAILURE
  }
  return status
}
