/** The shared queue as those see it who have something to upload: typed by the sources of the workers. */
import { FlowProducer, Queue, type JobsOptions } from 'bullmq'
import { checkKey } from '../upload/names.js'
import { checkOptions } from '../upload/options.js'
import { Cancellations } from './cancellation.js'
import { checkQueueOptions, type QueueOptions, type QueueSettings } from './queue-options.js'
import {
  deduplicationId,
  DEFAULT_JOB_OPTIONS,
  newJobId,
  type JobData,
  type JobUpload,
  type ManifestData,
  type Sources,
  type UploadData,
  type UploadJob,
  type UploadRequest,
} from './job.js'

export interface UploadQueueOptions extends QueueOptions {
  /**
   * BullMQ's options of every job: `attempts`, `backoff`, `removeOnComplete`, `priority`, ... @default
   * ten attempts within an hour and a half; what failed is kept, what is done for a week
   */
  readonly jobs?: Omit<JobsOptions, 'jobId' | 'parent' | 'deduplication'>
}

/** Objects that belong together, and the object that tells of them. */
export interface FlowRequest<S extends Sources> {
  /** Name of the whole, in the manifest. */
  readonly job: string
  /** Key of the manifest: written when all objects are on OSS. */
  readonly manifest: string
  /** One or more; no key twice. */
  readonly objects: readonly UploadRequest<S>[]
  /** Options of the manifest's upload. */
  readonly upload?: JobUpload
}

/**
 * What became of a wish to cancel: the job is gone; its worker stops it, or the next one to get it; it
 * had ended already; there is no such job.
 */
export type CancelResult = 'removed' | 'stopping' | 'ended' | 'unknown'

/**
 * The shared queue of a fleet. `S` is the type of its workers' sources: names and arguments are checked
 * against it.
 */
export class UploadQueue<S extends Sources> {
  /** BullMQ's own queue: for its getters, its events, and pages such as bull-board. */
  readonly queue: Queue<UploadJob>
  readonly #settings: QueueSettings
  readonly #jobOptions: NonNullable<UploadQueueOptions['jobs']>
  readonly #cancellations: Cancellations
  #flowProducer: FlowProducer | undefined

  /** @throws TypeError for options that make no sense */
  constructor(options: UploadQueueOptions) {
    this.#settings = checkQueueOptions(options)
    this.#jobOptions = { ...DEFAULT_JOB_OPTIONS, ...options.jobs }
    const { connection, name, prefix } = this.#settings
    this.queue = new Queue(name, { connection, prefix })
    this.queue.on('error', noop)
    this.#cancellations = new Cancellations(connection, this.queue.toKey(''))
  }

  /**
   * Asks for an object. While there is an unfinished job of the same key, that one is returned and
   * nothing is added.
   * @throws SpoolError `ERR_SPOOL_INVALID_KEY`, TypeError or RangeError for wrong options
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
    // What BullMQ adds has the general type of progress; there is none yet.
    const added = job as UploadJob
    return added.id === jobId ? added : ((await this.find(added.id ?? '')) ?? added)
  }

  /**
   * Asks for many objects and, when all of them are on OSS, for a manifest of them. While one of them
   * has failed the manifest waits: retry that job, or cancel the flow.
   * @returns the job of the manifest
   * @throws SpoolError, TypeError, RangeError as `add`
   */
  async addFlow(flow: FlowRequest<S>): Promise<UploadJob> {
    const { job, manifest, upload } = flow
    const { name: queueName, connection, prefix } = this.#settings
    const objects = flow.objects.map(request => toUploadData(request))
    const keys = objects.map(({ key }) => key)
    if (keys.length === 0 || new Set([...keys, manifest]).size <= keys.length) {
      throw new TypeError('The "objects" of a flow must be one or more, each with a key of its own')
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
    // As in `add`.
    return node.job as UploadJob
  }

  /** A job by its id. */
  async find(id: string): Promise<UploadJob | undefined> {
    return this.queue.getJob(id)
  }

  /**
   * Stops a job; that of a manifest with all jobs of its flow. One that was never started is removed.
   * Any other one ends as failed with `ERR_SPOOL_ABORTED`, within a second or when a worker gets to it;
   * what is left of it is removed from the spool and from OSS. An object that is published by then stays.
   */
  async cancel(id: string): Promise<CancelResult> {
    const job = await this.find(id)
    if (job === undefined) return 'unknown'
    if (await hasEnded(job)) return 'ended'
    await this.#cancellations.requestCancel(id)
    if ('manifest' in job.data) await this.#cancelChildren(job)
    if (
      job.attemptsStarted === 0 &&
      (await this.queue.remove(id, { removeChildren: false })) === 1
    ) {
      await this.#cancellations.clearRequest(id)
      return 'removed'
    }
    // It may just have been taken; then there is nothing to promote.
    if (await job.isDelayed()) await job.promote().catch(() => undefined)
    return 'stopping'
  }

  /** Lets go of the queue; the connection stays its owner's. */
  async close(): Promise<void> {
    await Promise.all([this.queue.close(), this.#flowProducer?.close()])
  }

  async #cancelChildren(job: UploadJob): Promise<void> {
    const { unprocessed = [] } = await job.getDependencies()
    for (const key of unprocessed) await this.cancel(key.slice(key.lastIndexOf(':') + 1))
  }
}

/** What a connection has to say is its owner's; without a listener BullMQ writes to the console. */
function noop(): void {}

async function hasEnded(job: UploadJob): Promise<boolean> {
  return ['completed', 'failed', 'unknown'].includes(await job.getState())
}

function toUploadData<S extends Sources>(request: UploadRequest<S>): UploadData {
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

function checkJobData({ key, upload = {} }: JobData): void {
  checkKey(key)
  checkOptions(upload)
}
