/** Producer side of the shared queue, typed by the sources of its workers. */
import { randomUUID } from 'node:crypto'
import { FlowProducer, Queue, type JobsOptions } from 'bullmq'
import { checkBooleans, checkObject, checkProperties, invalidType } from '../errors.js'
import { Spool, type Pruned } from '../index.js'
import { hasFingerprint } from '../upload/model/options.js'
import { Cancellations } from './cancellation.js'
import { checkJobData, isManifestData, JOB_DATA_VERSION } from './job-data.js'
import { checkJobOptions } from './job-options.js'
import { checkJobId, checkSameUpload, parseRequest } from './job-request.js'
import { checkQueueOptions, type QueueOptions, type QueueSettings } from './queue-options.js'
import {
  deduplicationId,
  DEFAULT_JOB_OPTIONS,
  newJobId,
  type JobUpload,
  type ManifestData,
  type ObjectRequest,
  type Sources,
  type UploadData,
  type UploadJob,
  type UploadRequest,
} from './job.js'
import { KnownUploads } from './known-uploads.js'
import type { Schedule } from './schedule-times.js'
import { Schedules, type ScheduleStatus } from './schedules.js'
import { jobIdOf, mayNameJob, uploadIdOf } from './upload-id.js'

/** Options of `UploadQueue`. */
export interface UploadQueueOptions extends QueueOptions {
  /**
   * BullMQ options of every job: `attempts`, `backoff`, `removeOnComplete`, `priority`, ... @default ten
   * attempts within 90 minutes; failed jobs are kept, completed ones are removed after a week
   */
  readonly jobs?: Omit<JobsOptions, 'jobId' | 'parent' | 'deduplication'>
}

/** Result of `UploadQueue.add()`. */
export interface AddResult {
  /** The job that was added or found. */
  readonly job: UploadJob
  /** False if an equal job with this key or id was found; nothing was added. */
  readonly added: boolean
}

/** Request to upload several objects and a manifest that lists them. */
export interface FlowRequest<S extends Sources> {
  /** Name of the flow in the manifest. */
  readonly job: string
  /** Key of the manifest, which is written when all objects are on OSS. */
  readonly manifest: string
  /** One or more objects with distinct keys. */
  readonly objects: readonly ObjectRequest<S>[]
  /** Options of the manifest's upload. */
  readonly upload?: JobUpload
}

/**
 * Outcome of `UploadQueue.cancel()`. `'removed'`: the job was removed before it started. `'stopping'`: its current or next
 * worker stops it. `'ended'`: it had already ended. `'unknown'`: there is no such job.
 */
export type CancelResult = 'removed' | 'stopping' | 'ended' | 'unknown'

/**
 * Adds upload jobs to the shared queue of a fleet, finds and cancels them. `S` is the type of the workers'
 * sources, against which names and arguments are checked.
 */
export class UploadQueue<S extends Sources> {
  /** The underlying BullMQ queue, for its getters, events, and dashboards such as bull-board. */
  readonly queue: Queue<UploadJob>
  readonly #settings: QueueSettings
  readonly #jobOptions: NonNullable<UploadQueueOptions['jobs']>
  readonly #cancellations: Cancellations
  readonly #schedules: Schedules
  #flowProducer: FlowProducer | undefined

  /** @throws TypeError for invalid options */
  constructor(options: UploadQueueOptions) {
    this.#settings = checkQueueOptions(options, { jobs: true })
    checkJobOptions(options.jobs ?? {})
    this.#jobOptions = { ...DEFAULT_JOB_OPTIONS, ...options.jobs }
    const { connection, name, prefix } = this.#settings
    this.queue = new Queue(name, { connection, prefix })
    this.queue.on('error', noop)
    this.#cancellations = new Cancellations(connection, this.queue.toKey(''))
    this.#schedules = new Schedules(this.queue, this.#jobOptions)
  }

