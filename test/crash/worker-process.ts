/** A worker in a process of its own, and what it said before it ended. */
import { spawn, type ChildProcess } from 'node:child_process'
import type { UploadOptions, UploadResult } from '../../src/index.js'
import type { RedisCheckpointOptions } from '../../src/redis/index.js'
import { pathOf } from '../support/project.js'

/** What a worker is to do. */
export interface Job {
  readonly step: 'stream' | 'upload' | 'resume'
  readonly client: object
  readonly dir: string
  readonly key: string
  readonly id: string
  /** Of the source. */
  readonly seed: number
  readonly size: number
  readonly options: UploadOptions
  /** Records and locks are in the Redis of this port. */
  readonly redis?: { readonly port: number } & RedisCheckpointOptions
  /** The source never ends. */
  readonly hold?: boolean
  /** ms between two chunks of the source. */
  readonly pace?: number
  /** Waits for `go()` when all is loaded. */
  readonly wait?: boolean
  /** Another upload, after this one has ended somehow. */
  readonly next?: true
}

/** What `preload.mjs` is to do with the worker's disk. */
export interface DiskPlan {
  /** Operations below this directory count. */
  readonly root: string
  /** Which one, from 1. */
  readonly at?: number
  readonly do?: 'kill' | 'fail'
  readonly when?: 'before' | 'after'
  readonly code?: string
  /** A file for the trace. */
  readonly trace?: string
}

/** A line that a worker said. */
interface Line {
  readonly ready?: true
  readonly started?: true
  /** Where the source was to begin. */
  readonly offset?: number
  readonly phase?: string
  readonly result?: UploadResult
  readonly error?: { code?: string; message: string; resumable?: boolean }
  readonly failed?: { op: string; path: string }
  readonly next?: number
  readonly operations?: number
}

/** How a worker ended. */
export interface WorkerOutcome extends Omit<Line, 'phase'> {
  readonly killed: boolean
  /** It was told that the upload is sealed. */
  readonly sealed: boolean
}

const path = (name: string): string => pathOf(`test/crash/${name}`)

export class WorkerProcess {
  readonly #process: ChildProcess
  readonly #lines: Line[] = []
  #waiting: (() => void)[] = []
  #stderr = ''
  #over = false
  /** Rejects when it ended in a way that no test wants. */
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
      // Each line is written by `worker.mjs` or `preload.mjs`.
      for (const line of lines) this.#lines.push(JSON.parse(line) as Line)
      this.#wake()
    })
    this.#process.stderr?.setEncoding('utf8').on('data', (more: string) => {
      this.#stderr += more
    })
    this.ended = new Promise((resolve, reject) => {
      this.#process.once('error', reject)
      this.#process.once('close', (code, signal) => {
        this.#over = true
        this.#wake()
        if (code === 0 || signal === 'SIGKILL') resolve(this.#outcome(signal !== null))
        else reject(new Error(`The worker ended with ${code ?? signal}: ${this.#stderr}`))
      })
    })
    this.ended.catch(() => {}) // for those who do not wait for it
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Resolves when it has said such a line, or has ended. */
  async waitFor(name: keyof Line): Promise<void> {
    while (!this.#over && !this.#lines.some(line => line[name] !== undefined)) {
      await new Promise<void>(resolve => this.#waiting.push(resolve))
    }
  }

  go(): void {
    this.#process.stdin?.write('go\n')
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  async kill(): Promise<WorkerOutcome> {
    this.signal('SIGKILL')
    return this.ended
  }

  #wake(): void {
    for (const look of this.#waiting.splice(0)) look()
  }

  #outcome(killed: boolean): WorkerOutcome {
    const { phase: _last, ...said }: Line = Object.assign({}, ...this.#lines)
    return { ...said, killed, sealed: this.#lines.some(line => line.phase !== undefined) }
  }
}
