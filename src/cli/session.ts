/**
 * One run of the command line: its streams, its configuration, its signals, and what has to be
 * closed at its end. The first SIGINT, SIGTERM or SIGHUP ends the work in order, with all state kept; the
 * second ends the process. What is heavy is loaded when a command asks for it.
 */
import { constants } from 'node:os'
import type { Spool } from '../spool.js'
import type { SpoolOptions } from '../spool-options.js'
import { readConfiguration, type Configuration } from './configuration.js'
import type { CliConnection, ConnectionFlags } from './connection.js'
import { EXIT_SUCCESS, EXIT_FAILURE } from './exit-status.js'
import { escapeControlChars } from './escape-control-chars.js'

/** The process as the commands see it. */
export type ProcessIo = Pick<
  NodeJS.Process,
  'stdin' | 'stdout' | 'stderr' | 'env' | 'on' | 'off' | 'exit'
>

/** Flags of every command. */
export interface GlobalFlags {
  readonly config?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly debug?: boolean
  readonly spool?: string
}

export type SpoolFlags = GlobalFlags &
  ConnectionFlags & { readonly maxRate?: number; readonly parallelUploads?: number }

export type InterruptSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const INTERRUPT_SIGNALS: readonly InterruptSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

export class Session {
  readonly io: ProcessIo
  /** What the command's action resolved to. */
  commandStatus = EXIT_SUCCESS
  /** What is drawn on the last line of standard error, and has to make room for other lines. */
  statusLine: { clear(): void } | undefined
  readonly #abortController = new AbortController()
  readonly #closeHandlers: (() => Promise<void> | void)[] = []
  #interruptedBy: InterruptSignal | undefined
  #outputFailed = false
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const signalName = INTERRUPT_SIGNALS.find(name => name === signal) ?? 'SIGTERM'
    if (this.#interruptedBy !== undefined) {
      this.statusLine?.clear()
      this.io.exit(128 + constants.signals[signalName])
    }
    this.#interruptedBy = signalName
    this.#abortController.abort(signalName)
  }
  /** Whoever read our result went away: his affair. Anything else is a result that nobody has. */
  readonly #onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE' || this.#outputFailed) return
    this.#outputFailed = true
    this.logLine(`the result cannot be written to standard output: ${error.code ?? error.message}`)
  }

  constructor(io: ProcessIo) {
    this.io = io
    for (const signal of INTERRUPT_SIGNALS) io.on(signal, this.#onSignal)
    io.stdout.on('error', this.#onOutputError)
    io.stderr.on('error', () => {}) // there is no other place to say it
  }

  /** Aborted by the first signal, whose name is the reason. */
  get signal(): AbortSignal {
    return this.#abortController.signal
  }

  /** 128 + n after a signal; else that of the command, unless nobody could be given its result. */
  exitStatus(): number {
    if (this.#interruptedBy !== undefined) return 128 + constants.signals[this.#interruptedBy]
    return this.#outputFailed && this.commandStatus === EXIT_SUCCESS
      ? EXIT_FAILURE
      : this.commandStatus
  }

  /** Runs a command with its flags, and with what the configuration says where there is no flag. */
  async run<F extends GlobalFlags>(
    flags: F,
    command: (flags: F) => Promise<number>,
  ): Promise<void> {
    if (flags.debug) {
      const { logRequests } = await import('./request-log.js')
      this.onClose(logRequests(line => this.logLine(line)))
    }
    this.commandStatus = await command({
      ...(await this.loadConfiguration(flags)).values,
      ...flags,
    })
  }

  loadConfiguration(flags: GlobalFlags): Promise<Configuration> {
    return readConfiguration(flags.config, this.io.env)
  }

  /** A connection to the OSS that flags and configuration name. @throws UsageError */
  async connect(flags: SpoolFlags, bucket?: string): Promise<CliConnection> {
    const { openConnection } = await import('./connection.js')
    const { credentials } = await this.loadConfiguration(flags)
    const connection = await openConnection(flags, credentials, bucket)
    this.onClose(() => connection.close())
    return connection
  }

  /** A spool over that connection. @throws UsageError without credentials */
  async openSpool(
    flags: SpoolFlags,
    connection: CliConnection,
    extraOptions: Partial<SpoolOptions> = {},
  ): Promise<Spool> {
    const { Spool: SpoolClass } = await import('../spool.js')
    const spool = new SpoolClass({
      client: connection,
      ...(flags.spool === undefined ? {} : { dir: flags.spool }),
      ...(flags.maxRate === undefined ? {} : { maxRate: flags.maxRate }),
      ...(flags.parallelUploads === undefined ? {} : { parallelUploads: flags.parallelUploads }),
      ...extraOptions,
    })
    spool.on('warning', ({ message }) => this.logLine(message))
    return spool
  }

  /** A line of standard output: the result. */
  print(line: string): void {
    this.statusLine?.clear()
    this.io.stdout.write(`${line}\n`)
  }

  /** A line of standard error, with our name before it. */
  logLine(text: string): void {
    this.log(`oss-spool: ${text}`)
  }

  /** A line of standard error that belongs to the one before it. */
  log(text: string): void {
    this.statusLine?.clear()
    this.io.stderr.write(`${escapeControlChars(text)}\n`)
  }

  onClose(close: () => Promise<void> | void): void {
    this.#closeHandlers.push(close)
  }

  /** Ends what is open; the result has been read, or is known to be lost, when it resolves. */
  async close(): Promise<void> {
    for (const close of this.#closeHandlers.splice(0).toReversed()) await close()
    await new Promise<void>(resolve => this.io.stdout.write('', () => resolve()))
    for (const signal of INTERRUPT_SIGNALS) this.io.off(signal, this.#onSignal)
  }
}