  /**
   * Adds a job that uploads an object. If an earlier call has added an unfinished job with the same key, which has not
   * failed, or any job with the same `id`, that job is returned and nothing is added.
   * @throws SpoolError `ERR_SPOOL_ID_IN_USE` if that job has another key, source, arguments or upload options;
   * `ERR_SPOOL_INVALID_KEY`; TypeError or RangeError for invalid options
   */
  async add(request: UploadRequest<S>): Promise<AddResult> {
    const { data, options } = parseRequest(request, { id: true })
    const { id } = request
    checkJobId(id)
    const jobId = id === undefined ? newJobId(data.key) : jobIdOf(id)
    if (id !== undefined) {
      const existing = await this.queue.getJob(jobId)
      if (existing !== undefined) return foundJob(existing, data)
      await this.#cancellations.clearRequest(jobId) // of an earlier job with this id, which has completed
    }
    const nonce = randomUUID()
    const job = await this.queue.add(data.source, id === undefined ? data : { ...data, nonce }, {
      ...this.#jobOptions,
      ...options,
      jobId,
      deduplication: { id: deduplicationId(data.key) },
    })
    // `Queue.add()` returns the general type of progress; a new job has none yet.
    const added = { job: job as UploadJob, added: true }
    if (id === undefined && job.id === jobId) return added
    const stored = await this.queue.getJob(job.id ?? '')
    if (stored !== undefined) {
      return 'nonce' in stored.data && stored.data.nonce === nonce ? added : foundJob(stored, data)
    }
    // The job has already been removed: the new one, or the one that made this one superfluous.
    return job.id === jobId ? added : this.add(request)
  }

  /**
   * Adds jobs for several objects, and one that writes their manifest when all of them are on OSS. If an object
   * fails, the manifest waits: retry that job, or cancel the flow. Adding a flow twice creates two flows.
   * @returns the job that writes the manifest
   * @throws SpoolError, TypeError or RangeError, as `add` does
   */
  async addFlow(flow: FlowRequest<S>): Promise<UploadJob> {
    checkObject('flow', flow)
    checkProperties('flow', flow, { job: true, manifest: true, objects: true, upload: true })
    const { job, manifest, upload } = flow
    const { name: queueName, connection, prefix } = this.#settings
    if (!Array.isArray(flow.objects)) throw invalidType('objects', 'an array', flow.objects)
    const objects = flow.objects.map(request => parseRequest(request))
    const keys = objects.map(({ data }) => data.key)
    if (keys.length === 0 || new Set([...keys, manifest]).size <= keys.length) {
      throw new TypeError('The "objects" of a flow must be one or more, with distinct keys')
    }
    const data: ManifestData = {
      v: JOB_DATA_VERSION,
      key: manifest,
      manifest: { job, keys },
      upload: { mime: 'application/json', ...upload },
    }
    checkJobData(data)
    this.#flowProducer ??= new FlowProducer({ connection, prefix }).on('error', noop)
    const node = await this.#flowProducer.add({
      name: 'manifest',
      queueName,
      data,
      opts: { ...this.#jobOptions, jobId: newJobId(manifest) },
      children: objects.map(object => ({
        name: object.data.source,
        queueName,
        data: object.data,
        opts: { ...this.#jobOptions, ...object.options, jobId: newJobId(object.data.key) },
      })),
    })
    // Same cast as in `add`.
    return node.job as UploadJob
  }

  /**
   * Returns the job with this id, as given to `add` or else as in BullMQ, or `undefined`.
   * @throws TypeError, by rejecting, if `id` is not a string
   */
  async find(id: string): Promise<UploadJob | undefined> {
    if (typeof id !== 'string') throw invalidType('id', 'a string', id)
    const chosen = await this.queue.getJob(jobIdOf(id))
    return chosen ?? (mayNameJob(id) ? this.queue.getJob(id) : undefined)
  }

  /**
   * Cancels a job; cancelling the job of a manifest cancels all jobs of its flow. A job that has never started
   * is removed, unless it is the run of a schedule. Any other job fails with `ERR_SPOOL_ABORTED`, within a second or when a worker takes it, and
   * its upload is aborted locally and on OSS. An object that is already published stays.
   */
  async cancel(id: string): Promise<CancelResult> {
    const job = await this.find(id)
    if (job === undefined) return 'unknown'
    if (await hasEnded(job)) return 'ended'
    const { id: jobId = '' } = job
    const uploadId = uploadIdOf(jobId)
    await this.#cancellations.requestCancel(uploadId)
    if (isManifestData(job.data)) await this.#cancelChildren(job)
    // The next run of a schedule cannot be removed; a worker takes it, which adds the run after it.
    const mayBeRemoved = job.attemptsStarted === 0 && job.repeatJobKey === undefined
    if (mayBeRemoved && (await this.queue.remove(jobId, { removeChildren: false })) === 1) {
      await this.#cancellations.clearRequest(uploadId)
      return 'removed'
    }
    // If a worker has just taken the job, there is nothing to promote.
    if (await job.isDelayed()) await job.promote().catch(() => undefined)
    return 'stopping'
  }

