/**
 * What a worker does with one job: call `upload()`, and turn its end into what BullMQ knows. What
 * always holds: a job is completed only when OSS has its object, it is failed only when no later run
 * could finish it, and everything else puts it where it will be run again.
 */
import { DelayedError, WaitingChildrenError, WaitingError } from 'bullmq'
import { SpoolError } from '../errors.js'
import type { Source, Spool } from '../index.js'
import type { Cancellations } from './cancellation.js'
import type { HostJob, HostQueues } from './host-queues.js'
import type { JobData, JobProgress, JobResult, ManifestData, Sources, UploadJob } from './job.js'
import { createFlowManifest, formatFlowManifest } from './flow-manifest.js'
import { toJobError, chooseFailureAction } from './failure-policy.js'
import { ProgressThrottle } from './progress-throttle.js'

/** Why a worker ends what it works on: the reason of BullMQ's signal. Any other one: cancelled. */
export const CLOSING_REASON = 'closing'

/** ms until it is looked again whether the other process is done. */
const LOCKED_RETRY_DELAY_MS = 2_000

/** What a processor works with. */
export interface ProcessorDeps {
  readonly spool: Spool
  readonly sources: Sources
  /** This one. */
  readonly host: string
  readonly hostQueues: HostQueues
  readonly cancellations: Cancellations
  /** A job of the shared queue. */
  readonly findJob: (id: string) => Promise<UploadJob | undefined>
  /** Puts the progress of a job into Redis; does not reject. */
  readonly reportProgress: (job: UploadJob | HostJob, progress: JobProgress) => Promise<void>
  /** Whether the worker is on its way out. */
  readonly isClosing: () => boolean
}

/** One run of a job: how BullMQ knows it, and the id of its upload. */
interface JobRun {
  readonly job: UploadJob | HostJob
  readonly uploadId: string
  readonly token: string
  readonly signal: AbortSignal
}

export class Processor {
  /** Ids of uploads that were finished here, and whose receipts can go when that is known in Redis. */
  readonly finishedUploadIds = new Set<string>()
  readonly #deps: ProcessorDeps

  constructor(deps: ProcessorDeps) {
    this.#deps = deps
  }

  /** A job of the shared queue. */
  async runSharedJob(job: UploadJob, token: string, signal: AbortSignal): Promise<JobResult> {
    const { hostQueues } = this.#deps
    const run = { job, uploadId: job.id ?? '', token, signal }
    const childResult = wasStartedBefore(job) ? await hostQueues.childResult(job) : undefined
    if (typeof childResult === 'string') throw toJobError(childResult, true)
    const resultOrHost = childResult ?? (await this.#uploadOrAbort(run))
    if (typeof resultOrHost !== 'string') return resultOrHost
    await hostQueues.addChild(job, resultOrHost)
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError()
    return this.#returnToQueue(run) // it was quicker than we
  }

  /** A child in this host's own queue; `null` sends its parent on. */
  async runHostJob(job: HostJob, token: string, signal: AbortSignal): Promise<JobResult | null> {
    const resultOrHost = await this.#uploadOrAbort({
      job,
      uploadId: job.parent?.id ?? '',
      token,
      signal,
    })
    return typeof resultOrHost === 'string' ? null : resultOrHost
  }

  /** @returns the result, or the host that must go on; whatever else happens is thrown for BullMQ */
  async #uploadOrAbort(run: JobRun): Promise<JobResult | string> {
    const { cancellations, host, isClosing } = this.#deps
    const { job, uploadId, token, signal } = run
    if (isClosing()) return this.#returnToQueue(run)
    const mayBeCancelled = wasStartedBefore(job) || 'manifest' in job.data || job.id !== uploadId
    let isCancelled = mayBeCancelled && (await cancellations.filterCancelled([uploadId])).length > 0
    try {
      if (!isCancelled) {
        const result = await this.#upload(run).catch((error: unknown) => {
          if (!signal.aborted) throw error
        })
        if (result !== undefined) return result
        if (signal.reason === CLOSING_REASON) return await this.#returnToQueue(run)
        isCancelled = true
      }
      return await this.#abortCancelled(uploadId)
    } catch (error) {
      if (error instanceof WaitingError) throw error
      const action = chooseFailureAction(error, host)
      if (action.do === 'send to host') return action.host
      if (action.do !== 'wait') throw toJobError(error, action.do === 'fail')
      await job.moveToDelayed(Date.now() + LOCKED_RETRY_DELAY_MS, token)
      throw new DelayedError()
    }
  }

  async #upload({ job, uploadId, signal }: JobRun): Promise<JobResult> {
    const { spool, host, reportProgress } = this.#deps
    const { key, upload } = job.data
    const throttle = new ProgressThrottle(event => reportProgress(job, { ...event, host }))
    try {
      const result = await spool.upload(key, this.#createSource(job, uploadId), {
        ...upload,
        id: uploadId,
        // A job that is done but not known to be in Redis is run again: the receipt tells.
        once: true,
        signal,
        onProgress: event => throttle.update(event),
      })
      this.finishedUploadIds.add(uploadId)
      return { ...result, host }
    } finally {
      await throttle.flush()
    }
  }

  #createSource({ data }: { readonly data: JobData }, uploadId: string): Source {
    if ('manifest' in data) return async () => [await this.#createManifest(data, uploadId)]
    const { sources, host } = this.#deps
    const source = Object.hasOwn(sources, data.source) ? sources[data.source] : undefined
    if (source === undefined) {
      throw new Error(`The worker on ${host} has no source "${data.source}"; others may have it`)
    }
    // The queue's type has seen to it that these are the arguments of that source.
    return options => source(data.args as never, options)
  }

  async #createManifest(data: ManifestData, jobId: string): Promise<string> {
    const job = await this.#deps.findJob(jobId)
    const results = Object.values((await job?.getChildrenValues<JobResult | null>()) ?? {})
    return formatFlowManifest(
      createFlowManifest(
        data.manifest,
        results.filter(result => result !== null),
      ),
    )
  }

  /** Another worker takes it at once; no attempt is used up. */
  async #returnToQueue({ job, token }: JobRun): Promise<never> {
    await job.moveToWait(token)
    throw new WaitingError()
  }

  /** It was cancelled: nothing of it is left, here or on OSS. */
  async #abortCancelled(uploadId: string): Promise<never> {
    await this.#deps.spool.abort(uploadId).catch((error: unknown) => {
      if (!(error instanceof SpoolError && error.code === 'ERR_SPOOL_NOT_FOUND')) throw error
    })
    await this.#deps.cancellations.clearRequest(uploadId)
    const message = `The job ${uploadId} was cancelled; nothing is published`
    throw new SpoolError('ERR_SPOOL_ABORTED', message, { id: uploadId })
  }
}

/** Only such a job can have a child at home, or have been cancelled while it waited. */
function wasStartedBefore({ attemptsStarted }: UploadJob | HostJob): boolean {
  return attemptsStarted > 1
}
