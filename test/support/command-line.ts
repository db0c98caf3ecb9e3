/** Runs the shipped command line as a real process, on pipes or on a real pseudo-terminal. */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import type { Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { BUCKET, streamOf } from './oss.js'
import { pathOf } from './project.js'

/** The built program; `npm test` builds before it runs the tests. */
export const BIN = pathOf('dist/cli/bin.js')
/** The smallest part size. */
export const PART = 102_400

/** Arguments of `env`. tap preloads itself into every child process, which is slow and not what users run. */
const UNOBSERVED = ['-u', 'NODE_OPTIONS']

export interface Ended {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

export interface Run {
  readonly child: ChildProcess
  readonly done: Promise<Ended>
}

export type Env = Readonly<Record<string, string>>

/** Returns an environment without any of this machine's configuration. */
export function bare(cwd: string, env: Env = {}): Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    HOME: cwd,
    OSS_SPOOL_DIR: join(cwd, 'spool'),
    ALIBABA_CLOUD_ECS_METADATA_DISABLED: 'true',
    ...env,
  }
}

/** Starts `oss-spool ARGS` in `cwd`. */
export function start(
  cwd: string,
  args: readonly string[],
  input?: Readable | Buffer,
  env: Env = {},
  program = BIN,
): Run {
  const child = spawn('env', [...UNOBSERVED, process.execPath, program, ...args], {
    cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: bare(cwd, env),
  })
  const source =
    input === undefined || Buffer.isBuffer(input) ? streamOf(input ?? Buffer.alloc(0)) : input
  pipeline(source, child.stdin).catch(() => undefined) // a command that exits early closes its input
  return { child, done: ended(child).then(all => checked(args, all)) }
}

/** Checks all JSON output against the published schemas, in every test. */
export async function checked(args: readonly string[], all: Ended): Promise<Ended> {
  const end = args.indexOf('--')
  if (!args.slice(0, end < 0 ? undefined : end).includes('--json')) return all
  const { checkOutput } = await import('./schema.js') // slow to load, and few tests need it
  checkOutput(args[0] ?? '', all.out)
  return all
}

export async function run(
  cwd: string,
  args: readonly string[],
  input?: Buffer,
  env?: Env,
): Promise<Ended> {
  return start(cwd, args, input, env).done
}

/** Returns the environment of `bare` with `oss-spool` on the path. */
function withCommand(cwd: string, env: Env): Record<string, string> {
  const bin = join(cwd, '.bin')
  mkdirSync(bin, { recursive: true })
  const command = join(bin, 'oss-spool')
  if (!existsSync(command)) symlinkSync(BIN, command)
  const all = bare(cwd, env)
  return { ...all, PATH: `${bin}:${dirname(process.execPath)}:${all['PATH']}` }
}

/** Runs a line of bash in which `oss-spool` is the built command. */
export function shell(cwd: string, line: string, env: Env = {}): Run {
  const child = spawn('env', [...UNOBSERVED, 'bash', '-c', line], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: withCommand(cwd, env),
  })
  return { child, done: ended(child) }
}

/** Runs a line of bash on a pseudo-terminal that is `columns` wide. The terminal's output is in `out`. */
export function terminal(cwd: string, line: string, columns: number, env: Env = {}): Run {
  const script = `stty cols ${columns} rows 24\n${line}`.replaceAll("'", `'\\''`)
  const command = ['script', '-qefc', `bash -c '${script}'`, '/dev/null']
  const child = spawn('env', [...UNOBSERVED, ...command], {
    cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: withCommand(cwd, { TERM: 'xterm-256color', LANG: 'C.UTF-8', SHELL: '/bin/bash', ...env }),
  })
  return { child, done: ended(child) }
}

/** Resolves with the output and exit status when the process has exited. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const { stdout, stderr } = child
  const [out, err, status] = await Promise.all([
    stdout === null ? '' : text(stdout),
    stderr === null ? '' : text(stderr),
    new Promise<number | null>(resolve => child.once('close', resolve)),
  ])
  return { out, err, status }
}

/** Starts an emulator with `BUCKET` for one test. Returns it with the environment that points to it. */
export async function server(t: Test, dir: string): Promise<{ oss: Emulator; env: Env }> {
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
  t.teardown(() => oss.close())
  return { oss, env: environment(oss) }
}

export function environment({ endpoint, credentials }: Emulator): Env {
  return {
    OSS_ENDPOINT: endpoint,
    OSS_REGION: 'cn-hangzhou',
    OSS_ACCESS_KEY_ID: credentials.accessKeyId,
    OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
  }
}

/** Reads an object with a plain client. Resolves with `undefined` if it does not exist. */
export async function get(oss: Emulator, key: string): Promise<Buffer | undefined> {
  try {
    const { content } = await new OSS(oss.clientOptions(BUCKET)).get(key)
    return Buffer.from(content)
  } catch (error) {
    if (error instanceof Error && 'status' in error && error.status === 404) return undefined
    throw error
  }
}

/**
 * Polls until `holds` returns true. Has no limit except the test's own timeout, so slow machines pass, too.
 */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 20))
}
