/**
 * Host queues: each host has its own queue, besides the shared one, for jobs that only it can finish. Jobs are
 * not moved. A job waits in the shared queue as the parent of a child in the host queue; BullMQ links and
 * unlinks the two atomically, in one script each. After any crash, the job is therefore in one place and keeps
 * its id, attempts and parent, and removing the child puts it back.
 */
import { Queue, type Job } from 'bullmq'
import { isHostName } from '../redis/host-registry.js'
import type { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import type { QueueConnection, QueueSettings } from './queue-options.js'
import type { JobData, JobProgress, JobResult, UploadJob } from './job.js'
import { uploadIdOf } from './upload-id.js'
import { releaseParents } from './waiting-parents.js'

/** A job in the queue of one host, which has the bytes of its upload. Returns `null` if its host lost the bytes; then the parent runs again. */
export type HostJob = Job<JobData, JobResult | null, string, JobProgress>

/** Returns the id of a job in the shared queue: its own id, or that of its parent if it is in a host queue. */
export function sharedJobId(job: UploadJob | HostJob): string {
  const isChild = job.queueName.includes('@')
  return (isChild ? job.parent?.id : job.id) ?? ''
}

/** Keys of a queue that hold its jobs. */
const JOB_KEYS = ['wait', 'paused', 'active', 'prioritized', 'delayed', 'completed', 'failed']

/** Keys that a queue without jobs may have. */
const OTHER_KEYS = ['meta', 'id', 'pc', 'marker', 'events', 'stalled', 'stalled-check', 'limiter']

/** Removes a queue, unless it has jobs, and its host (`ARGV[1]`) from the list of hosts (`KEYS[1]`). */
const REMOVE_QUEUE_SCRIPT = `
for i = 2, ${1 + JOB_KEYS.length} do
  if redis.call('exists', KEYS[i]) == 1 then return 0 end
end
for i = ${2 + JOB_KEYS.length}, #KEYS do redis.call('del', KEYS[i]) end
return redis.call('srem', KEYS[1], ARGV[1])`

/** Maximum number of jobs of one host to examine per reclaim. */
const MAX_RECLAIMED_JOBS = 1_000

export class HostQueues {
  readonly #connection: QueueConnection
  readonly #settings: QueueSettings
  readonly #checkpointStore: RedisCheckpoints
  readonly #hostQueueTimeout: number
  readonly #queues = new Map<string, Queue<HostJob>>()

  /** @param hostQueueTimeout – ms that a job waits for its host before it returns to the shared queue */
  constructor(
    settings: QueueSettings,
    checkpointStore: RedisCheckpoints,
    hostQueueTimeout: number,
  ) {
    this.#connection = settings.connection
    this.#settings = settings
    this.#checkpointStore = checkpointStore
    this.#hostQueueTimeout = hostQueueTimeout
  }

  /** Returns the name of a host queue. */
  queueName(host: string): string {
    return `${this.#settings.name}@${host}`
  }

  /** Adds a child of `job` to the queue of `host`. Idempotent: there is one child per attempt. */
  async addChild(job: UploadJob, host: string): Promise<void> {
    const { attempts = 1, backoff, priority } = job.opts
    await this.#register(host)
    await this.#queueFor(host).add(job.name, job.data, {
      jobId: childJobId(job),
      parent: { id: job.id ?? '', queue: job.queueQualifiedName },
      attempts: Math.max(1, attempts - job.attemptsMade),
      ...(backoff === undefined ? {} : { backoff }),
      ...(priority === undefined ? {} : { priority }),
      continueParentOnFailure: true,
      removeOnComplete: true,
      removeOnFail: true,
    })
    await this.#register(host) // it may have been removed before the child was there
  }

  /** Returns the result of the child of this attempt, or the reason why it failed permanently. */
  async childResult(job: UploadJob): Promise<JobResult | string | undefined> {
    const isThisAttempt = ([key]: [string, unknown]): boolean => key.endsWith(`:${childJobId(job)}`)
    const values = await job.getChildrenValues<JobResult | null>()
    const result = Object.entries(values).find(
      entry => isThisAttempt(entry) && entry[1] !== null,
    )?.[1]
    if (result !== undefined && result !== null) return result
    return Object.entries(await job.getIgnoredChildrenFailures()).find(isThisAttempt)?.[1]
  }

  /**
   * Returns jobs to the shared queue whose host is gone or has not started them in time, and removes the queues of
   * hosts that are gone. Runs on one worker of the fleet at a time, twice per `hostQueueTimeout`.
   */
  async reclaim(): Promise<void> {
    // Again and again, since Redis may have refused or lost it. A worker leaves keys in Redis even if its host never
    // gets a job.
    await this.#checkpointStore.announce()
    await this.#register(this.#checkpointStore.host)
    const lockArgs = [
      this.#key('homes-turn'),
      '1',
      'NX',
      'PX',
      Math.ceil(this.#hostQueueTimeout / 2),
    ] as const
    if ((await this.#connection.call('SET', ...lockArgs)) !== 'OK') return
    const hosts = await this.#connection.call('SMEMBERS', this.#key('homes'))
    if (!Array.isArray(hosts)) return
    const failures: unknown[] = []
    for (const host of hosts.filter(isHostName)) {
      await this.#reclaimHost(host).catch((error: unknown) => failures.push(error))
    }
    await releaseParents(this.#connection, this.#key(''))
    if (failures.length > 0) throw failures[0]
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(queue => queue.close()))
  }

  async #reclaimHost(host: string): Promise<void> {
    const isGone = await this.#checkpointStore.isGone(host)
    const queue = this.#queueFor(host)
    const states = ['waiting', 'prioritized', 'delayed', 'active'] as const
    const jobs = await queue.getJobs([...states], 0, MAX_RECLAIMED_JOBS - 1)
    const addedBefore = Date.now() - this.#hostQueueTimeout
    const isLate = (job: HostJob): boolean =>
      job.attemptsStarted === 0 && job.timestamp < addedBefore
    const reclaimed = jobs.filter(job => isGone || isLate(job))
    // `remove()` does nothing for an active job: a host declared gone may work on it until its lock expires.
    for (const { id = '' } of reclaimed) await queue.remove(id)
    if (!isGone) return
    const keys = [...JOB_KEYS, ...OTHER_KEYS].map(name => queue.toKey(name))
    const allKeys = [this.#key('homes'), ...keys]
    await this.#connection.call('EVAL', REMOVE_QUEUE_SCRIPT, allKeys.length, ...allKeys, host)
    this.#queues.delete(host)
    await queue.close()
  }

  /** Adds a host to those whose queues are examined. */
  async #register(host: string): Promise<void> {
    await this.#connection.call('SADD', this.#key('homes'), host)
  }

  #queueFor(host: string): Queue<HostJob> {
    const existing = this.#queues.get(host)
    if (existing !== undefined) return existing
    const { connection, prefix } = this.#settings
    const queue = new Queue<HostJob>(this.queueName(host), {
      connection,
      prefix,
      skipMetasUpdate: true, // which would come back after a queue was removed
    })
    queue.on('error', () => {}) // the worker reports errors of the connection
    this.#queues.set(host, queue)
    return queue
  }

  #key(name: string): string {
    return `${this.#settings.prefix}:${this.#settings.name}:${name}`
  }
}

/** Returns the id of a child, which changes with each attempt used up. */
function childJobId(job: UploadJob): string {
  return `${uploadIdOf(job.id ?? '')}.${job.attemptsMade}`
}
