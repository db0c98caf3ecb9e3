/**
 * Runs the command line in the process of the test, which is twenty times cheaper than a process of its own. `LONG=1`
 * starts the shipped program instead. Tests of signals, kills, pipes, terminals, and output of child processes use
 * `command-line.ts`.
 */
import { execFileSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { main } from '../../src/cli/main.js'
import type { ProcessIo } from '../../src/cli/session.js'
import { bare, checked, shell, start, type Ended, type Env } from './command-line.js'
import { LONG } from './long.js'
import { streamOf } from './oss.js'

/** Settles when the last command has ended. Commands share the working directory and the environment. */
let last: Promise<unknown> = Promise.resolve()

/** Runs `oss-spool ARGS` in `cwd`, after earlier calls have ended. */
export async function run(
  cwd: string,
  args: readonly string[],
  input?: Buffer,
  env: Env = {},
): Promise<Ended> {
  if (LONG) return start(cwd, args, input, env).done
  const ended = last.then(() => call(cwd, args, input ?? Buffer.alloc(0), bare(cwd, env)))
  last = ended.catch(() => undefined)
  return checked(args, await ended)
}

/** Runs a line that is a single `oss-spool` command, as messages propose it. `sh` splits it into arguments. */
export async function runLine(cwd: string, line: string, env: Env = {}): Promise<Ended> {
  if (LONG) return shell(cwd, 'sh -c "$LINE"', { ...env, LINE: line }).done
  const print = line.replace('oss-spool', String.raw`printf '%s\0'`)
  const args = execFileSync('sh', ['-c', print], { encoding: 'utf8' }).split('\0').slice(0, -1)
  return run(cwd, args, undefined, env)
}

/** Calls `main` with streams of its own, while the environment and the working directory are those of the command. */
async function call(
  cwd: string,
  args: readonly string[],
  input: Buffer,
  env: NodeJS.ProcessEnv,
): Promise<Ended> {
  const own = { cwd: process.cwd(), env: { ...process.env } }
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const output = Promise.all([text(stdout), text(stderr)])
  const signals = new EventEmitter() // never emits: tests of signals start a process
  process.chdir(cwd)
  replaceEnvironment(env)
  try {
    const status = await new Promise<number>(resolve => {
      const io = {
        stdin: input.length === 0 ? Readable.from([]) : streamOf(input),
        stdout,
        stderr,
        env: process.env,
        on: signals.on.bind(signals),
        off: signals.off.bind(signals),
        exit: resolve,
      }
      // The command line uses nothing else of these streams.
      void main(args, io as unknown as ProcessIo).then(resolve)
    })
    stdout.end()
    stderr.end()
    const [out, err] = await output
    return { status, out, err }
  } finally {
    process.chdir(own.cwd)
    replaceEnvironment(own.env)
  }
}

function replaceEnvironment(env: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name]
  Object.assign(process.env, env)
}
