/**
 * Commands of the model test: possible actions of users, sources, OSS, other writers and the kernel. Each
 * command is executed in a worker process and reported to the model.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { mkdtemp, readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import * as fc from 'fast-check'
import type { Emulator, Fault, FaultHandle } from '../../src/emulator/index.js'
import type { UploadStatus } from '../../src/index.js'
import { BUCKET } from '../support/oss.js'
import { Model, type Facts, type Outcome, type Stream } from './model.js'
import { pathOf } from '../support/project.js'
import { removeDirectory } from '../support/remove-directory.js'

const PART = 102_400
/** Time, in ms, in which requests already sent arrive at OSS after their sender was killed. */
const ARRIVAL = 100
const WORKER = pathOf('test/model/worker.mjs')

export type Command =
  | { do: 'open'; id: Id; overwrite: boolean; offset: boolean; once: boolean; start?: Start }
  | { do: 'write'; id: Id; size: number }
  | { do: 'commit' | 'end' | 'fail' | 'destroy'; id: Id }
  | { do: 'cut'; id: Id; after: number }
  | {
      do: 'upload'
      id: Id
      size: number
      flip: number
      overwrite: boolean
      offset: boolean
      once: boolean
      start?: Start
    }
  | { do: 'resume'; id: Id; force: boolean }
  | { do: 'abort'; id: Id }
  | { do: 'prune'; sealed: boolean; orphans: boolean }
  | { do: 'stranger'; id: Id }
  | { do: 'otherKey'; id: Id }
  | { do: 'fault'; fault: Fault }
  | { do: 'crash'; during: Command | undefined; after: number }

type Id = 'a' | 'b'
type Start = 'eager' | 'first-part'

const id = fc.constantFrom<Id>('a', 'a', 'a', 'b')
const size = fc.constantFrom(0, 1000, PART, PART + 1, 2 * PART, 3 * PART + 50, 5 * PART)
const seldom = fc.nat(3).map(n => n === 0)
const start = fc.constantFrom<Start>('eager', 'eager', 'first-part')
const options = { overwrite: seldom.map(x => !x), offset: seldom, once: seldom, start }

const fault: fc.Arbitrary<Fault> = fc
  .record({
    operation: fc.constantFrom(
      'InitiateMultipartUpload',
      'UploadPart',
      'UploadPart',
      'CompleteMultipartUpload',
      'CompleteMultipartUpload',
      'PutObject',
      'PutObject',
      'ListParts',
      'HeadObject',
      'AbortMultipartUpload',
    ),
    times: fc.integer({ min: 1, max: 4 }),
    what: fc.constantFrom<Record<string, unknown>>(
      { do: 'answer', status: 503, code: 'ServiceUnavailable' },
      { do: 'answer', status: 503, code: 'ServiceUnavailable', at: 'done' },
      { do: 'answer', status: 403, code: 'AccessDenied' },
      { do: 'reset', at: 'start' },
      { do: 'reset', at: 'body' },
      { do: 'reset', at: 'received' },
      { do: 'reset', at: 'done' },
      { do: 'reset', at: 'done' },
      { do: 'drop-upload' },
      { do: 'drop-upload' },
      { do: 'drop-part', parts: [2] },
      { do: 'truncate' },
      { do: 'alter', headers: { 'x-oss-hash-crc64ecma': '42' } },
      { do: 'alter', headers: { 'x-oss-hash-crc64ecma': null } },
    ),
  })
  // The constants above are valid faults; `what` is loosely typed only to keep them in one list.
  .map(({ what, ...match }) => ({ ...match, ...what }) as unknown as Fault)

const simple: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('open' as const), id, ...options }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('write' as const), id, size }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('commit' as const), id }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('end' as const), id }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('fail' as const, 'destroy' as const), id }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), id, after: fc.nat(12) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('upload' as const),
      id,
      size,
      flip: fc.nat(9),
      ...options,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('resume' as const), id, force: seldom }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), id }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('prune' as const),
      sealed: seldom,
      orphans: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('stranger' as const), id }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('otherKey' as const), id }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('fault' as const), fault }) },
)

