/**
 * Commands that messages propose. They repeat the flags that select the spool and the OSS, so that they work as
 * they are printed.
 */
import { resolve } from 'node:path'
import type { HintWording, MoveHint } from '../hint.js'
import type { ConnectionFlags } from './connection.js'
import { toFlag } from './config-schema.js'

/** The given flags that select what a command works on. */
export type SelectingFlags = ConnectionFlags & {
  readonly config?: string
  readonly spool?: string
}

/** Commands that only read the spool and accept no flags of a connection. */
const OFFLINE_COMMANDS: ReadonlySet<string> = new Set(['ls', 'show'])
const PATH_FLAGS: ReadonlySet<string> = new Set(['config', 'spool', 'local'])
const SPOOL_FLAGS = ['config', 'spool'] as const
const CONNECTION_FLAGS = [
  ...SPOOL_FLAGS,
  'local',
  'endpoint',
  'region',
  'internal',
  'cname',
  'requestPayer',
] as const

/**
 * Returns a command line of ours, quoted for a shell.
 * @param args – the command and its arguments
 * @param given – flags to repeat; paths are made absolute
 */
export function proposedCommand(args: readonly string[], given: SelectingFlags): string {
  const names = OFFLINE_COMMANDS.has(args[0] ?? '') ? SPOOL_FLAGS : CONNECTION_FLAGS
  const flags = names.flatMap(name => {
    const value = given[name]
    if (value === undefined || value === false || args.includes(toFlag(name))) return []
    if (value === true) return [toFlag(name)]
    const text = PATH_FLAGS.has(name) ? resolve(value) : value
    return name === 'local' ? [`--local=${text}`] : [toFlag(name), text]
  })
  return ['oss-spool', ...args, ...flags].map(shellQuoted).join(' ')
}

/** Words hints as commands. */
export function commandWording(propose: (...args: string[]) => string): HintWording {
  return {
    resume(id, { force, to } = {}) {
      const target = to === undefined ? [] : MOVES[to]
      return `run "${propose('resume', ...idArgument(id), ...target, ...(force === true ? ['--force'] : []))}"`
    },
    abort: id => `run "${propose('abort', ...idArgument(id))}"`,
    list: () => `run "${propose('ls')}"`,
    option: name => OPTION_FLAGS[name],
  }
}

/** With `--to`, the flags of the connection are those of the new place. */
const MOVES: Readonly<Record<MoveHint, readonly string[]>> = {
  object: ['--to', 'oss://BUCKET/KEY'],
  endpoint: ['--to', 'oss://BUCKET/KEY', '--endpoint', 'ENDPOINT', '--region', 'REGION'],
}

const OPTION_FLAGS: Readonly<Record<Parameters<HintWording['option']>[0], string>> = {
  id: '--id',
  dir: '--spool',
  maxSpoolBytes: '--max-spool',
  'client.endpoint': '--endpoint',
}

/** An id may start with a hyphen. */
function idArgument(id: string): string[] {
  return id.startsWith('-') ? ['--', id] : [id]
}

function shellQuoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}
