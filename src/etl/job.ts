/**
 * A job: which objects are open, which are on their way, and what is told of them at the end. Its
 * steps follow each other, so that a timer never ends an object that just takes a record. What is
 * decided here depends on the records and their order, never on how fast anything went.
 */
import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Spool, StepOptions, UploadResult } from '../index.js'
import { manifestOf, type Manifest, type ManifestObject } from './manifest.js'
import type { RotateSettings } from './options.js'
import { Outgoing, type RecordText } from './outgoing.js'
import { Sequences, type Place } from './sequences.js'
import { Stages } from './stages.js'

/** Who is told. */
export interface JobListener {
  /** An object failed: the job cannot end well. */
  failure(error: unknown): void
  object(object: ManifestObject): void
}

/** An object that takes records. */
interface Open<T> {
  readonly object: Outgoing<T>
  readonly timer: NodeJS.Timeout | undefined
}

export class Job<T> {
  readonly #spool: Spool
  readonly #settings: RotateSettings<T>
  readonly #listener: JobListener
  readonly #sequences: Sequences<T>
  /** By sequence; the least recently used one comes first. */
  readonly #open = new Map<string, Open<T>>()
  /** Objects that take no more records, until OSS has them. */
  readonly #ending = new Set<Promise<void>>()
  /** All of them, in the order in which they were begun. */
  readonly #objects: Promise<ManifestObject>[] = []
  readonly #unfinished = new Set<{ destroy(): void; done: Promise<unknown> }>()
  readonly #stop = new AbortController()
  #steps: Promise<unknown> = Promise.resolve()
  #latest = ''
  #records = 0

  constructor(spool: Spool, settings: RotateSettings<T>, listener: JobListener) {
    this.#spool = spool
    this.#settings = settings
    this.#listener = listener
    this.#sequences = new Sequences(settings)
    setMaxListeners(0, this.#stop.signal) // one per object
  }

  /** Takes records; resolves when the next ones may come. */
  take(records: Iterable<T>): Promise<void> {
    return this.#step(async () => {
      for (const record of records) {
        const place = this.#sequences.placeOf(record)
        let object = this.#open.get(place.name)?.object
        if (object !== undefined && this.#isCut(object, record)) {
          await this.#end(place.name)
          object = undefined
        }
        object ??= await this.#begin(place)
        this.#use(place.name)
        const turn = object.add(record, this.#records++)
        if (turn !== undefined) await turn
        if (this.#isFull(object)) await this.#end(place.name)
        this.#refuseIfStopped()
      }
    })
  }

  /** The records ended well: resolves when OSS holds all objects and the manifest. */
  finish(): Promise<Manifest> {
    return this.#step(async () => {
      for (const name of this.#open.keys()) await this.#end(name)
      const { job, manifestKey, upload } = this.#settings
      const manifest = manifestOf(job, await Promise.all(this.#objects))
      this.#refuseIfStopped()
      const { headers: _headers, callback: _callback, ...rest } = upload
      const text = { format: (json: string) => json, mark: () => 0 }
      const object = this.#outgoing<string>(manifestKey, text, new Stages([]), {
        ...rest,
        id: `${job}-manifest`,
        mime: 'application/json',
      })
      await object.add(`${JSON.stringify(manifest, null, 2)}\n`, 0)
      await object.end()
      return manifest
    })
  }

  /** Ends without success: what is sealed stays resumable. Resolves when nothing is under way. */
  async abandon(): Promise<void> {
    this.#stop.abort()
    for (const { timer } of this.#open.values()) clearTimeout(timer)
    const unfinished = [...this.#unfinished]
    for (const object of unfinished) object.destroy()
    await Promise.allSettled(unfinished.map(({ done }) => done))
  }

  #isFull(object: Outgoing<T>): boolean {
    const { records, bytes } = this.#settings.every
    return object.records >= records || object.size >= bytes
  }

  #isCut({ latest }: Outgoing<T>, record: T): boolean {
    return latest !== undefined && this.#settings.cutBefore?.(record, latest[0]) === true
  }

  async #begin(place: Place): Promise<Outgoing<T>> {
    const { maxOpen, transforms, every, upload, job } = this.#settings
    const key = this.#sequences.nextKey(place)
    const [oldest] = this.#open.keys()
    if (this.#open.size >= maxOpen && oldest !== undefined) await this.#end(oldest)
    this.#refuseIfStopped()
    const options = { ...upload, id: idOf(job, key) }
    const object = this.#outgoing<T>(key, this.#settings, new Stages(transforms()), options)
    const told = object.done.then(result => this.#told(object, result))
    told.catch((error: unknown) => this.#listener.failure(error))
    this.#objects.push(told)
    const timer = every.ms === undefined ? undefined : this.#timer(place.name, every.ms)
    this.#open.set(place.name, { object, timer })
    return object
  }

  /** It must not keep the process alive: whoever writes the records does. */
  #timer(name: string, ms: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      const end = this.#step(async () => {
        if (this.#open.get(name)?.timer === timer) await this.#end(name)
      })
      end.catch((error: unknown) => this.#listener.failure(error))
    }, ms)
    return timer.unref()
  }

  /** Marks a sequence as the one used last. */
  #use(name: string): void {
    const open = this.#open.get(name)
    if (name === this.#latest || open === undefined) return
    this.#open.delete(name)
    this.#open.set(name, open)
    this.#latest = name
  }

  /** No more records for it. It is sent while others take theirs; waits if too many are on their way. */
  async #end(name: string): Promise<void> {
    const open = this.#open.get(name)
    if (open === undefined) return
    clearTimeout(open.timer)
    this.#open.delete(name)
    this.#latest = ''
    const ended: Promise<void> = open.object
      .end()
      .then(
        () => {},
        (error: unknown) => this.#listener.failure(error),
      )
      .finally(() => this.#ending.delete(ended))
    this.#ending.add(ended)
    while (this.#ending.size > this.#settings.maxEnding) await Promise.race(this.#ending)
  }

  #outgoing<R>(key: string, text: RecordText<R>, stages: Stages, upload: StepOptions): Outgoing<R> {
    const { signal } = this.#stop
    // All that are open take records in turn: none may wait for another one's end.
    const options = { overwrite: false, ...upload, once: true, atOnce: true, signal }
    const object = new Outgoing<R>(key, text, stages, source =>
      this.#spool.upload(key, source, options),
    )
    this.#unfinished.add(object)
    const forget = (): void => void this.#unfinished.delete(object)
    void object.done.then(forget, forget)
    return object
  }

  #told({ key, records, first, last }: Outgoing<T>, result: UploadResult): ManifestObject {
    const { size, crc64, sealedAt } = result
    const object = { key, size, crc64, records, first, last, created: sealedAt }
    this.#listener.object(object)
    return object
  }

  #step<R>(step: () => Promise<R>): Promise<R> {
    const run = this.#steps.then(step)
    this.#steps = run.catch(() => {}) // whoever asked for the step has its error
    return run
  }

  #refuseIfStopped(): void {
    if (this.#stop.signal.aborted) throw new Error(`The job ${this.#settings.job} was given up`)
  }
}

/** The id of an object's upload: the same in every run of the job, and readable in `oss-spool ls`. */
function idOf(job: string, key: string): string {
  const name = key.slice(key.lastIndexOf('/') + 1).replace(/[^A-Za-z0-9_-]+/g, '-')
  const hash = createHash('sha256').update(key).digest('hex')
  return `${job}-${name.slice(-32)}-${hash.slice(0, 24)}`
}
