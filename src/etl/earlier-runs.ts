/**
 * The uploads that earlier runs of a job left in the spool. The manifest lists every object of its job, and a job
 * that has finished publishes nothing else, so a run whose records differ is refused.
 */
import { SpoolError } from '../errors.js'
import type { Spool, UploadStatus } from '../index.js'
import { manifestUploadId, objectUploadId } from './upload-ids.js'

/** Keys named in a message. */
const MAX_NAMED_KEYS = 5

export class EarlierRuns {
  readonly #spool: Spool
  readonly #job: string
  /** Ids of the manifest and of the objects of this run. */
  readonly #ids: Set<string>
  /** Uploads of a job whose manifest is sealed or published, by id. */
  #finished: ReadonlyMap<string, UploadStatus> | undefined
  #loading: Promise<void> | undefined

  constructor(spool: Spool, job: string) {
    this.#spool = spool
    this.#job = job
    this.#ids = new Set([manifestUploadId(job)])
  }

  /**
   * Finds out whether an earlier run has finished the job. Repeated calls share the result.
   * @throws SpoolError `ERR_SPOOL_UNREADABLE`, by rejecting, if the record of the manifest cannot be read
   */
  load(): Promise<void> {
    return (this.#loading ??= this.#load())
  }

  /**
   * Adds an object of this run. Called before its upload begins and after `load()`.
   * @throws SpoolError `ERR_SPOOL_EXPECTATION` if the job has finished without it
   */
  add(id: string, key: string): void {
    this.#ids.add(id)
    if (this.#finished === undefined) return
    const status = this.#finished.get(id)
    if (status?.phase === 'receipt') return
    const message = `The job ${this.#job} has finished, but has no receipt for ${key}. This run has published nothing`
    const hint =
      status?.resumable === true
        ? `Call spool.resume('${id}'), then run the job again.`
        : differentRecordsHint()
    throw new SpoolError('ERR_SPOOL_EXPECTATION', message, { id, hint })
  }

  /**
   * Checks that this run has produced every object of earlier runs. Called before the manifest is written.
   * @throws SpoolError, by rejecting: `ERR_SPOOL_EXPECTATION` if not; `ERR_SPOOL_LOCKED` if another process is writing
   * an object of this job
   */
  async checkComplete(): Promise<void> {
    const left = (await this.#find()).filter(upload => isObjectOf(this.#job, upload))
    const kept = left.filter(({ phase, resumable }) => phase === 'receipt' || resumable)
    if (kept.length > 0) throw this.#incompleteError(kept)
    const [writing] = left.filter(({ owner }) => owner !== undefined)
    if (writing?.owner === undefined) return
    const { id, key, owner } = writing
    const message = `Process ${owner.pid} on ${owner.host} is writing ${key} for the job ${this.#job}, which this run does not have. The manifest was not published`
    const hint = 'Wait until that process has ended, then run the job again.'
    const details = { id, resumable: true, host: owner.host, hint }
    throw new SpoolError('ERR_SPOOL_LOCKED', message, details)
  }

  /**
   * Explains a manifest that differs from the one in the spool. If the job had not finished when this run began,
   * another process has finished it since, such as the one that took it over from this host. Returns other errors
   * unchanged.
   */
  explainManifest(error: unknown): unknown {
    const isDifferent = error instanceof SpoolError && error.code === 'ERR_SPOOL_EXPECTATION'
    if (!isDifferent || this.#finished !== undefined) return error
    const message = `Another process has finished the job ${this.#job} during this run`
    const hint = 'Run the job again. It compares its records with those that are published.'
    return new SpoolError('ERR_SPOOL_LOCKED', message, { id: error.id, hint, cause: error })
  }

  async #load(): Promise<void> {
    const manifestId = manifestUploadId(this.#job)
    const { uploads, unreadable } = await this.#spool.findUploads(id => id === manifestId)
    const error = unreadable.find(({ code }) => code === 'ERR_SPOOL_UNREADABLE')
    if (error !== undefined) throw error
    const [manifest] = uploads
    if (manifest === undefined || manifest.phase === 'spooling') return
    this.#finished = new Map((await this.#find()).map(upload => [upload.id, upload]))
  }

  #incompleteError(kept: readonly UploadStatus[]): SpoolError {
    const keys = kept.map(({ key }) => key).toSorted()
    const others = keys.length - MAX_NAMED_KEYS
    const names = `${keys.slice(0, MAX_NAMED_KEYS).join(', ')}${others > 0 ? ` and ${others} more` : ''}`
    const objects = kept.length === 1 ? '1 object' : `${kept.length} objects`
    const outcome =
      this.#finished === undefined
        ? 'The manifest was not published'
        : 'This run has published nothing'
    const message = `Earlier runs of the job ${this.#job} wrote ${objects} that this run does not have: ${names}. ${outcome}`
    const sealed = kept.find(({ phase }) => phase !== 'receipt')
    const { id } = sealed ?? kept[0] ?? {}
    const hint = differentRecordsHint(sealed?.id)
    return new SpoolError('ERR_SPOOL_EXPECTATION', message, { id, hint })
  }

  /** Returns the uploads that may be of this job and are not of this run. */
  async #find(): Promise<readonly UploadStatus[]> {
    const prefix = `${this.#job}-`
    const isOther = (id: string): boolean => id.startsWith(prefix) && !this.#ids.has(id)
    return (await this.#spool.findUploads(isOther)).uploads
  }
}

/** Ids of the job `a-b` begin like those of `a`, so the id is compared as a whole. */
function isObjectOf(job: string, { id, key, movedFrom = [] }: UploadStatus): boolean {
  return [key, ...movedFrom.map(place => place.key)].some(each => objectUploadId(job, each) === id)
}

/**
 * Returns the next step after a rerun with different records.
 * @param sealedId – id of an upload whose bytes are on the disk, and may not be published
 */
export function differentRecordsHint(sealedId?: string): string {
  const discard =
    sealedId === undefined
      ? ''
      : ` Call spool.abort('${sealedId}') to discard the bytes that are kept here.`
  return `Rerun a job with the same records in the same order, or use a new job name for different records.${discard}`
}
