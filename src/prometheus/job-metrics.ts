/**
 * Counts the jobs of a worker. A job is counted by the worker that records its result or failure in the queue, so the sum
 * over all workers counts it once.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { WorkerInternals } from '../bullmq/worker-internals.js'
import { COMMON_FAILURE_CODES, failureCode, OTHER_FAILURE } from './failure-code.js'

/** In seconds: from small objects to exports that take hours. */
const DURATION_BUCKETS = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400]

/** @param countActive – returns the number of active jobs */
export function countJobs(
  { sharedQueue, sharedWorker, hostWorker }: WorkerInternals,
  register: Registry,
  countActive: () => number,
): void {
  const registers = [register]
  const queue = { queue: sharedQueue.name }
  const completed = new Counter({
    name: 'oss_spool_jobs_completed_total',
    help: 'Jobs whose object is on OSS.',
    labelNames: ['queue'],
    registers,
  })
  const failed = new Counter({
    name: 'oss_spool_jobs_failed_total',
    help: 'Jobs that failed permanently, by error code.',
    labelNames: ['queue', 'code'],
    registers,
  })
  const retried = new Counter({
    name: 'oss_spool_job_retries_total',
    help: 'Failed attempts of jobs that run again, by error code.',
    labelNames: ['queue', 'code'],
    registers,
  })
  const published = new Counter({
    name: 'oss_spool_published_bytes_total',
    help: 'Bytes of the objects of completed jobs.',
    labelNames: ['queue'],
    registers,
  })
  const duration = new Histogram({
    name: 'oss_spool_job_duration_seconds',
    help: 'Duration of the last run of completed jobs.',
    labelNames: ['queue'],
    buckets: DURATION_BUCKETS,
    registers,
  })
  const active: Gauge = new Gauge({
    name: 'oss_spool_active_jobs',
    help: 'Jobs that this worker is running.',
    labelNames: ['queue'],
    registers,
    collect: () => active.set(queue, countActive()),
  })
  completed.inc(queue, 0)
  published.inc(queue, 0)
  duration.zero(queue)
  for (const code of [...COMMON_FAILURE_CODES, OTHER_FAILURE]) {
    failed.inc({ ...queue, code }, 0)
    retried.inc({ ...queue, code }, 0)
  }

  sharedWorker.on('completed', (_job, { size, elapsed }) => {
    completed.inc(queue)
    published.inc(queue, size)
    duration.observe(queue, elapsed / 1000)
  })
  sharedWorker.on('failed', (job, error) => {
    const isFinal = job?.finishedOn !== undefined
    const counter = isFinal ? failed : retried
    counter.inc({ ...queue, code: failureCode(error) })
  })
  hostWorker.on('failed', (job, error) => {
    // The shared queue reports the permanent failure of a job that waits for its host.
    if (job !== undefined && job.finishedOn === undefined)
      retried.inc({ ...queue, code: failureCode(error) })
  })
}