/** Sequences of commands. `crash` kills the worker, possibly while it executes another command. */
export const commands: fc.Arbitrary<Command[]> = fc.array(
  fc.oneof(
    { weight: 14, arbitrary: simple },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('crash' as const),
        during: fc.option(simple, { nil: undefined }),
        after: fc.nat(25),
      }),
    },
  ),
  { minLength: 3, maxLength: 14, size: 'max' },
)

interface Answer {
  readonly n: number
  readonly value?: unknown
  readonly error?: {
    code?: string
    resumable?: boolean
    message: string
    called?: number
    stack?: string
  }
}

/** The worker process. A spare one is started in advance. */
export class Worker {
  #child = this.#fork()
  #spare = this.#fork()
  #n = 0

  #fork(): { child: ChildProcess; ready: Promise<unknown> } {
    const child = fork(WORKER, { serialization: 'advanced', execArgv: [] })
    return { child, ready: new Promise(resolve => child.once('message', resolve)) }
  }

  async ask(step: string, parameters: object = {}): Promise<Answer> {
    const { child, ready } = this.#child
    await ready
    const n = ++this.#n
    return new Promise((resolve, reject) => {
      const done = (): void => {
        child.off('message', onMessage)
        child.off('exit', onExit)
      }
      const onMessage = (answer: Answer): void => {
        if (answer.n !== n) return
        done()
        resolve(answer)
      }
      const onExit = (): void => {
        done()
        reject(new Error(`The worker exited during ${step}`))
      }
      child.on('message', onMessage)
      child.on('exit', onExit)
      child.send({ n, step, ...parameters })
    })
  }

  /** Sends SIGKILL. The next `ask` goes to a new process. */
  async kill(): Promise<void> {
    const { child } = this.#child
    const gone = new Promise(resolve => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
    this.#child = this.#spare
    this.#spare = this.#fork()
  }

  end(): void {
    for (const { child } of [this.#child, this.#spare]) child.kill('SIGKILL')
  }
}

/** One run of commands against one spool directory. */
export class Run {
  readonly #model = new Model()
  readonly #written = new Map<Id, Buffer>()
  readonly #options = new Map<Id, { overwrite: boolean; committable: boolean }>()
  readonly #client: OSS
  /** Common content, so that streams of one id share their parts. */
  readonly #base = Buffer.alloc(8 * PART, 'oss-spool knows its parts by number, size and CRC64. ')
  readonly #faults: FaultHandle[] = []
  #unique = 0
  readonly log: string[] = []

  readonly oss: Emulator
  readonly worker: Worker
  readonly dir: string
  readonly run: number

  private constructor(oss: Emulator, worker: Worker, dir: string, run: number) {
    this.oss = oss
    this.worker = worker
    this.dir = dir
    this.run = run
    this.#client = new OSS(oss.clientOptions(BUCKET))
  }

  static async begin(oss: Emulator, worker: Worker, run: number): Promise<Run> {
    const dir = await mkdtemp(join(tmpdir(), 'oss-spool-model-'))
    const begun = new Run(oss, worker, dir, run)
    await begun.#restart()
    return begun
  }

  async #restart(): Promise<void> {
    const client = this.oss.clientOptions(BUCKET)
    await this.worker.ask('begin', { client, dir: this.dir })
  }

  key(of: Id): string {
    return `run-${this.run}/${of}`
  }

  /**
   * Executes the command and compares the result with the model.
   *
   * @throws with the log if no rule allows the result
   */
  async step(command: Command): Promise<void> {
    if (!(await this.#step(command))) return
    await this.#others(command)
  }

  /** Checks the final state: every upload can be finished or aborted, and nothing is left. */
  async end(): Promise<void> {
    this.clear()
    for (const of of ['a', 'b'] as const) {
      if (this.#model.of(of).live) await this.#step({ do: 'destroy', id: of })
      if (this.#model.of(of).sealed === undefined) continue
      await this.#step({ do: 'resume', id: of, force: true })
      if (this.#model.of(of).sealed !== undefined)
        this.#broken(['A sealed upload cannot be finished'])
    }
    for (const upload of await this.#uploads()) await this.worker.ask('abort', { id: upload.id })
    await this.worker.ask('prune', { orphans: true })
    await this.worker.ask('begin', { client: this.oss.clientOptions(BUCKET), dir: this.dir })
    await this.worker.ask('prune', { orphans: true })
    const left = await readdir(this.dir).catch(() => [])
    if (left.length > 0) this.#broken([`Files left in the spool: ${left.join()}`])
    const lost = this.oss.requests.filter(
      ({ operation, key, fault }) =>
        operation === 'InitiateMultipartUpload' && key?.startsWith(`run-${this.run}/`) && fault,
    ).length
    const { uploads } = await this.#client.listUploads(
      { prefix: `run-${this.run}/`, 'max-uploads': 100 },
      {},
    )
    const orphans = uploads.length
    for (const { name, uploadId } of uploads) {
      // The typings require options that the client does not.
      const { parts } = await this.#client.listParts(
        name,
        uploadId,
        { 'max-parts': 10 } as OSS.ListPartsQuery,
        {},
      )
      if ([parts ?? []].flat().length > 0)
        this.#broken([`Upload id ${uploadId} with parts was left on OSS`])
    }
    if (orphans > lost + this.#interrupted)
      this.#broken([`${orphans} upload ids left on OSS, but only ${lost} replies were lost`])
    await removeDirectory(this.dir)
  }

  /** Number of times we cut off requests. An Initiate request among them leaves an empty upload id. */
  #interrupted = 0

  /** Removes all faults. */
  clear(): FaultHandle[] {
    const faults = this.#faults.splice(0)
    for (const handle of faults) handle.remove()
    return faults
  }

  async #step(command: Command): Promise<boolean> {
    switch (command.do) {
      case 'fault':
        this.#faults.push(this.oss.inject(command.fault))
        this.log.push(`fault ${JSON.stringify(command.fault)}`)
        return false
      case 'stranger': {
        const bytes = this.#bytes(77, 1)
        const wasVerified = this.#wasVerified(this.key(command.id))
        // Suspend all faults, because they are meant for our requests only.
        const faults = this.clear()
        await this.#client.put(this.key(command.id), bytes)
        for (const { fault } of faults) this.#faults.push(this.oss.inject(fault))
        this.#model.stranger(command.id, bytes, wasVerified)
        this.log.push(`another writer puts ${command.id}`)
        return false
      }
      case 'prune': {
        const { error } = await this.worker.ask('prune', command)
        for (const of of ['a', 'b'] as const) {
          const outcome: Outcome = { kind: 'done' }
          const live = this.#model.of(of).live
          await this.#compare({
            step: `prune`,
            id: of,
            gaveUp: command.sealed && !live,
            live,
            outcome,
          })
        }
        if (error) this.#broken([`prune() failed: ${error.message}`])
        return true
      }
      case 'crash':
        return this.#crash(command)
      default:
        return this.#act(command)
    }
  }

  /** Whether our latest write of the object was looked at since, before someone else replaces it. */
  #wasVerified(key: string): boolean {
    const own = this.oss.requests.filter(request => request.key === key)
    const writes = ['PutObject', 'CompleteMultipartUpload']
    const latestWrite = own.findLastIndex(({ operation }) => writes.includes(operation))
    return own
      .slice(latestWrite + 1)
      .some(({ operation, status }) => operation === 'HeadObject' && status === 200)
  }

  async #act(
    command: Exclude<Command, { do: 'fault' | 'stranger' | 'prune' | 'crash' }>,
  ): Promise<boolean> {
    const asked = this.#prepare(command)
    if (asked === undefined) return false
    const answer = await this.worker.ask(asked.step, asked.parameters)
    if (['fail', 'destroy', 'cut'].includes(command.do)) this.#interrupted++
    if (command.do === 'cut') await sleep(ARRIVAL)
    await this.#compare(asked.facts(answer))
    return true
  }

  /**
   * Returns the worker's message and its meaning for the model, or `undefined` if the command makes no sense
   * now.
   */
  #prepare(
    command: Exclude<Command, { do: 'fault' | 'stranger' | 'prune' | 'crash' }>,
  ):
    { step: string; parameters: object; facts: (answer: Answer | undefined) => Facts } | undefined {
    const { id: of } = command
    const key = this.key(of)
    const { live } = this.#model.of(of)
    const facts =
      (more: Partial<Facts>) =>
      (answer: Answer | undefined): Facts => ({
        step: command.do,
        id: of,
        live,
        ...more,
        outcome: outcomeOf(answer),
      })
    switch (command.do) {
      case 'otherKey': {
        if (live || this.#model.of(of).sealed === undefined) return undefined
        const bytes = this.#bytes(5, 0)
        return {
          step: 'upload',
          parameters: { id: of, key: `${key}-other`, data: bytes },
          // The object at the id's own key must not change. An unknown id is used for the other key.
          facts: answer => {
            const used = answer?.error?.code === 'ERR_SPOOL_ID_IN_USE'
            return {
              step: 'otherKey',
              id: of,
              outcome: used ? outcomeOf(answer) : { kind: 'done' },
            }
          },
        }
      }
      case 'open': {
        // If the open sink failed on its own, it is unknown which of its commits a new one would supersede.
        if (this.#model.of(of).commits.length > 0) return undefined
        const { overwrite, once, start } = command
        const replay = command.offset ? 'offset' : 'restart'
        return {
          step: 'open',
          parameters: { id: of, key, options: { overwrite, once, replay, start } },
          facts: answer => {
            if (!live || succeeded(answer)) {
              this.#written.set(of, Buffer.alloc(0))
              this.#options.set(of, { overwrite, committable: !once && !command.offset })
            }
            return { ...facts({})(answer), live: live || succeeded(answer) }
          },
        }
      }
      case 'write': {
        if (!live) return undefined
        const before = this.#written.get(of)!
        const after = this.#bytes(before.length + command.size, 0)
        this.#written.set(of, after)
        return {
          step: 'write',
          parameters: { id: of, data: after.subarray(before.length) },
          facts: answer => ({
            ...facts({})(answer),
            live: succeeded(answer),
          }),
        }
      }
      case 'commit': {
        const { overwrite = true, committable = false } = this.#options.get(of) ?? {}
        if (!live || !committable) return undefined
        const commit = { bytes: this.#written.get(of)!, overwrite, isPrefix: true }
        return {
          step: 'commit',
          parameters: { id: of },
          facts: answer => facts({ commit, live: succeeded(answer) })(answer),
        }
      }
      case 'end':
      case 'cut': {
        if (!live) return undefined
        const { overwrite } = this.#options.get(of)!
        return {
          step: command.do,
          parameters: command,
          facts: facts({ live: false, ended: { bytes: this.#written.get(of)!, overwrite } }),
        }
      }
      case 'fail':
      case 'destroy':
        if (!live) return undefined
        return { step: command.do, parameters: command, facts: facts({ live: false }) }
      // A sink may have failed on its own, for example because Initiate found someone else's object.
      // While it is open, no other call may resume or abort its upload or read its source (rule 9).
      case 'resume':
        return {
          step: 'resume',
          parameters: command,
          facts: answer => {
            const free = !live || succeeded(answer)
            return facts({ finishes: free, force: command.force, live: !free })(answer)
          },
        }
      case 'abort':
        return {
          step: 'abort',
          parameters: command,
          facts: answer => {
            const free = !live || succeeded(answer)
            return facts({ gaveUp: free, live: !free })(answer)
          },
        }
      default: {
        // upload
        const data = this.#bytes(command.size, command.flip)
        const { overwrite, once, start } = command
        const before = this.#written.get(of) ?? Buffer.alloc(0)
        const options = { overwrite, once, start, replay: command.offset ? 'offset' : 'restart' }
        return {
          step: 'upload',
          parameters: { id: of, key, data, options },
          facts: answer => {
            const result = answer?.value as { called?: number } | undefined // made by the worker
            const called = result?.called ?? answer?.error?.called
            // After a kill it is unknown whether the source was called, and at which offset. Allow both.
            const offset = called ?? 0
            const ended: Stream = {
              bytes: Buffer.concat([before.subarray(0, offset), data.subarray(offset)]),
              overwrite,
            }
            const { sealed } = this.#model.of(of)
            const needsSource = sealed === undefined || sealed.isPrefix === true
            const asked = called !== undefined || (answer === undefined && needsSource)
            const free = !live || called !== undefined || succeeded(answer)
            if (asked && free) this.#written.set(of, ended.bytes)
            return facts({
              finishes: free,
              whole: true,
              live: !free,
              ...(asked && free ? { ended } : {}),
            })(answer)
          },
        }
      }
    }
  }

  async #crash({ during, after }: Extract<Command, { do: 'crash' }>): Promise<boolean> {
    const able =
      during?.do === 'commit' ||
      during?.do === 'end' ||
      during?.do === 'upload' ||
      during?.do === 'resume'
        ? during
        : undefined
    // With `replay: 'offset'`, a killed upload() cannot report the offset at which it continued.
    const usable = able?.do === 'upload' && able.offset ? undefined : able
    const asked = usable === undefined ? undefined : this.#prepare(usable)
    const answering = asked && this.worker.ask(asked.step, asked.parameters).catch(() => undefined)
    await sleep(after)
    await this.worker.kill()
    const answer = await answering
    this.#interrupted++
    await sleep(ARRIVAL)
    await this.#restart()
    this.log.push(`SIGKILL ${usable ? `during ${usable.do} ${usable.id}` : ''}`)
    for (const of of ['a', 'b'] as const) {
      const facts: Facts =
        asked !== undefined && usable?.id === of
          ? asked.facts(answer)
          : { step: 'crash', id: of, outcome: { kind: 'killed' } }
      await this.#compare({ ...facts, live: false })
    }
    return true
  }

  async #others(command: Command): Promise<void> {
    if (!('id' in command)) return
    const other = command.id === 'a' ? 'b' : 'a'
    const { live } = this.#model.of(other)
    await this.#compare({
      step: `(${command.do} of ${command.id})`,
      id: other,
      live,
      outcome: { kind: 'done' },
    })
  }

  async #compare(facts: Facts): Promise<void> {
    const of = facts.id as Id // ids come from the commands above
    const object = await this.#object(this.key(of))
    const found = (await this.#uploads()).find(upload => upload.id === of)
    const { outcome, ended, live } = facts
    const summary =
      outcome.kind === 'failed' ? `${outcome.code} ${outcome.resumable}` : outcome.kind
    this.log.push(
      `${facts.step} ${of}${ended ? ` (${ended.bytes.length} bytes)` : ''}: ${summary}; ` +
        `object ${object?.length}, ${found?.phase} ${found?.size} ` +
        `committed ${found?.committed}${live ? ', live' : ''}`,
    )
    const wrong = this.#model.after(facts, { ...found, object })
    if (outcome.kind === 'failed' && wrong.length > 0) wrong.push(outcome.text)
    if (wrong.length > 0) this.#broken(wrong)
  }

  #broken(wrong: readonly string[]): never {
    throw new Error([...wrong, ...this.log.map(line => `  ${line}`)].join('\n'))
  }

  async #uploads(): Promise<Pick<UploadStatus, 'id' | 'phase' | 'size' | 'committed'>[]> {
    const { value, error } = await this.worker.ask('uploads')
    if (error) this.#broken([`uploads() failed: ${error.message}`])
    return value as UploadStatus[]
  }

  async #object(key: string): Promise<Buffer | undefined> {
    try {
      const { content } = await this.#client.get(key)
      return content as Buffer // typed as any
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 404) return undefined
      throw error
    }
  }

  /** Returns about `near` bytes of the common content, with a length that is unique in this run. */
  #bytes(near: number, flip: number): Buffer {
    const bytes = Buffer.from(this.#base.subarray(0, near + ++this.#unique))
    if (flip > 0 && bytes.length > 0) bytes[Math.floor((bytes.length - 1) / flip)]! ^= 1
    return bytes
  }
}

function succeeded(answer: Answer | undefined): boolean {
  return answer !== undefined && answer.error === undefined
}

function outcomeOf(answer: Answer | undefined): Outcome {
  if (answer === undefined) return { kind: 'killed' }
  const { error, value } = answer
  if (error !== undefined) {
    const { code = 'none', resumable = false, message, stack = '' } = error
    return {
      kind: 'failed',
      code,
      resumable,
      text: `${code}: ${message} ${code === 'none' ? stack : ''}`,
    }
  }
  return { kind: 'done', ...(value as object | undefined) } // a summary of an UploadResult
}
