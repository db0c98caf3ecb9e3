/**
 * One run of the command line: its streams, its configuration, its signals, and what has to be
 * closed at its end. The first SIGINT, SIGTERM or SIGHUP ends the work in order, with all state kept; the
 * second ends the process. What is heavy is loaded when a command asks for it.
 */
import { constants } from 'node:os'
import type { Spool } from '../spool.js'
import type { SpoolOptions } from '../spool-options.js'
import { configure, type Configuration } from './configuration.js'
import type { CliConnection, ConnectionFlags } from './connection.js'
import { EXIT_DONE, EXIT_FAILED } from './exit-status.js'
import { printable } from './text.js'

/** The process as the commands see it. */
export type Io = Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr' | 'env' | 'on' | 'off' | 'exit'>

/** Flags of every command. */
export interface Flags {
  readonly config?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly debug?: boolean
  readonly spool?: string
}

export type SpoolFlags = Flags &
  ConnectionFlags & { readonly maxRate?: number; readonly parallelUploads?: number }

export type Interruption = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const SIGNALS: readonly Interruption[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

export class Session {
  readonly io: Io
  /** What the command's action resolved to. */
  status = EXIT_DONE
  /** What is drawn on the last line of standard error, and has to make room for other lines. */
  drawing: { clear(): void } | undefined
  readonly #abort = new AbortController()
  readonly #closing: (() => Promise<void> | void)[] = []
  #interrupted: Interruption | undefined
  #outputFailed = false
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const known = SIGNALS.find(name => name === signal) ?? 'SIGTERM'
    if (this.#interrupted !== undefined) {
      this.drawing?.clear()
      this.io.exit(128 + constants.signals[known])
    }
    this.#interrupted = known
    this.#abort.abort(known)
  }
  /** Whoever read our result went away: his affair. Anything else is a result that nobody has. */
  readonly #onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE' || this.#outputFailed) return
    this.#outputFailed = true
    this.say(`the result cannot be written to standard output: ${error.code ?? error.message}`)
  }

  constructor(io: Io) {
    this.io = io
    for (const signal of SIGNALS) io.on(signal, this.#onSignal)
    io.stdout.on('error', this.#onOutputError)
    io.stderr.on('error', () => {}) // there is no other place to say it
  }

  /** Aborted by the first signal, whose name is the reason. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** 128 + n after a signal; else that of the command, unless nobody could be given its result. */
  exitStatus(): number {
    if (this.#interrupted !== undefined) return 128 + constants.signals[this.#interrupted]
    return this.#outputFailed && this.status === EXIT_DONE ? EXIT_FAILED : this.status
  }

  /** Runs a command with its flags, and with what the configuration says where there is no flag. */
  async run<F extends Flags>(flags: F, command: (flags: F) => Promise<number>): Promise<void> {
    if (flags.debug) {
      const { logRequests } = await import('./request-log.js')
      this.onClose(logRequests(line => this.say(line)))
    }
    this.status = await command({ ...(await this.configuration(flags)).values, ...flags })
  }

  configuration(flags: Flags): Promise<Configuration> {
    return configure(flags.config, this.io.env)
  }

  /** A connection to the OSS that flags and configuration name. @throws UsageError */
  async connect(flags: SpoolFlags, bucket?: string): Promise<CliConnection> {
    const { openConnection } = await import('./connection.js')
    const { credentials } = await this.configuration(flags)
    const connection = await openConnection(flags, credentials, bucket)
    this.onClose(() => connection.close())
    return connection
  }

  /** A spool over that connection. @throws UsageError without credentials */
  async spool(
    flags: SpoolFlags,
    connection: CliConnection,
    more: Partial<SpoolOptions> = {},
  ): Promise<Spool> {
    const { Spool: Class } = await import('../spool.js')
    const spool = new Class({
      client: connection,
      ...(flags.spool === undefined ? {} : { dir: flags.spool }),
      ...(flags.maxRate === undefined ? {} : { maxRate: flags.maxRate }),
      ...(flags.parallelUploads === undefined ? {} : { parallelUploads: flags.parallelUploads }),
      ...more,
    })
    spool.on('warning', ({ message }) => this.say(message))
    return spool
  }

  /** A line of standard output: the result. */
  print(line: string): void {
    this.drawing?.clear()
    this.io.stdout.write(`${line}\n`)
  }

  /** A line of standard error, with our name before it. */
  say(text: string): void {
    this.advise(`oss-spool: ${text}`)
  }

  /** A line of standard error that belongs to the one before it. */
  advise(text: string): void {
    this.drawing?.clear()
    this.io.stderr.write(`${printable(text)}\n`)
  }

  onClose(close: () => Promise<void> | void): void {
    this.#closing.push(close)
  }

  /** Ends what is open; the result has been read, or is known to be lost, when it resolves. */
  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).toReversed()) await close()
    await new Promise<void>(resolve => this.io.stdout.write('', () => resolve()))
    for (const signal of SIGNALS) this.io.off(signal, this.#onSignal)
  }
}
