/**
 * Sources that run in processes of their own: one that exits, crashes, runs out of memory or blocks the event loop
 * fails its own attempt, and neither its worker nor the other jobs.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import {
  addAbortSignal,
  pipeline,
  Transform,
  type Readable,
  type TransformCallback,
} from 'node:stream'
import { pathToFileURL } from 'node:url'
import { checkObject, checkProperties, invalidType } from '../errors.js'
import type { SourceOptions } from '../index.js'
import { packageFile } from '../util/package-file.js'
import type { Sources } from './job.js'
import {
  ABORT_MESSAGE,
  fromErrorData,
  OUTPUT_FD,
  type SourceReport,
  type SourceTask,
} from './source-messages.js'

/** Path of the program in the package. */
const PROGRAM = 'dist/bullmq/source-process.js'

/** Not passed on: a source has no need of the credentials of the uploads. */
const SECRET_VARIABLES: ReadonlySet<string> = new Set([
  'OSS_ACCESS_KEY_ID',
  'OSS_ACCESS_KEY_SECRET',
  'OSS_SESSION_TOKEN',
])

/** ms after which a process that has to stop gets SIGTERM, and SIGKILL. */
const SIGTERM_DELAY_MS = 1_000
const SIGKILL_DELAY_MS = 2_000

/** Options of `sandboxedSources()`. */
export interface SandboxOptions {
  /** Options of Node for the processes, such as `--max-old-space-size=512`. @default those of this process */
  readonly execArgv?: readonly string[]
}

/** The cause of `ERR_SPOOL_SOURCE_FAILED` when the process of a source ended before its source. */
export class SourceProcessError extends Error {
  /** Stable code. */
  readonly code = 'ERR_SOURCE_PROCESS_ENDED'
  /** The job is retried. */
  readonly retryable = true

  constructor(message: string) {
    super(message)
    this.name = 'SourceProcessError'
  }
}

/**
 * Returns the sources of a module, each call of which runs in its own process. This process does not import the module.
 * @param file – the module: a URL or a path. Its sources are the functions of its default export if that is an object,
 * otherwise all exported functions
 * @throws TypeError, by rejecting, for invalid arguments; otherwise the error of a module that cannot be imported
 */
export async function sandboxedSources(
  file: string | URL,
  options: SandboxOptions = {},
): Promise<Sources> {
  const url = toModuleUrl(file)
  checkOptions(options)
  const names = await listNames(url, options)
  return Object.fromEntries(
    names.map(source => [
      source,
      (args: never, { offset, signal }: SourceOptions) => {
        signal.throwIfAborted()
        const child = start({ url, call: { source, args, offset } }, options)
        return readOutput(child, source, signal)
      },
    ]),
  )
}

function checkOptions(options: SandboxOptions): void {
  checkObject('options', options)
  checkProperties('options', options, { execArgv: true })
  const execArgv: unknown = options.execArgv
  const areStrings = Array.isArray(execArgv) && execArgv.every(each => typeof each === 'string')
  if (execArgv !== undefined && !areStrings) {
    throw invalidType('execArgv', 'an array of strings', execArgv)
  }
}

function toModuleUrl(file: unknown): string {
  // By its text, because a URL may come from another realm.
  if (isUrl(file)) return file.href
  if (typeof file !== 'string') throw invalidType('file', 'a path or a URL', file)
  return file.startsWith('file:') ? file : pathToFileURL(resolve(file)).href
}

function isUrl(value: unknown): value is URL {
  return typeof value === 'object' && value !== null && 'href' in value
}

async function listNames(url: string, options: SandboxOptions): Promise<readonly string[]> {
  const child = start({ url }, options)
  const report = await waitForReport(child, 'the process that lists the sources')
  return 'names' in report ? report.names : []
}

/** Starts a process. Its standard output and error are the standard error of this process. */
function start(task: SourceTask, { execArgv }: SandboxOptions): ChildProcess {
  const env = Object.entries(process.env).filter(([name]) => !SECRET_VARIABLES.has(name))
  const child = fork(packageFile(PROGRAM), {
    env: Object.fromEntries(env),
    stdio: ['ignore', process.stderr.fd, process.stderr.fd, 'pipe', 'ipc'],
    ...(execArgv === undefined ? {} : { execArgv: [...execArgv] }),
  })
  child.send(task, () => {}) // a process that died is reported when it is closed
  return child
}

/**
 * Returns the bytes of a source as a stream that ends only after its process has reported as many, and otherwise fails.
 * A stream that is destroyed stops the process.
 */
function readOutput(child: ChildProcess, source: string, signal: AbortSignal): Readable {
  const report = waitForReport(child, `the process of the source ${source}`)
  let bytes = 0
  const output = new Transform({
    transform(chunk: Buffer, _encoding, callback: TransformCallback) {
      bytes += chunk.length
      callback(null, chunk)
    },
    flush(callback) {
      report.then(end => callback(isComplete(end, bytes) ? null : lostBytes(source)), callback)
    },
  })
  report.catch((error: Error) => output.destroy(error))
  output.once('close', () => stop(child))
  addAbortSignal(signal, output)
  // A file descriptor of `stdio` beyond the first three is a stream in both directions, which its type does not say.
  pipeline(child.stdio[OUTPUT_FD] as Readable, output, () => {}) // passes a failure on to `output`
  return output
}

function isComplete(report: SourceReport, bytes: number): boolean {
  return 'end' in report && report.end === bytes
}

function lostBytes(source: string): SourceProcessError {
  return new SourceProcessError(`bytes of the process of the source ${source} are missing`)
}

/**
 * Resolves when the process has ended after its report.
 * @throws the error of the source, or SourceProcessError if the process ended without a report
 */
async function waitForReport(child: ChildProcess, name: string): Promise<SourceReport> {
  let report: SourceReport | undefined
  // Only our program sends messages, unless a source does so, which then fails by the number of bytes.
  child.on('message', message => void (report = message as SourceReport))
  const [exitCode, signal] = await once(child, 'close')
  if (report === undefined) {
    const ending = signal === null ? `exited with ${exitCode}` : `was ended by ${signal}`
    throw new SourceProcessError(`${name} ${ending} before its end`)
  }
  if ('error' in report) throw fromErrorData(report.error)
  return report
}

/** Tells a process to stop, and ends it if it does not. */
function stop(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return
  if (child.connected) child.send(ABORT_MESSAGE, () => {})
  const timers = [
    setTimeout(() => child.kill('SIGTERM'), SIGTERM_DELAY_MS),
    setTimeout(() => child.kill('SIGKILL'), SIGKILL_DELAY_MS),
  ]
  child.once('exit', () => timers.forEach(clearTimeout))
}
