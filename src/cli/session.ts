/**
 * One run of the command line: its streams, its signals, and what has to be closed at its end. The
 * first SIGINT or SIGTERM ends the work in order, with all state kept; the second ends the process.
 */
import { constants } from 'node:os'
import { Spool } from '../spool.js'
import { openConnection, type ConnectionFlags } from './connection.js'

/** The process as the commands see it. */
export type Io = Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr' | 'env' | 'on' | 'off' | 'exit'>

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

export class Session {
  readonly io: Io
  readonly #abort = new AbortController()
  #interrupted: (typeof SIGNALS)[number] | undefined
  readonly #closing: (() => Promise<void> | void)[] = []
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    const known = SIGNALS.find(name => name === signal) ?? 'SIGTERM'
    if (this.#interrupted !== undefined) this.io.exit(128 + constants.signals[known])
    this.#interrupted = known
    this.#abort.abort()
  }

  constructor(io: Io) {
    this.io = io
    for (const signal of SIGNALS) io.on(signal, this.#onSignal)
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** 128 + n after a signal. */
  interruptedStatus(): number | undefined {
    return this.#interrupted && 128 + constants.signals[this.#interrupted]
  }

  /** A spool over the OSS that flags and environment name. @throws UsageError without credentials */
  async spool(
    flags: ConnectionFlags & { spool?: string; quiet?: boolean; maxRate?: number },
    bucket?: string,
  ): Promise<Spool> {
    const connection = await openConnection(flags, this.io.env, bucket)
    this.#closing.push(() => connection.close())
    const spool = new Spool({
      client: connection,
      ...(flags.spool === undefined ? {} : { dir: flags.spool }),
      ...(flags.maxRate === undefined ? {} : { maxRate: flags.maxRate }),
    })
    spool.on('warning', ({ message }) => void this.io.stderr.write(`oss-spool: ${message}\n`))
    return spool
  }

  onClose(close: () => Promise<void> | void): void {
    this.#closing.push(close)
  }

  async close(): Promise<void> {
    for (const signal of SIGNALS) this.io.off(signal, this.#onSignal)
    for (const close of this.#closing.splice(0).toReversed()) await close()
  }
}
