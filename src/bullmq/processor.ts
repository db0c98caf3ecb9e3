/**
 * Runs one job of a worker: calls `upload()` and maps the outcome to BullMQ's states. Invariants: a job is
 * completed only if OSS has its object, it fails permanently only if no later run could finish it, and in all
 * other cases it will run again.
 */
import { DelayedError, WaitingChildrenError, WaitingError } from 'bullmq'
import { SpoolError } from '../errors.js'
import type { Source, Spool } from '../index.js'
import type { Cancellations } from './cancellation.js'
import { sharedJobId, type HostJob, type HostQueues } from './host-queues.js'
import type {
  JobData,
  JobProgress,
  JobResult,
  JobSourceLimits,
  ManifestData,
  Sources,
  UploadJob,
} from './job.js'
import { checkJobData, isManifestData } from './job-data.js'
import { createFlowManifest, formatFlowManifest } from './flow-manifest.js'
import { toJobError, chooseFailureAction } from './failure-policy.js'
import { jobFingerprint } from './job-fingerprint.js'
import type { InternalUploadOptions } from '../upload/model/options.js'
import { errorMessage } from '../util/error-shape.js'
import { fillPlaceholders, isScheduledData, runTime } from './run-placeholders.js'
import { ProgressThrottle } from './progress-throttle.js'
import { SourceWatch } from './source-watch.js'
import { unknownSourceError } from './unsupported-job.js'
import { uploadIdOf } from './upload-id.js'

/** Abort reason of the job signal when the worker closes. Any other reason means that the job was cancelled. */
export const CLOSING_REASON = 'closing'

/** Delay before a job is retried whose upload is locked by another process of this host. */
const LOCKED_RETRY_DELAY_MS = 2_000

/** Delay before a job that this worker cannot run returns to the queue. */
const HAND_BACK_DELAY_MS = 30_000

/** Dependencies of `Processor`. */
export interface ProcessorDeps {
  readonly spool: Spool
  readonly sources: Sources
  /** Limits of jobs that set none. */
  readonly sourceLimits: JobSourceLimits
  /** Name of this host. */
  readonly host: string
  readonly hostQueues: HostQueues
  readonly cancellations: Cancellations
  /** Finds a job in the shared queue. */
  readonly findJob: (id: string) => Promise<UploadJob | undefined>
  /** Stores the progress of a job in Redis. Never rejects. */
  readonly reportProgress: (job: UploadJob | HostJob, progress: JobProgress) => Promise<void>
  /** Reports a problem of a job that did not fail. */
  readonly warn: (message: string) => void
  /** Whether the worker is closing. */
  readonly isClosing: () => boolean
}

/** One run of a job. */
interface JobRun {
  readonly job: UploadJob | HostJob
  readonly uploadId: string
  readonly token: string
  readonly signal: AbortSignal
}

export class Processor {
  /** Ids of uploads finished here. Their receipts can be removed once Redis has marked the jobs completed. */
  readonly finishedUploadIds = new Set<string>()
  /** Ids of the jobs whose sources run. */
  readonly runningSources = new Map<SourceWatch, string>()
  readonly #deps: ProcessorDeps

  constructor(deps: ProcessorDeps) {
    this.#deps = deps
  }

