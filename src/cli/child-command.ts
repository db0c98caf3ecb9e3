/**
 * Runs the command or the shell line of `oss-spool run`. Its standard output is the source, which ends successfully only after
 * the command has exited with 0 (rule 2), because the end of a pipe proves nothing.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { CommandFailedError } from './exit-status.js'
import { killProcess, killTree } from './process-tree.js'
import { errorCode } from '../util/error-code.js'

/** What `run` starts. */
export interface ProducerCommand {
  /** For messages. */
  readonly name: string
  readonly file: string
  readonly args: readonly string[]
  readonly kill: (pid: number, signal: NodeJS.Signals) => void
}

/** A program without a shell. It forwards signals to its own children, if it has any. */
export function programCommand([file = '', ...args]: readonly string[]): ProducerCommand {
  return { name: file, file, args, kill: killProcess }
}

/**
 * Bash replaces itself with the only command of a line, unless a trap is set. Node takes a command for successful that a
 * real-time signal has killed, but bash reports it.
 */
const STAY_PARENT = 'trap : WINCH; '

/**
 * A line of bash that fails if any command of a pipeline fails. Signals reach all of its commands, and always as SIGTERM:
 * a shell that gets SIGINT goes on if the command that it waits for ends normally, which may be at the same moment.
 */
export function shellCommand(line: string): ProducerCommand {
  return {
    name: 'the line of --shell', // which may contain a password
    file: 'bash',
    args: ['-o', 'pipefail', '-c', STAY_PARENT + line],
    kill: pid => killTree(pid, 'SIGTERM'),
  }
}

export class Producer {
  readonly #command: ProducerCommand
  #closed: Promise<unknown> | undefined

  constructor(command: ProducerCommand) {
    this.#command = command
  }

  /** Resolves when the command has exited, or at once if it was not started. */
  async waitForExit(): Promise<void> {
    await this.#closed
  }

  /**
   * Starts the command and yields its standard output, which ends when all processes that inherited it have closed it,
   * or when the command fails.
   * @param signal – stops the command, with SIGINT if that is the reason, otherwise with SIGTERM
   * @throws CommandFailedError unless the command starts and exits with 0
   */
  async *output(signal: AbortSignal): AsyncGenerator<Buffer> {
    const child = await this.#spawn()
    const closed = once(child, 'close')
    this.#closed = closed
    let failure: CommandFailedError | undefined
    let isRunning = true
    const onExit = (exitCode: number | null, signalName: NodeJS.Signals | null): void => {
      isRunning = false
      failure = this.#failureOf(exitCode, signalName)
      // Another process with the write end open would keep us waiting, as below.
      if (failure !== undefined) child.stdout.destroy(failure)
    }
    const stop = (): void => {
      const signalName = signal.reason === 'SIGINT' ? 'SIGINT' : 'SIGTERM'
      if (isRunning && child.pid !== undefined) this.#command.kill(child.pid, signalName)
      child.stdout.destroy()
    }
    child.once('exit', onExit)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    try {
      yield* child.stdout
      await closed
      if (failure !== undefined) throw failure
    } finally {
      signal.removeEventListener('abort', stop)
      if (!signal.aborted) stop() // no effect, unless the consumer stopped reading
    }
  }

  #failureOf(
    exitCode: number | null,
    signalName: NodeJS.Signals | null,
  ): CommandFailedError | undefined {
    if (signalName !== null)
      return this.#createError(`was killed by ${signalName}`, 128 + constants.signals[signalName])
    return exitCode === 0 ? undefined : this.#createError(`exited with ${exitCode}`, exitCode ?? 1)
  }

  async #spawn(): Promise<ChildProcessByStdio<null, Readable, null>> {
    try {
      const child = spawn(this.#command.file, this.#command.args, {
        stdio: ['inherit', 'pipe', 'inherit'],
      })
      await once(child, 'spawn')
      return child
    } catch (error) {
      const code = errorCode(error)
      if (code === 'ENOENT') throw this.#createError('was not found', 127, error)
      throw this.#createError(`cannot be executed (${String(code)})`, 126, error)
    }
  }

  #createError(failure: string, exitStatus: number, cause?: unknown): CommandFailedError {
    return new CommandFailedError(`${this.#command.name} ${failure}`, exitStatus, { cause })
  }
}