  /**
   * Sets a schedule. Each run is a job with its own id, `repeat:NAME:MS`, and its own upload. In the key and in
   * texts in `args`, `{scheduled}` stands for the time of the run, such as `2026-11-29T02-00-00Z`, and `{yyyy}`,
   * `{MM}`, `{dd}`, `{HH}`, `{mm}` and `{ss}` for its fields in the time zone of the schedule. Setting a schedule to
   * what it is changes nothing; otherwise the new one replaces it, also for a run that has not started.
   * @param name – name of the schedule: 1 to 100 of `A-Za-z0-9._-`
   * @param request – as for `add`, without `id` and `delay`. Its key must be different for each run
   * @throws TypeError or RangeError for invalid options, or SpoolError `ERR_SPOOL_INVALID_KEY`
   */
  schedule(name: string, schedule: Schedule, request: ObjectRequest<S>): Promise<ScheduleStatus> {
    return this.#schedules.set(name, schedule, request)
  }

  /**
   * Removes a schedule and its next run, unless that is due already. Resolves to whether there was one.
   * @throws TypeError for an invalid name
   */
  unschedule(name: string): Promise<boolean> {
    return this.#schedules.remove(name)
  }

  /** Returns the schedules that `schedule` has set, by the time of their next run. */
  schedules(): Promise<ScheduleStatus[]> {
    return this.#schedules.list()
  }

  /**
   * Removes unfinished uploads whose jobs are in no queue with this prefix, such as after a restore of Redis or if jobs
   * were removed by hand: aborts them on OSS, and removes their records and their bytes on this host. The bytes of
   * sealed ones are lost. Never changes an upload that has an owner, or a job in any state.
   * @param spool – a spool with the checkpoint store of the workers
   * @param options – `dryRun`: remove nothing, and only return what would be removed
   * @returns what was removed; entries with an `error` could not be removed
   * @throws TypeError, by rejecting, for invalid options
   */
  async pruneUnknownJobs(spool: Spool, options: { dryRun?: boolean } = {}): Promise<Pruned[]> {
    if (!(spool instanceof Spool)) throw invalidType('spool', 'a Spool', spool)
    checkObject('options', options)
    checkProperties('options', options, { dryRun: true })
    const { dryRun = false } = options
    checkBooleans({ dryRun })
    const jobs = await KnownUploads.find(this.#settings)
    return spool.pruneSelected({
      dryRun,
      select: async ({ id, upload }) =>
        upload.phase !== 'published' && hasFingerprint(upload.object) && !(await jobs.has(id)),
    })
  }

  /** Closes the queue. The caller closes the connection. */
  async close(): Promise<void> {
    await Promise.all([this.queue.close(), this.#flowProducer?.close()])
  }

  async #cancelChildren(job: UploadJob): Promise<void> {
    const { unprocessed = [] } = await job.getDependencies()
    const prefix = this.queue.toKey('')
    for (const key of unprocessed) {
      // A child in a host queue has no cancellation of its own.
      if (key.startsWith(prefix)) await this.cancel(key.slice(prefix.length))
    }
  }
}

/**
 * Listener for `error`. The caller handles errors of the connection; without a listener, BullMQ logs them to
 * the console.
 */
function noop(): void {}

async function hasEnded(job: UploadJob): Promise<boolean> {
  return ['completed', 'failed', 'unknown'].includes(await job.getState())
}

/** @throws SpoolError `ERR_SPOOL_ID_IN_USE` */
function foundJob(job: UploadJob, requested: UploadData): AddResult {
  checkSameUpload(job, requested)
  return { job, added: false }
}
