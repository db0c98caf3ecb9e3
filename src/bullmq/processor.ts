/**
 * What a worker does with one job: call `upload()`, and turn its end into what BullMQ knows. What
 * always holds: a job is completed only when OSS has its object, it is failed only when no later run
 * could finish it, and everything else puts it where it will be run again.
 */
import { DelayedError, WaitingChildrenError, WaitingError } from 'bullmq'
import { SpoolError } from '../errors.js'
import type { Source, Spool } from '../index.js'
import type { Cancellations } from './cancellation.js'
import type { HomeJob, Homes } from './homes.js'
import type { JobData, JobProgress, JobResult, ManifestData, Sources, UploadJob } from './job.js'
import { manifestOf, manifestText } from './manifest.js'
import { failureOf, outcomeOf } from './outcome.js'
import { Told } from './told.js'

/** Why a worker ends what it works on: the reason of BullMQ's signal. Any other one: cancelled. */
export const CLOSING = 'closing'

/** ms until it is looked again whether the other process is done. */
const PAUSE = 2_000

/** What a processor works with. */
export interface Tools {
  readonly spool: Spool
  readonly sources: Sources
  /** This one. */
  readonly host: string
  readonly homes: Homes
  readonly cancellations: Cancellations
  /** A job of the shared queue. */
  readonly find: (id: string) => Promise<UploadJob | undefined>
  /** Puts the progress of a job into Redis; does not reject. */
  readonly tell: (job: UploadJob | HomeJob, progress: JobProgress) => Promise<void>
  /** Whether the worker is on its way out. */
  readonly isClosing: () => boolean
}

/** One run of a job: how BullMQ knows it, and the id of its upload. */
interface Run {
  readonly job: UploadJob | HomeJob
  readonly id: string
  readonly token: string
  readonly signal: AbortSignal
}

export class Processor {
  /** Ids of uploads that were finished here, and whose receipts can go when that is known in Redis. */
  readonly finished = new Set<string>()
  readonly #tools: Tools

  constructor(tools: Tools) {
    this.#tools = tools
  }

  /** A job of the shared queue. */
  async run(job: UploadJob, token: string, signal: AbortSignal): Promise<JobResult> {
    const { homes } = this.#tools
    const run = { job, id: job.id ?? '', token, signal }
    const ended = startedBefore(job) ? await homes.resultOf(job) : undefined
    if (typeof ended === 'string') throw failureOf(ended, true)
    const result = ended ?? (await this.#work(run))
    if (typeof result !== 'string') return result
    await homes.send(job, result)
    if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError()
    return this.#handBack(run) // it was quicker than we
  }

  /** A child in this host's own queue; `null` sends its parent on. */
  async runAtHome(job: HomeJob, token: string, signal: AbortSignal): Promise<JobResult | null> {
    const result = await this.#work({ job, id: job.parent?.id ?? '', token, signal })
    return typeof result === 'string' ? null : result
  }

  /** @returns the result, or the host that must go on; whatever else happens is thrown for BullMQ */
  async #work(run: Run): Promise<JobResult | string> {
    const { cancellations, host, isClosing } = this.#tools
    const { job, id, token, signal } = run
    if (isClosing()) return this.#handBack(run)
    const canBeStopped = startedBefore(job) || 'manifest' in job.data || job.id !== id
    let isStopped = canBeStopped && (await cancellations.among([id])).length > 0
    try {
      if (!isStopped) {
        const result = await this.#upload(run).catch((error: unknown) => {
          if (!signal.aborted) throw error
        })
        if (result !== undefined) return result
        if (signal.reason === CLOSING) return await this.#handBack(run)
        isStopped = true
      }
      return await this.#giveUp(id)
    } catch (error) {
      if (error instanceof WaitingError) throw error
      const outcome = outcomeOf(error, host)
      if (outcome.do === 'send home') return outcome.host
      if (outcome.do !== 'wait') throw failureOf(error, outcome.do === 'fail')
      await job.moveToDelayed(Date.now() + PAUSE, token)
      throw new DelayedError()
    }
  }

  async #upload({ job, id, signal }: Run): Promise<JobResult> {
    const { spool, host, tell } = this.#tools
    const { key, upload } = job.data
    const told = new Told(event => tell(job, { ...event, host }))
    try {
      const result = await spool.upload(key, this.#source(job, id), {
        ...upload,
        id,
        // A job that is done but not known to be in Redis is run again: the receipt tells.
        once: true,
        signal,
        onProgress: event => told.update(event),
      })
      this.finished.add(id)
      return { ...result, host }
    } finally {
      await told.end()
    }
  }

  #source({ data }: { readonly data: JobData }, id: string): Source {
    if ('manifest' in data) return async () => [await this.#manifest(data, id)]
    const { sources, host } = this.#tools
    const source = Object.hasOwn(sources, data.source) ? sources[data.source] : undefined
    if (source === undefined) {
      throw new Error(`The worker on ${host} has no source "${data.source}"; others may have it`)
    }
    // The queue's type has seen to it that these are the arguments of that source.
    return options => source(data.args as never, options)
  }

  async #manifest(data: ManifestData, id: string): Promise<string> {
    const job = await this.#tools.find(id)
    const results = Object.values((await job?.getChildrenValues<JobResult | null>()) ?? {})
    return manifestText(
      manifestOf(
        data.manifest,
        results.filter(result => result !== null),
      ),
    )
  }

  /** Another worker takes it at once; no attempt is used up. */
  async #handBack({ job, token }: Run): Promise<never> {
    await job.moveToWait(token)
    throw new WaitingError()
  }

  /** It was cancelled: nothing of it is left, here or on OSS. */
  async #giveUp(id: string): Promise<never> {
    await this.#tools.spool.abort(id).catch((error: unknown) => {
      if (!(error instanceof SpoolError && error.code === 'ERR_SPOOL_NOT_FOUND')) throw error
    })
    await this.#tools.cancellations.forget(id)
    const message = `The job ${id} was cancelled; nothing is published`
    throw new SpoolError('ERR_SPOOL_ABORTED', message, { id })
  }
}

/** Only such a job can have a child at home, or have been cancelled while it waited. */
function startedBefore({ attemptsStarted }: UploadJob | HomeJob): boolean {
  return attemptsStarted > 1
}
