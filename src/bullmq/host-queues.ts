/**
 * Where the jobs go that only one host can finish: a queue of its own for each host, beside the shared
 * one. A job is not moved: it waits in the shared queue as the parent of a child in the host's queue,
 * which BullMQ ties together in one script each. So whatever dies, the job is in one place, keeps its
 * id, its attempts and its own parent; and a child that is taken away puts it back.
 */
import { Queue, type Job } from 'bullmq'
import type { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import type { QueueConnection, QueueSettings } from './queue-options.js'
import type { JobData, JobProgress, JobResult, UploadJob } from './job.js'

/** A child in a host's queue; `null`: the bytes are not there any more, so the parent decides anew. */
export type HostJob = Job<JobData, JobResult | null, string, JobProgress>

/** The id of a job's upload: its own, or of a child at home its parent's. */
export function uploadIdOf(job: UploadJob | HostJob): string {
  const isChild = job.queueName.includes('@')
  return (isChild ? job.parent?.id : job.id) ?? ''
}

/** Jobs of one host that are looked at in one go. */
const MAX_RECLAIMED_JOBS = 1_000

export class HostQueues {
  readonly #connection: QueueConnection
  readonly #settings: QueueSettings
  readonly #checkpointStore: RedisCheckpoints
  readonly #hostQueueTimeout: number
  readonly #queues = new Map<string, Queue<HostJob>>()

  /** @param hostQueueTimeout ms that a job waits for its host before it goes back to the shared queue */
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

  /** Name of a host's queue. */
  queueName(host: string): string {
    return `${this.#settings.name}@${host}`
  }

  /** A child of `job` for `host`; there is one for each attempt, however often this is called. */
  async addChild(job: UploadJob, host: string): Promise<void> {
    const { attempts = 1, backoff, priority } = job.opts
    await this.#connection.call('SADD', this.#key('homes'), host)
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
  }

  /** How the child of this attempt has ended: the result, or why it failed for good. */
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
   * Puts jobs back whose host is gone, or that it did not begin in time. One worker of the fleet does
   * this at a time, twice within the time limit.
   */
  async reclaim(): Promise<void> {
    const lockArgs = [
      this.#key('homes-turn'),
      '1',
      'NX',
      'PX',
      Math.ceil(this.#hostQueueTimeout / 2),
    ] as const
    if ((await this.#connection.call('SET', ...lockArgs)) !== 'OK') return
    const hosts = await this.#connection.call('SMEMBERS', this.#key('homes'))
    for (const host of Array.isArray(hosts) ? hosts.map(String) : []) await this.#reclaimHost(host)
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
    // 0: it is worked on, which a host that was declared gone may still do until its lock ends.
    for (const { id = '' } of reclaimed) await queue.remove(id)
    if (!isGone || jobs.length > 0) return
    await this.#connection.call('SREM', this.#key('homes'), host)
    this.#queues.delete(host)
    await queue.close()
  }

  #queueFor(host: string): Queue<HostJob> {
    const existing = this.#queues.get(host)
    if (existing !== undefined) return existing
    const { connection, prefix } = this.#settings
    const queue = new Queue<HostJob>(this.queueName(host), { connection, prefix })
    queue.on('error', () => {}) // what the connection has to say is heard by the worker
    this.#queues.set(host, queue)
    return queue
  }

  #key(name: string): string {
    return `${this.#settings.prefix}:${this.#settings.name}:${name}`
  }
}

/** With every attempt that was used up there is another one. */
function childJobId(job: UploadJob): string {
  return `${job.id}.${job.attemptsMade}`
}
