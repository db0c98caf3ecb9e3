/**
 * Commands that messages propose. They repeat the flags that select the spool and the OSS, so that they work as
 * they are printed.
 */
import { resolve } from 'node:path'
import { EMBEDDED_PREFIX, type HintWording, type MoveHint, type RecordedPlace } from '../hint.js'
import type { ConnectionFlags } from './connection.js'
import { CONNECTION_SETTINGS, shellQuoted, toFlag } from './command-words.js'

/** The given flags that select what a command works on. */
export type SelectingFlags = ConnectionFlags & {
  readonly config?: string
  readonly spool?: string
  readonly redis?: string
  readonly redisPrefix?: string
  readonly redisCa?: string
  readonly redisCert?: string
  readonly redisKey?: string
  readonly queue?: string
  readonly fleet?: string
  readonly host?: string
}

/** Flags that select the records of a fleet. */
export const FLEET_FLAGS = [
  'redis',
  'redisCa',
  'redisCert',
  'redisKey',
  'redisPrefix',
  'queue',
  'fleet',
  'host',
] as const

/** Commands that accept them. */
const FLEET_COMMANDS: ReadonlySet<string> = new Set(['ls', 'show', 'resume', 'abort', 'prune'])

/** Commands that only read the spool and accept no flags of a connection. */
const OFFLINE_COMMANDS: ReadonlySet<string> = new Set(['ls', 'show'])
const PATH_FLAGS: ReadonlySet<string> = new Set([
  'config',
  'spool',
  'local',
  'redisCa',
  'redisCert',
  'redisKey',
])
const SPOOL_FLAGS = ['config', 'spool'] as const
const CONNECTION_FLAGS = [...SPOOL_FLAGS, ...CONNECTION_SETTINGS] as const

/**
 * Returns an `oss-spool` command line, quoted for a shell.
 * @param args – the command and its arguments
 * @param given – flags to repeat; paths are made absolute
 */
export function proposedCommand(args: readonly string[], given: SelectingFlags): string {
  const [command = ''] = args
  const names = [
    ...(OFFLINE_COMMANDS.has(command) ? SPOOL_FLAGS : CONNECTION_FLAGS),
    ...(FLEET_COMMANDS.has(command) ? FLEET_FLAGS : []),
  ]
  const flags = names.flatMap(name => {
    const value = given[name]
    if (value === undefined || value === false || args.includes(toFlag(name))) return []
    if (value === true) return [toFlag(name)]
    const text = PATH_FLAGS.has(name) ? resolve(value) : value
    return name === 'local' ? [`--local=${text}`] : [toFlag(name), text]
  })
  const separator = args.indexOf('--')
  const end = separator < 0 ? args.length : separator
  const words = ['oss-spool', ...args.slice(0, end), ...flags, ...args.slice(end)]
  return words.map(shellQuoted).join(' ')
}

/** Returns `given` with the flags that select the OSS of a record, instead of the given ones. */
export function selectPlace(
  given: SelectingFlags,
  { endpoint, region }: RecordedPlace,
): SelectingFlags {
  const { config, spool, pathStyle, requestPayer } = given
  const fleetFlags = FLEET_FLAGS.filter(name => given[name] !== undefined)
  const kept = {
    ...Object.fromEntries(fleetFlags.map(name => [name, given[name]])),
    ...(config === undefined ? {} : { config }),
    ...(spool === undefined ? {} : { spool }),
    ...(pathStyle === undefined ? {} : { pathStyle }),
    ...(requestPayer === undefined ? {} : { requestPayer }),
  }
  return endpoint.startsWith(EMBEDDED_PREFIX)
    ? { ...kept, local: endpoint.slice(EMBEDDED_PREFIX.length) }
    : { ...kept, endpoint, region, ...(BUCKET_DOMAIN.test(endpoint) ? { cname: true } : {}) }
}

/** An endpoint of OSS that contains the bucket is accepted only with `--cname`. */
const BUCKET_DOMAIN = /^https?:\/\/[^./]+\.(vpc100-)?oss-[a-z0-9-]+\.aliyuncs\.com$/

/** Words hints as commands. `propose` repeats the given flags, or selects `at`. */
export function commandWording(
  propose: (args: readonly string[], at?: RecordedPlace) => string,
): HintWording {
  return {
    resume(id, { force, to, at } = {}) {
      const target = to === undefined ? [] : MOVES[to]
      const forced = force === true ? ['--force'] : []
      return `run "${propose(['resume', ...target, ...forced, ...idArgument(id)], at)}"`
    },
    abort(id, { remote, at } = {}) {
      const here = remote === false ? ['--no-remote'] : []
      return `run "${propose(['abort', ...here, ...idArgument(id)], at)}"`
    },
    upload(file, { object, size, crc64 }) {
      const url = object === undefined ? 'oss://BUCKET/KEY' : `oss://${object.bucket}/${object.key}`
      const crcFlags = crc64 === undefined ? [] : [`--expect-crc64=${crc64}`]
      return `run "${propose(['put', url, file, `--expect-bytes=${size}`, ...crcFlags])}"`
    },
    list: () => `run "${propose(['ls'])}"`,
    option: name => OPTION_FLAGS[name],
  }
}

/** With `--to`, the flags of the connection are those of the new place. */
const MOVES: Readonly<Record<MoveHint, readonly string[]>> = {
  object: ['--to', 'oss://BUCKET/KEY'],
  key: ['--to', 'oss://BUCKET/NEW-KEY'],
  endpoint: ['--to', 'oss://BUCKET/KEY', '--endpoint', 'ENDPOINT', '--region', 'REGION'],
}

const OPTION_FLAGS: Readonly<Record<Parameters<HintWording['option']>[0], string>> = {
  id: '--id',
  dir: '--spool',
  force: '--force',
  maxSpoolBytes: '--max-spool',
  'client.endpoint': '--endpoint',
}

/** Arguments for an id, which may start with a hyphen. They go last. */
export function idArgument(id: string): string[] {
  return id.startsWith('-') ? ['--', id] : [id]
}
