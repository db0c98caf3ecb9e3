/** `oss-spool jobs ls`: lists jobs of a queue. */
import { EXIT_SUCCESS, UsageError } from '../exit-status.js'
import type { Session } from '../session.js'
import { formatTable } from '../table.js'
import { formatAge, formatBytes } from '../units.js'
import { DAMAGED_TEXT, isDamagedJob, jobStatusOf, type JobStatus } from './job-status.js'
import { DEFAULT_STATES, ENDED_STATES, type ListedState } from './job-states.js'
import { openQueue, type JobFlags } from './open-queue.js'

export type ListJobsFlags = JobFlags & {
  readonly state?: readonly ListedState[]
  readonly limit?: number
}

const DEFAULT_LIMIT = 100

export async function listJobs(session: Session, flags: ListJobsFlags): Promise<number> {
  const { state: states = DEFAULT_STATES, limit = DEFAULT_LIMIT } = flags
  if (limit < 1) throw new UsageError('--limit must be 1 or more')
  const { queue } = await openQueue(session, flags)
  const jobs: JobStatus[] = []
  for (const state of states) {
    const room = limit - jobs.length
    if (room <= 0) break
    // Ended jobs from the latest one, others from the oldest one.
    const ids = await queue.getRanges([state], 0, room - 1, !ENDED_STATES.has(state))
    const found = await Promise.all(ids.map(id => readStatus(queue, id, state)))
    // A job that was removed meanwhile is missing.
    jobs.push(...found.filter(job => job !== undefined).slice(0, room))
  }
  if (flags.json) for (const job of jobs) session.printJson(job)
  else if (jobs.length > 0) for (const line of formatJobs(session, jobs)) session.print(line)
  else if (session.io.stdout.isTTY && !flags.quiet) session.logLine('no jobs')
  if (jobs.length === limit && !flags.quiet) {
    const counts = Object.values(await queue.getJobCounts(...states))
    const total = counts.reduce((sum, count) => sum + count, 0)
    if (total > limit)
      session.logLine(`the first ${limit} of ${total} jobs are listed; --limit lists more`)
  }
  return EXIT_SUCCESS
}

async function readStatus(
  queue: Awaited<ReturnType<typeof openQueue>>['queue'],
  id: string,
  state: ListedState,
): Promise<JobStatus | undefined> {
  try {
    const job = await queue.getJob(id)
    return job && jobStatusOf(job, state)
  } catch (error) {
    if (!isDamagedJob(error)) throw error
    return { id, state, key: '', attempts: 0, maxAttempts: 1, error: DAMAGED_TEXT }
  }
}

const COLUMNS = [
  { name: 'ID' },
  { name: 'STATE' },
  { name: 'KEY', minWidth: 16 },
  { name: 'SOURCE', minWidth: 8 },
  { name: 'ATTEMPTS' },
  { name: 'PROGRESS' },
  { name: 'HOST', minWidth: 6 },
  { name: 'AGE' },
  { name: 'ERROR', minWidth: 10 },
]

function formatJobs({ io }: Session, jobs: readonly JobStatus[]): string[] {
  const { isTTY, columns } = io.stdout
  const now = Date.now()
  const rows = jobs.map(job => [
    job.id,
    job.state,
    job.key,
    job.source ?? '(manifest)',
    `${job.attempts}/${job.maxAttempts}`,
    formatProgress(job),
    job.host ?? '-',
    job.addedAt === undefined ? '-' : formatAge(Date.parse(job.addedAt), now),
    job.error ?? '-',
  ])
  return formatTable(COLUMNS, rows, isTTY ? columns : undefined)
}

function formatProgress({ progress }: JobStatus): string {
  if (progress === undefined) return '-'
  const { uploaded, spooled, size = spooled } = progress
  return `${formatBytes(uploaded)} / ${formatBytes(size)}`
}
