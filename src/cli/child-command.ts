/**
 * Runs the command or the shell line of `oss-spool run`. Its standard output is the source, which ends successfully only after
 * the command has exited with 0 (rule 2), because the end of a pipe proves nothing.
 */
import { spawn, type ChildProcess, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import type { Readable } from 'node:stream'
import { CommandFailedError } from './exit-status.js'
import { killTree } from './process-tree.js'
import { errorCode } from '../util/error-code.js'

/** What `run` starts. */
export interface ProducerCommand {
  /** For messages. */
  readonly name: string
  readonly file: string
  readonly args: readonly string[]
  readonly kill: (child: ChildProcess, signal: NodeJS.Signals) => void
}

/** A program without a shell. It forwards signals to its own children, if it has any. */
export function programCommand([file = '', ...args]: readonly string[]): ProducerCommand {
  return { name: file, file, args, kill: (child, signal) => void child.kill(signal) }
}

/**
 * A line of bash that fails if any command of a pipeline fails. Signals reach all of its commands, and always as SIGTERM:
 * a shell that gets SIGINT goes on if the command that it waits for ends normally, which may be at the same moment.
 */
export function shellCommand(line: string): ProducerCommand {
  return {
    name: 'the line of --shell', // which may contain a password
    file: 'bash',
    args: ['-o', 'pipefail', '-c', line],
    kill: ({ pid }) => {
      if (pid !== undefined) killTree(pid, 'SIGTERM')
    },
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
   * Starts the command and yields its standard output.
   * @param signal – stops the command, with SIGINT if that is the reason, otherwise with SIGTERM
   * @throws CommandFailedError unless the command starts and exits with 0
   */
  async *output(signal: AbortSignal): AsyncGenerator<Buffer> {
    const child = await this.#spawn()
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    this.#closed = closed
    let isStopped = false
    const stop = (): void => {
      isStopped = true
      this.#command.kill(child, signal.reason === 'SIGINT' ? 'SIGINT' : 'SIGTERM')
      child.stdout.destroy() // another process with the write end open would keep us waiting
    }
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    try {
      yield* child.stdout
      const [exitCode, signalName] = await closed
      if (signalName !== null)
        throw this.#createError(`was killed by ${signalName}`, 128 + constants.signals[signalName])
      if (exitCode !== 0) throw this.#createError(`exited with ${exitCode}`, exitCode ?? 1)
    } finally {
      signal.removeEventListener('abort', stop)
      if (child.exitCode === null && child.signalCode === null && !isStopped) stop() // the consumer stopped reading
    }
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
