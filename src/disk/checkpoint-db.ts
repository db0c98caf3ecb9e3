/**
 * The lowdb store of one upload's checkpoint. lowdb's own adapters neither fsync nor detect damage (a file
 * that contains `null` reads as empty); this adapter does both. Writes never overlap, with any adapter;
 * pending writes are merged into one that writes the latest state.
 */
import { EventEmitter } from 'node:events'
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { Low, type Adapter } from 'lowdb'
import {
  CheckpointDamagedError,
  decodeCheckpoint,
  encodeCheckpoint,
  type Checkpoint,
} from './checkpoint.js'
import { isSystemError, replaceFile } from './durable-fs.js'
import { Coalescer } from '../util/coalesce.js'
import { openRegularFile } from './trusted-files.js'

/** Costs half as much as the one of `node:fs/promises`; listing a thousand uploads is mostly such reads. */
const readFile = promisify(fs.readFile)

/**
 * In bytes. Two records of 10,000 CRCs, 8 KiB of metadata and thousands of upload ids take less than 2 MiB.
 */
const MAX_CHECKPOINT_BYTES = 64 * 2 ** 20

/** A lowdb adapter whose `write` resolves when the data is on the disk. */
export class CheckpointFile implements Adapter<Checkpoint | null> {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  /**
   * Reads the checkpoint.
   * @returns `null` only if there is no file
   * @throws CheckpointDamagedError, LaterFormatError, UntrustedFileError, system errors
   */
  async read(): Promise<Checkpoint | null> {
    let opened: ReturnType<typeof openRegularFile>
    try {
      opened = openRegularFile(this.#path)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return null
      throw error
    }
    const { file, stats } = opened
    try {
      if (stats.size > MAX_CHECKPOINT_BYTES)
        throw new CheckpointDamagedError(`the checkpoint has ${stats.size} bytes`)
      return decodeCheckpoint(await readFile(file, 'utf8'))
    } finally {
      fs.closeSync(file)
    }
  }

  async write(checkpoint: Checkpoint | null): Promise<void> {
    if (checkpoint === null) throw new TypeError('There is no checkpoint to write')
    await replaceFile(this.#path, encodeCheckpoint(checkpoint))
  }
}

/** Emits `written` after each durable write, with the old state, the new state and the duration in ms. */
export class CheckpointDb extends EventEmitter<{
  written: [before: Checkpoint | null, now: Checkpoint, elapsed: number]
}> {
  readonly #adapter: Adapter<Checkpoint | null>
  readonly #db: Low<Checkpoint | null>
  readonly #writes = new Coalescer(() => this.#flush())
  #saved: Checkpoint | null = null
  #durable: Checkpoint | null = null
  #isSavedUnknown = false
  #savedAt = -Infinity

  constructor(adapter: Adapter<Checkpoint | null>) {
    super()
    this.#adapter = adapter
    this.#db = new Low<Checkpoint | null>(adapter, null)
  }

  /** The checkpoint that was last read, staged or passed to `write`; possibly not durable yet. */
  get checkpoint(): Checkpoint | null {
    return this.#db.data
  }

  /** The checkpoint on disk, which a new process would read. */
  get saved(): Checkpoint | null {
    return this.#saved
  }

  /** True if a write failed and the disk does not say whether it took effect, so that `saved` may be out of date. */
  get isSavedUnknown(): boolean {
    return this.#isSavedUnknown
  }

  /** Like `saved`, but also after a power cut: after a failed sync of the directory, it is the one before. */
  get durable(): Checkpoint | null {
    return this.#durable
  }

  /** Time of the last write by this process, by `performance.now()`; `-Infinity` if there was none. */
  get savedAt(): number {
    return this.#savedAt
  }

  async read(): Promise<Checkpoint | null> {
    await this.#db.read()
    return (this.#durable = this.#saved = this.#db.data)
  }

  /** Sets the state without writing it. */
  stage(checkpoint: Checkpoint): void {
    this.#db.data = checkpoint
  }

  /** Resolves when this state, or a later one, is durable. */
  write(checkpoint: Checkpoint): Promise<void> {
    this.#db.data = checkpoint
    return this.#writes.run()
  }

  /** Resolves when no write is in progress. */
  idle(): Promise<void> {
    return this.#writes.idle()
  }

  async #flush(): Promise<void> {
    const state = this.#db.data
    const before = this.#saved
    const from = performance.now()
    try {
      await this.#db.write()
      this.#durable = this.#saved = state
      this.#isSavedUnknown = false
      this.#savedAt = performance.now()
    } catch (error) {
      // Usually the old state is still there; the new one if only the last fsync failed. Read it back, since
      // callers rely on `saved`.
      this.#saved = await this.#adapter.read().catch(() => {
        this.#isSavedUnknown = true
        return this.#saved
      })
      throw error
    }
    if (state !== null) this.emit('written', before, state, performance.now() - from)
  }
}
