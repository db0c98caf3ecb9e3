/**
 * Where the jobs go that only one host can finish: a queue of its own for each host, beside the shared
 * one. A job is not moved: it waits in the shared queue as the parent of a child in the host's queue,
 * which BullMQ ties together in one script each. So whatever dies, the job is in one place, keeps its
 * id, its attempts and its own parent; and a child that is taken away puts it back.
 */
import { Queue, type Job } from 'bullmq'
import type { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import type { QueueConnection, QueueSettings } from './connection.js'
import type { JobData, JobProgress, JobResult, UploadJob } from './job.js'

/** A child in a host's queue; `null`: the bytes are not there any more, so the parent decides anew. */
export type HomeJob = Job<JobData, JobResult | null, string, JobProgress>

/** The id of a job's upload: its own, or of a child at home its parent's. */
export function uploadOf(job: UploadJob | HomeJob): string {
  const isChild = job.queueName.includes('@')
  return (isChild ? job.parent?.id : job.id) ?? ''
}

/** Jobs of one host that are looked at in one go. */
const MANY = 1_000

export class Homes {
  readonly #connection: QueueConnection
  readonly #settings: QueueSettings
  readonly #checkpoints: RedisCheckpoints
  readonly #timeout: number
  readonly #queues = new Map<string, Queue<HomeJob>>()

  /** @param timeout ms that a job waits for its host before it goes back to the shared queue */
  constructor(settings: QueueSettings, checkpoints: RedisCheckpoints, timeout: number) {
    this.#connection = settings.connection
    this.#settings = settings
    this.#checkpoints = checkpoints
    this.#timeout = timeout
  }

  /** Name of a host's queue. */
  nameOf(host: string): string {
    return `${this.#settings.name}@${host}`
  }

  /** A child of `job` for `host`; there is one for each attempt, however often this is called. */
  async send(job: UploadJob, host: string): Promise<void> {
    const { attempts = 1, backoff, priority } = job.opts
    await this.#connection.call('SADD', this.#key('homes'), host)
    await this.#queue(host).add(job.name, job.data, {
      jobId: childOf(job),
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
  async resultOf(job: UploadJob): Promise<JobResult | string | undefined> {
    const isOurs = ([key]: [string, unknown]): boolean => key.endsWith(`:${childOf(job)}`)
    const values = await job.getChildrenValues<JobResult | null>()
    const result = Object.entries(values).find(entry => isOurs(entry) && entry[1] !== null)?.[1]
    if (result !== undefined && result !== null) return result
    return Object.entries(await job.getIgnoredChildrenFailures()).find(isOurs)?.[1]
  }

  /**
   * Puts jobs back whose host is gone, or that it did not begin in time. One worker of the fleet does
   * this at a time, twice within the time limit.
   */
  async reclaim(): Promise<void> {
    const turn = [this.#key('homes-turn'), '1', 'NX', 'PX', Math.ceil(this.#timeout / 2)] as const
    if ((await this.#connection.call('SET', ...turn)) !== 'OK') return
    const hosts = await this.#connection.call('SMEMBERS', this.#key('homes'))
    for (const host of Array.isArray(hosts) ? hosts.map(String) : []) await this.#reclaim(host)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map(queue => queue.close()))
  }

  async #reclaim(host: string): Promise<void> {
    const isGone = await this.#checkpoints.isGone(host)
    const queue = this.#queue(host)
    const states = ['waiting', 'prioritized', 'delayed', 'active'] as const
    const jobs = await queue.getJobs([...states], 0, MANY - 1)
    const since = Date.now() - this.#timeout
    const isLate = (job: HomeJob): boolean => job.attemptsStarted === 0 && job.timestamp < since
    const back = jobs.filter(job => isGone || isLate(job))
    // 0: it is worked on, which a host that was declared gone may still do until its lock ends.
    for (const { id = '' } of back) await queue.remove(id)
    if (!isGone || jobs.length > 0) return
    await this.#connection.call('SREM', this.#key('homes'), host)
    this.#queues.delete(host)
    await queue.close()
  }

  #queue(host: string): Queue<HomeJob> {
    const known = this.#queues.get(host)
    if (known !== undefined) return known
    const { connection, prefix } = this.#settings
    const queue = new Queue<HomeJob>(this.nameOf(host), { connection, prefix })
    queue.on('error', () => {}) // what the connection has to say is heard by the worker
    this.#queues.set(host, queue)
    return queue
  }

  #key(name: string): string {
    return `${this.#settings.prefix}:${this.#settings.name}:${name}`
  }
}

/** With every attempt that was used up there is another one. */
function childOf(job: UploadJob): string {
  return `${job.id}.${job.attemptsMade}`
}
