/**
 * One run of the command line: its streams, configuration, signals and cleanup. The first SIGINT, SIGTERM or
 * SIGHUP stops the work in an orderly way and keeps all state; the second exits the process at once. Large
 * modules are imported only by the commands that need them.
 */
import { constants } from 'node:os'
import type { Spool } from '../spool.js'
import type { SpoolOptions } from '../spool-options.js'
import type { SpoolWarning } from '../upload/run/context.js'
import type { UploadStatus } from '../upload/maintenance/status.js'
import { errorCode } from '../util/error-code.js'
import { isError } from '../util/error-shape.js'
import type { Configuration } from './configuration.js'
import type { SettingDefinition } from './config-schema.js'
import type { CliConnection, ConnectionFlags } from './connection.js'
import type { ClientOptions } from '../oss/client-options.js'
import { EXIT_SUCCESS, EXIT_FAILURE } from './exit-status.js'
import { escapeControlChars, toJsonLine } from '../util/control-chars.js'
import { environmentSecrets, passwordsOf, SecretMask } from '../util/secret-mask.js'
import {
  checkLogFormat,
  formatLogJson,
  formatLogText,
  type LogDetails,
  type LogFormat,
} from './log-format.js'
import type { RunOutcome } from './run-outcome.js'
import type { RecordedPlace } from '../hint.js'
import {
  FLEET_FLAGS,
  proposedCommand,
  selectPlace,
  type SelectingFlags,
} from './proposed-command.js'

/** Parts of `process` that the commands use. */
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
  readonly logFormat?: string
  readonly spool?: string
}

export type SpoolFlags = GlobalFlags &
  ConnectionFlags & { readonly maxRate?: number; readonly parallelUploads?: number }

/** Whether an upload belongs to the OSS that flags and configuration select. */
export type IsOwnUpload = (status: Pick<UploadStatus, 'endpoint' | 'bucket'>) => boolean

export type InterruptSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

const INTERRUPT_SIGNALS: readonly InterruptSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP']

/** Characters. Only test servers have shorter keys; those of OSS have 16 and more. */
const SHORTEST_HIDDEN = 8