  /** Runs a job of the shared queue. */
  async runSharedJob(job: UploadJob, token: string, signal: AbortSignal): Promise<JobResult> {
    const { hostQueues } = this.#deps
    const run = { job, uploadId: uploadIdOf(job.id ?? ''), token, signal }
    const childResult = wasStartedBefore(job) ? await hostQueues.childResult(job) : undefined
    if (typeof childResult === 'string') throw toJobError(childResult, true)
    const resultOrHost = childResult ?? (await this.#uploadOrAbort(run))
    if (typeof resultOrHost !== 'string') return resultOrHost
    await hostQueues.addChild(job, resultOrHost)
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError()
    return this.#returnToQueue(run) // the child finished before we could wait for it
  }

  /** Runs a child in the queue of this host. Returns `null` if the parent must run elsewhere. */
  async runHostJob(job: HostJob, token: string, signal: AbortSignal): Promise<JobResult | null> {
    const resultOrHost = await this.#uploadOrAbort({
      job,
      uploadId: uploadIdOf(sharedJobId(job)),
      token,
      signal,
    })
    return typeof resultOrHost === 'string' ? null : resultOrHost
  }

  /**
   * @returns the result, or the name of the host that must continue the upload
   * @throws the error that puts the job into its next BullMQ state
   */
  async #uploadOrAbort(run: JobRun): Promise<JobResult | string> {
    const { cancellations, host, isClosing, warn } = this.#deps
    const { job, uploadId, signal } = run
    if (isClosing()) return this.#returnToQueue(run)
    const mayBeCancelled =
      job.id !== sharedJobId(job) || wasStartedBefore(job) || mayKeepWaiting(job)
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
      return await this.#abortCancelled(run)
    } catch (error) {
      if (error instanceof WaitingError) throw error
      const action = chooseFailureAction(error, host, startsWithoutAttempt(job))
      if (action.do === 'send to host') return action.host
      if (action.do === 'wait') return this.#delay(run, LOCKED_RETRY_DELAY_MS)
      if (action.do !== 'hand back') throw toJobError(error, action.do === 'fail')
      const seconds = HAND_BACK_DELAY_MS / 1_000
      warn(`Job ${job.id} returns to the queue in ${seconds} s: ${errorMessage(error)}`)
      return this.#delay(run, HAND_BACK_DELAY_MS)
    }
  }

  /** Returns the job to the queue after a delay. Uses up no attempt. */
  async #delay({ job, token }: JobRun, ms: number): Promise<never> {
    await job.moveToDelayed(Date.now() + ms, token)
    throw new DelayedError()
  }

  async #upload({ job, uploadId, signal }: JobRun): Promise<JobResult> {
    const { spool, host, reportProgress } = this.#deps
    if (isScheduledData(job.data)) {
      await job.updateData(fillPlaceholders(job.data, runTime(job.id ?? '')))
    }
    const { data } = job
    checkJobData(data)
    const { key, upload } = data
    const throttle = new ProgressThrottle(event => reportProgress(job, { ...event, host }))
    try {
      const options: InternalUploadOptions = {
        ...upload,
        id: uploadId,
        fingerprint: jobFingerprint(uploadId, data),
        // BullMQ reruns a finished job if Redis did not record its completion; the receipt then has the result.
        once: true,
        signal,
        onProgress: event => throttle.update(event),
      }
      const result = await spool.upload(key, this.#createSource(data, sharedJobId(job)), options)
      if (result.recognised !== true) this.finishedUploadIds.add(uploadId)
      return { ...result, host }
    } finally {
      await throttle.flush()
    }
  }

  #createSource(data: JobData, jobId: string): Source {
    if (isManifestData(data)) return async () => [await this.#createManifest(data, jobId)]
    const { sources, host, sourceLimits } = this.#deps
    const source = Object.hasOwn(sources, data.source) ? sources[data.source] : undefined
    if (source === undefined) {
      throw unknownSourceError(data.source, host, Object.keys(sources))
    }
    const { sourceIdleTimeout, sourceTimeout } = { ...sourceLimits, ...data }
    return options => {
      const limits = { idle: sourceIdleTimeout, total: sourceTimeout }
      const watch = new SourceWatch(limits, ended => void this.runningSources.delete(ended))
      this.runningSources.set(watch, jobId)
      // The type of the queue guarantees that these are the arguments of that source.
      return watch.open(each => source(data.args as never, each), options)
    }
  }

  async #createManifest(data: ManifestData, jobId: string): Promise<string> {
    const results = await this.#childResults(jobId).catch(throwRetryable)
    return formatFlowManifest(createFlowManifest(data.manifest, results))
  }

  async #childResults(jobId: string): Promise<JobResult[]> {
    const job = await this.#deps.findJob(jobId)
    const results = Object.values((await job?.getChildrenValues<JobResult | null>()) ?? {})
    return results.filter(result => result !== null)
  }

  /** Returns the job to the queue, where another worker can take it immediately. Uses up no attempt. */
  async #returnToQueue({ job, token }: JobRun): Promise<never> {
    await job.moveToWait(token)
    throw new WaitingError()
  }

  /** Aborts the upload of a cancelled job, locally and on OSS. */
  async #abortCancelled({ job, uploadId }: JobRun): Promise<never> {
    await this.#deps.spool.abort(uploadId).catch((error: unknown) => {
      if (!(error instanceof SpoolError && error.code === 'ERR_SPOOL_NOT_FOUND')) throw error
    })
    await this.#deps.cancellations.clearRequest(uploadId)
    // An earlier run may have published the object, or the last request of this one.
    const message = `The job ${sharedJobId(job)} was cancelled, and its upload was aborted. If its object is already on OSS, it stays there`
    throw new SpoolError('ERR_SPOOL_ABORTED', message, { id: uploadId })
  }
}

/** Marks a failure of Redis as temporary, as the source of a manifest. */
function throwRetryable(error: unknown): never {
  throw Object.assign(new Error(errorMessage(error)), { retryable: true })
}

/** Whether a job is still in the queue if it was cancelled before its first start. */
function mayKeepWaiting({ data, repeatJobKey }: UploadJob | HostJob): boolean {
  return isManifestData(data) || repeatJobKey !== undefined
}

/** Whether the job may have a child in a host queue, or may have been cancelled while it waited. */
function wasStartedBefore({ attemptsStarted }: UploadJob | HostJob): boolean {
  return attemptsStarted > 1
}

/** Number of starts that used up no attempt, this one excluded. */
function startsWithoutAttempt({ attemptsStarted, attemptsMade }: UploadJob | HostJob): number {
  return Math.max(0, attemptsStarted - attemptsMade - 1)
}
