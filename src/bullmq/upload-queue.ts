/** Producer side of the shared queue, typed by the sources of its workers. */
import { FlowProducer, Queue, type JobsOptions } from 'bullmq'
import { checkObject, checkProperties } from '../errors.js'
import { Cancellations } from './cancellation.js'
import { checkJobData, isManifestData } from './job-data.js'
import { checkQueueOptions, type QueueOptions, type QueueSettings } from './queue-options.js'
import {
  deduplicationId,
  DEFAULT_JOB_OPTIONS,
  newJobId,
  type JobUpload,
  type ManifestData,
  type Sources,
  type UploadData,
  type UploadJob,
  type UploadRequest,
} from './job.js'
import { jobIdOf, uploadIdOf } from './upload-id.js'

/** Options of `UploadQueue`. */
export interface UploadQueueOptions extends QueueOptions {
  /**
   * BullMQ options of every job: `attempts`, `backoff`, `removeOnComplete`, `priority`, ... @default ten
   * attempts within 90 minutes; failed jobs are kept, completed ones are removed after a week
   */
  readonly jobs?: Omit<JobsOptions, 'jobId' | 'parent' | 'deduplication'>
}

/** Request to upload several objects and a manifest that lists them. */
export interface FlowRequest<S extends Sources> {
  /** Name of the flow in the manifest. */
  readonly job: string
  /** Key of the manifest, which is written when all objects are on OSS. */
  readonly manifest: string
  /** One or more objects with distinct keys. */
  readonly objects: readonly UploadRequest<S>[]
  /** Options of the manifest's upload. */
  readonly upload?: JobUpload
}

/**
 * Outcome of `cancel()`. `'removed'`: the job was removed before it started. `'stopping'`: its current or next
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
  #flowProducer: FlowProducer | undefined

  /** @throws TypeError for invalid options */
  constructor(options: UploadQueueOptions) {
    this.#settings = checkQueueOptions(options, { jobs: true })
    this.#jobOptions = { ...DEFAULT_JOB_OPTIONS, ...options.jobs }
    const { connection, name, prefix } = this.#settings
    this.queue = new Queue(name, { connection, prefix })
    this.queue.on('error', noop)
    this.#cancellations = new Cancellations(connection, this.queue.toKey(''))
  }

  /**
   * Adds a job that uploads an object. If an unfinished job has the same key, that job is returned and nothing
   * is added.
   * @throws SpoolError `ERR_SPOOL_INVALID_KEY`, or TypeError or RangeError for invalid options
   */
  async add(request: UploadRequest<S>): Promise<UploadJob> {
    const data = toUploadData(request)
    const jobId = newJobId(data.key)
    const deduplication = { id: deduplicationId(data.key) }
    const job = await this.queue.add(data.source, data, {
      ...this.#jobOptions,
      jobId,
      deduplication,
    })
    // `Queue.add()` returns the general type of progress; a new job has none yet.
    const added = job as UploadJob
    return added.id === jobId ? added : ((await this.find(added.id ?? '')) ?? added)
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
    const objects = flow.objects.map(request => toUploadData(request))
    const keys = objects.map(({ key }) => key)
    if (keys.length === 0 || new Set([...keys, manifest]).size <= keys.length) {
      throw new TypeError('The "objects" of a flow must be one or more, with distinct keys')
    }
    const data: ManifestData = {
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
        name: object.source,
        queueName,
        data: object,
        opts: { ...this.#jobOptions, jobId: newJobId(object.key) },
      })),
    })
    // Same cast as in `add`.
    return node.job as UploadJob
  }

  /** Returns the job with this id, as in BullMQ or as given to `add`, or `undefined`. */
  async find(id: string): Promise<UploadJob | undefined> {
    return (await this.queue.getJob(id)) ?? this.queue.getJob(jobIdOf(id))
  }

  /**
   * Cancels a job; cancelling the job of a manifest cancels all jobs of its flow. A job that has never started
   * is removed. Any other job fails with `ERR_SPOOL_ABORTED`, within a second or when a worker takes it, and
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
    if (
      job.attemptsStarted === 0 &&
      (await this.queue.remove(jobId, { removeChildren: false })) === 1
    ) {
      await this.#cancellations.clearRequest(uploadId)
      return 'removed'
    }
    // If a worker has just taken the job, there is nothing to promote.
    if (await job.isDelayed()) await job.promote().catch(() => undefined)
    return 'stopping'
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

function toUploadData<S extends Sources>(request: UploadRequest<S>): UploadData {
  checkObject('request', request)
  checkProperties('request', request, { key: true, source: true, args: true, upload: true })
  const { key, source, args, upload }: UploadData = request
  const data = {
    key,
    source,
    ...(args === undefined ? {} : { args }),
    ...(upload === undefined ? {} : { upload }),
  }
  checkJobData(data)
  return data
}