export class Session {
  readonly io: ProcessIo
  /** Masks the secrets of the environment and of the configuration on standard error. */
  readonly secrets = new SecretMask()
  /** Exit status that the command resolved to. */
  commandStatus = EXIT_SUCCESS
  /** Status line at the end of standard error. It is cleared before another line is printed. */
  statusLine: { clear(): void } | undefined
  /** Format of the lines on standard error. */
  logFormat: LogFormat = 'text'
  readonly #abortController = new AbortController()
  /** Results and failures of this run, once there is one. */
  outcome: RunOutcome | undefined
  /** Whether the command has begun, with its flags and its configuration. */
  hasBegun = false
  /** Messages of `logSpoolWarning`. */
  readonly #spoolWarnings = new Set<string>()
  readonly #closeHandlers: (() => Promise<void> | void)[] = []
  readonly #exitHandlers: ((status: number) => Promise<void>)[] = []
  #interruptedBy: InterruptSignal | undefined
  #onSecondSignal: (() => void) | undefined
  #outputFailed = false
  /** Flags on the command line, without configured values. */
  #givenFlags: SelectingFlags = {}
  #settings: readonly SettingDefinition[] = []
  #configuration: Configuration | undefined
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const signalName = INTERRUPT_SIGNALS.find(name => name === signal) ?? 'SIGTERM'
    if (this.#interruptedBy !== undefined) {
      const handler = this.#onSecondSignal
      this.#onSecondSignal = undefined
      if (handler !== undefined) return handler()
      this.statusLine?.clear()
      this.io.exit(128 + constants.signals[signalName])
    }
    this.#interruptedBy = signalName
    this.#abortController.abort(signalName)
  }
  /** EPIPE is not an error: the reader closed the pipe. Any other write error means the result was lost. */
  readonly #onOutputError = (error: NodeJS.ErrnoException): void => {
    if (error.code === 'EPIPE' || this.#outputFailed) return
    this.#outputFailed = true
    const message = `the result cannot be written to standard output: ${error.code ?? error.message}`
    this.logLine(message, { level: 'error' })
  }

  constructor(io: ProcessIo) {
    this.io = io
    this.#hide(environmentSecrets(io.env))
    for (const signal of INTERRUPT_SIGNALS) io.on(signal, this.#onSignal)
    io.stdout.on('error', this.#onOutputError)
    io.stderr.on('error', () => {}) // there is no other place to report it
  }

  /** Masks secrets, except short ones: ids and buckets may contain those, and proposed commands must keep them. */
  #hide(secrets: readonly unknown[]): void {
    const isLong = (secret: unknown): boolean =>
      typeof secret === 'string' && secret.length >= SHORTEST_HIDDEN
    this.secrets.add(...secrets.filter(isLong))
  }

  /** Aborted by the first interrupt signal; the reason is the name of the signal. */
  get signal(): AbortSignal {
    return this.#abortController.signal
  }

  /**
   * Returns 128 + n after signal n, otherwise the command's status; 1 if it succeeded but its result was
   * lost.
   */
  exitStatus(): number {
    if (this.#interruptedBy !== undefined) return 128 + constants.signals[this.#interruptedBy]
    return this.#outputFailed && this.commandStatus === EXIT_SUCCESS
      ? EXIT_FAILURE
      : this.commandStatus
  }

  /** Runs a command with its flags, and with the configured values of the flags that are not set. */
  async run<F extends GlobalFlags>(
    flags: F,
    command: (flags: F) => Promise<number>,
  ): Promise<void> {
    this.#givenFlags = flags
    const { readConfiguration, valuesFor } = await import('./configuration.js')
    this.#configuration = readConfiguration({
      flags: Object.fromEntries(Object.entries(flags)),
      env: this.io.env,
      settings: this.#settings,
    })
    const { credentials } = this.#configuration
    if (credentials !== undefined) this.#hide(Object.values(credentials))
    const { redis, redisPassword, redisSentinelPassword } = this.#configuration.values
    this.#hide([
      redisPassword,
      redisSentinelPassword,
      ...(typeof redis === 'string' ? passwordsOf(redis) : []),
    ])
    const merged = { ...valuesFor(this.#settings, this.#configuration), ...flags }
    if (merged.logFormat !== undefined) this.logFormat = checkLogFormat(merged.logFormat)
    if (merged.debug === true) {
      const { logRequests } = await import('./debug-log.js')
      this.onClose(logRequests(line => this.logLine(line, { level: 'debug' })))
    }
    this.hasBegun = true
    this.commandStatus = await command(merged)
  }

  /** Whether the command line selects the records of a fleet. Variables and the configuration do not. */
  get selectsFleet(): boolean {
    return FLEET_FLAGS.some(name => this.#givenFlags[name] !== undefined)
  }

  /** Makes proposed commands select the fleet of this queue, unless the command line selects one. */
  proposeForQueue(queue: string): void {
    if (!this.selectsFleet) this.#givenFlags = { ...this.#givenFlags, queue }
  }

  /** Sets the settings that the called command has options for. */
  useSettings(settings: readonly SettingDefinition[]): void {
    this.#settings = settings
  }

  /** Configuration of the running command. */
  get configuration(): Configuration {
    if (this.#configuration === undefined) throw new Error('No command is running')
    return this.#configuration
  }

  /** Returns where a setting was set, as the subject of a sentence; its flag if it was not set. */
  subjectOf(setting: SettingDefinition): string {
    const origin = this.#configuration?.origins.get(setting.name)
    return origin?.subject ?? (setting.flags?.replace(/ .*/, '') || setting.env)
  }

  /** Returns whether a flag without a value is set, for failures before a command runs. */
  isEnabled(name: 'json' | 'debug' | 'dry-run', args: readonly string[]): boolean {
    const variable = `OSS_SPOOL_${name.toUpperCase().replace('-', '_')}`
    return args.includes(`--${name}`) || this.io.env[variable] === '1'
  }

  /** Connects to the OSS selected by flags and configuration. @throws UsageError */
  async connect(flags: SpoolFlags, bucket?: string): Promise<CliConnection> {
    const { openConnection } = await import('./connection.js')
    const isConfigured = this.#isConfiguredPlace(flags)
    const connection = await openConnection(flags, isConfigured, this.configuration, bucket)
    this.onClose(() => connection.close())
    return connection
  }

  /** Returns the options of a client for `bucket` of the same OSS. @throws UsageError */
  async clientOptions(flags: ConnectionFlags, bucket: string): Promise<ClientOptions> {
    const { readClientOptions } = await import('./connection.js')
    const isConfigured = this.#isConfiguredPlace(flags)
    return readClientOptions(flags, isConfigured, this.configuration, bucket)
  }

  /**
   * Returns a connection to the same OSS that never connects. Needs no credentials.
   * @throws UsageError if flags and configuration select none
   */
  async connectOffline(flags: ConnectionFlags, bucket?: string): Promise<CliConnection> {
    const { openOffline } = await import('./connection.js')
    return openOffline(flags, this.#isConfiguredPlace(flags), this.configuration, bucket)
  }

  /** Returns which uploads belong to the OSS that is selected; none if none is. Needs no credentials. */
  async ownUploads(flags: ConnectionFlags): Promise<IsOwnUpload> {
    try {
      const { isConfiguredFor } = await this.connectOffline(flags)
      return ({ endpoint, bucket }) => isConfiguredFor(endpoint, bucket)
    } catch {
      return () => false // reported by the commands that connect
    }
  }

  #isConfiguredPlace({ endpoint, region }: ConnectionFlags): boolean {
    const { values } = this.configuration
    return endpoint === values['endpoint'] && region === values['region']
  }

  /** Opens a spool over that connection. @throws UsageError if there are no credentials */
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
    const { hintOf } = await import('./spool-error-hint.js')
    spool.on('warning', warning => {
      if (this.#spoolWarnings.has(warning.message)) return
      this.logWarning(warning, hintOf(warning.cause, this))
    })
    return spool
  }

  /**
   * Returns an `oss-spool` command line to propose, with the given flags that select the spool and the OSS, quoted for
   * a shell.
   * @param args – the command and its arguments, such as `resume`, `ID`
   */
  propose(...args: string[]): string {
    return this.#proposed(args, this.#givenFlags)
  }

  /** Like `propose`, but selects the OSS of `place`. Without a place, it repeats the given flags. */
  proposeAt(place: RecordedPlace | undefined, ...args: string[]): string {
    const given = this.#givenFlags
    return this.#proposed(args, place === undefined ? given : selectPlace(given, place))
  }

  /** `put` is proposed for bytes that are those of an object, so a configured compression must not apply again. */
  #proposed(args: readonly string[], given: SelectingFlags): string {
    const command = proposedCommand(args, given)
    const { gzip, zstd } = this.#configuration?.values ?? {}
    const isCompressed = typeof gzip === 'number' || typeof zstd === 'number'
    return args[0] === 'put' && isCompressed
      ? `OSS_SPOOL_GZIP=0 OSS_SPOOL_ZSTD=0 ${command}`
      : command
  }

  /** Prints a value of the result to standard output, as JSON on one line. */
  printJson(value: unknown): void {
    this.#write(toJsonLine(value))
  }

  /** Prints a line of the result to standard output. */
  print(line: string): void {
    this.#write(escapeControlChars(line))
  }

  #write(line: string): void {
    this.statusLine?.clear()
    this.io.stdout.write(`${line}\n`)
  }

  /** Prints a message to standard error: as text, prefixed with our name, or as one JSON object. */
  logLine(message: string, details: LogDetails = {}): void {
    this.statusLine?.clear()
    const { hint, stack } = details
    const masked = {
      ...details,
      ...(hint === undefined ? {} : { hint: this.secrets.mask(hint) }),
      ...(stack === undefined ? {} : { stack: this.secrets.mask(stack) }),
    }
    this.io.stderr.write(
      this.logFormat === 'json'
        ? formatLogJson(this.secrets.mask(message), masked, new Date())
        : formatLogText(this.secrets.mask(message), masked),
    )
  }

  /** Logs a warning of the spool directory once. A `Spool` that is created later does not repeat it. */
  logSpoolWarning(warning: SpoolWarning): void {
    if (this.#spoolWarnings.has(warning.message)) return
    this.#spoolWarnings.add(warning.message)
    this.logWarning(warning)
  }

  /** Prints a warning of the library. */
  logWarning(
    { message, id, cause }: Pick<SpoolWarning, 'message' | 'id' | 'cause'>,
    hint?: string,
  ): void {
    this.logLine(message, {
      level: 'warn',
      id,
      hint,
      code: isError(cause) ? errorCode(cause) : undefined,
    })
  }

  /** Prints a line to standard error without the prefix. */
  log(text: string): void {
    if (this.logFormat === 'json') return this.logLine(text)
    this.statusLine?.clear()
    this.io.stderr.write(`${escapeControlChars(this.secrets.mask(text))}\n`)
  }

  /** Stops the work as the signal does, for a terminal in raw mode that sends none. */
  interrupt(signal: InterruptSignal): void {
    this.#onSignal(signal)
  }

  /** Calls `handler` at the second interrupt signal. Only a third one exits the process at once then. */
  onSecondSignal(handler: () => void): void {
    this.#onSecondSignal = handler
  }

  /** Registers a handler for `close()`. Handlers run in reverse order. */
  onClose(close: () => Promise<void> | void): void {
    this.#closeHandlers.push(close)
  }

  /**
   * Registers a handler for the end of the run, after all other work and with its exit status. It must not reject.
   * Handlers run in reverse order.
   */
  onExit(handler: (status: number) => Promise<void>): void {
    this.#exitHandlers.push(handler)
  }

  /**
   * Runs the close handlers, then the exit handlers.
   * @returns the exit status, once the result was flushed or is known to be lost
   */
  async close(): Promise<number> {
    for (const close of this.#closeHandlers.splice(0).toReversed()) await close()
    await new Promise<void>(resolve => this.io.stdout.write('', () => resolve()))
    const status = this.exitStatus()
    for (const handler of this.#exitHandlers.splice(0).toReversed()) await handler(status)
    for (const signal of INTERRUPT_SIGNALS) this.io.off(signal, this.#onSignal)
    return status
  }
}
