/** The parts of an `UploadWorker` that its metrics observe. */
import type { Queue, RedisQueueBackend, Worker } from 'bullmq'
import type { Spool } from '../index.js'
import type { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import type { HostJob } from './host-queues.js'
import type { JobData, JobProgress, JobResult, UploadJob } from './job.js'
import type { QueueConnection } from './queue-options.js'

/** BullMQ worker of the queue whose jobs have results of type `R`. */
type BullmqWorker<R> = Worker<JobData, R, string, RedisQueueBackend, JobProgress>

export interface WorkerInternals {
  readonly connection: QueueConnection
  readonly spool: Spool
  readonly checkpointStore: RedisCheckpoints
  readonly sharedQueue: Queue<UploadJob>
  readonly sharedWorker: BullmqWorker<JobResult>
  readonly hostWorker: BullmqWorker<HostJob['returnvalue']>
  /** Returns whether a job with this upload is active. */
  isActive(uploadId: string): boolean
}
