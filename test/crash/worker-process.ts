/** A worker in its own process, and the messages it sent before it exited. */
import { spawn, type ChildProcess } from 'node:child_process'
import { inspect } from 'node:util'
import type { MoveTarget, UploadOptions, UploadResult } from '../../src/index.js'
import type { RedisCheckpointOptions } from '../../src/redis/index.js'
import { pathOf } from '../support/project.js'

/** Task of a worker. */
export interface Job {
  readonly step: 'stream' | 'upload' | 'resume' | 'abort' | 'prune' | 'uploads' | 'forget'
  readonly client: object
  readonly dir: string
  readonly key: string
  readonly id: string
  /** Seed of the source's content. */
  readonly seed: number
  readonly size: number
  readonly options: UploadOptions
  /** Resume over someone else's object, and although older upload ids cannot be aborted. */
  readonly force?: true
  /** Resume at another place. */
  readonly to?: MoveTarget
  /** Keep checkpoints and locks in the Redis on this port. */
  readonly redis?: { readonly port: number } & RedisCheckpointOptions
  /** The source never ends. */
  readonly hold?: boolean
  /** Offsets at which the stream is committed. */
  readonly commits?: readonly number[]
  /** Milliseconds between two chunks of the source. */
  readonly pace?: number
  /** Load everything, then wait for `go()`. */
  readonly wait?: boolean
  /** Run another upload after this one, whether it succeeded or failed. */
  readonly next?: true
}

/** Instructions to `preload.mjs` for the worker's disk. */
export interface DiskPlan {
  /** Count operations below this directory. */
  readonly root: string
  /** Number of the operation to act on, starting at 1. */
  readonly at?: number
  readonly do?: 'kill' | 'fail'
  readonly when?: 'before' | 'after'
  /** With `before`: kill this many ms after the operation has begun. */
  readonly after?: number
  /** Error code of the operation that fails. */
  readonly code?: string
  /** After the operation, all later ones of its kind fail, too. */
  readonly always?: boolean
  /** Count operations that only read, too. */
  readonly reads?: true
  /** Delay each sync by this many ms. */
  readonly delaySync?: number
  /** Report when this checkpoint is durable and has no predecessor. */
  readonly watch?: string
  /** File to write the trace to. */
  readonly trace?: string
}

/** Message from a worker: one line of JSON on stdout. */
interface Message {
  readonly ready?: true
  readonly started?: true
  /** Offset at which the source was asked to begin. */
  readonly offset?: number
  readonly phase?: string
  readonly result?: UploadResult
  /** A step without a result succeeded. */
  readonly done?: true
  readonly error?: { name: string; code?: string; message: string; resumable?: boolean }
  /** Offset of the last commit that resolved. */
  readonly committed?: number
  /** The last warning. */
  readonly warning?: string
  /** The first operation that was made to fail. */
  readonly failed?: { op: string; path: string }
  /** Time, in ms since 1970, at which a record without a predecessor was durable. */
  readonly superseded?: number
  readonly next?: number
  readonly operations?: number
}

/** All messages of a worker, and how it exited. */
export interface WorkerOutcome extends Omit<Message, 'phase'> {
  readonly killed: boolean
  /** The worker received a progress event with a phase after `spooling`. */
  readonly sealed: boolean
}

const path = (name: string): string => pathOf(`test/crash/${name}`)

export class WorkerProcess {
  readonly #process: ChildProcess
  readonly #messages: Message[] = []
  #waiting: (() => void)[] = []
  #stderr = ''
  #exited = false
  /** Resolves when the worker exits with status 0 or SIGKILL, rejects otherwise. */
  readonly ended: Promise<WorkerOutcome>

  constructor(job: Job, disk?: DiskPlan) {
    const { NODE_OPTIONS: _loader, ...env } = process.env
    const preload = disk === undefined ? [] : ['--import', path('preload.mjs')]
    this.#process = spawn(process.execPath, [...preload, path('worker.mjs'), JSON.stringify(job)], {
      env: { ...env, OSS_SPOOL_TEST_DISK: JSON.stringify(disk ?? null) },
      stdio: 'pipe',
    })
    let text = ''
    this.#process.stdout?.setEncoding('utf8').on('data', (more: string) => {
      const lines = (text + more).split('\n')
      text = lines.pop() ?? ''
      // Every line was written by `worker.mjs` or `preload.mjs`.
      for (const line of lines) this.#messages.push(JSON.parse(line) as Message)
      this.#wake()
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (more: string) => {
      this.#stderr += more
    })
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', reject)
      this.#process.once('close', (code, signal) => {
        this.#exited = true
        this.#wake()
        if (code === 0 || signal === 'SIGKILL') resolve(this.#outcome(signal !== null))
        else reject(new Error(`The worker exited with ${code ?? signal}: ${this.#stderr}`))
      })
    })
    this.ended.catch(() => {}) // not every test awaits it
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Resolves when the worker has sent a message with this field, or has exited. */
  async waitFor(name: keyof Message): Promise<void> {
    while (!this.#exited && !this.#messages.some(message => message[name] !== undefined)) {
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  go(): void {
    this.#process.stdin?.write('go\n')
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /**
   * Resolves when the worker has exited.
   *
   * @throws if it takes longer than any upload should, after killing it
   */
  async finished(limit = 30_000): Promise<WorkerOutcome> {
    const watch = setTimeout(() => this.signal('SIGKILL'), limit)
    const outcome = await this.ended
    clearTimeout(watch)
    if (outcome.killed) throw new Error(`The worker hangs: ${inspect(outcome)}`)
    return outcome
  }

  async kill(): Promise<WorkerOutcome> {
    this.signal('SIGKILL')
    return this.ended
  }

  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume()
  }

  #outcome(killed: boolean): WorkerOutcome {
    const { phase: _last, ...rest }: Message = Object.assign({}, ...this.#messages)
    return { ...rest, killed, sealed: this.#messages.some(({ phase }) => phase !== undefined) }
  }
}
