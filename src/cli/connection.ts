/**
 * How the command line reaches OSS: flags, then the environment, then `~/.ossutilconfig`; or the
 * embedded OSS. Secrets come from the environment or a file, never from an argument.
 */
import { readFileSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../oss/connection.js'
import type { Connection } from '../oss/port.js'
import type { ClientOptions } from '../oss/settings.js'
import { UsageError } from './exit-status.js'

export interface ConnectionFlags {
  readonly local?: string
  readonly endpoint?: string
  readonly region?: string
  readonly internal?: boolean
  readonly cname?: boolean
}

export const DEFAULT_LOCAL = './oss-data'

/** A connection that also ends the embedded OSS, if it started one. */
export type CliConnection = Omit<Connection, 'close'> & { close(): Promise<void> }

/**
 * Connects to what flags and environment name.
 * @param bucket the bucket of the command's object; none for `ls`, `resume` and `abort`
 * @throws UsageError when no credentials are configured
 */
export async function openConnection(
  flags: ConnectionFlags,
  env: NodeJS.ProcessEnv,
  bucket?: string,
): Promise<CliConnection> {
  if (flags.local !== undefined) return openLocal(flags.local, bucket)
  const options = readConfiguration(flags, env)
  const connection = connect(bucket === undefined ? options : { ...options, bucket })
  return { ...connection, close: async () => connection.close() }
}

/** Starts the emulator inside this process; recorded is its directory, never its port. */
async function openLocal(directory: string, bucket: string | undefined): Promise<CliConnection> {
  const { startEmulator } = await import('../emulator/index.js')
  await mkdir(directory, { recursive: true })
  const dir = await realpath(directory)
  const emulator = await startEmulator({ dir, createBuckets: true })
  const { endpoint } = emulator
  const connection = connect(emulator.clientOptions(bucket ?? 'unused'), {
    name: `local:${dir}`,
    endpoint,
  })
  return {
    ...connection,
    close: async () => {
      connection.close()
      await emulator.close()
    },
  }
}

/** The options of a client from flags, environment and `~/.ossutilconfig`, in this order. */
export function readConfiguration(flags: ConnectionFlags, env: NodeJS.ProcessEnv): ClientOptions {
  const file = readOssutilConfig(join(env['HOME'] ?? homedir(), '.ossutilconfig'))
  const fromEnv = Boolean(env['OSS_ACCESS_KEY_ID'] && env['OSS_ACCESS_KEY_SECRET'])
  const accessKeyId = fromEnv ? env['OSS_ACCESS_KEY_ID'] : file['accesskeyid']
  const accessKeySecret = fromEnv ? env['OSS_ACCESS_KEY_SECRET'] : file['accesskeysecret']
  const stsToken = fromEnv ? env['OSS_SESSION_TOKEN'] : file['ststoken']
  if (!accessKeyId || !accessKeySecret) {
    throw new UsageError(
      'No credentials: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or run "ossutil config"; --local needs none',
    )
  }
  // An empty variable is one that is not set, as everywhere in Unix.
  const endpoint = flags.endpoint ?? (env['OSS_ENDPOINT'] || file['endpoint'] || undefined)
  const region = flags.region ?? (env['OSS_REGION'] || file['region'] || undefined)
  if (endpoint === undefined && region === undefined) {
    throw new UsageError('No region: give --region or set OSS_REGION, such as cn-hangzhou')
  }
  return {
    accessKeyId,
    accessKeySecret,
    ...(stsToken ? { stsToken } : {}),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined
      ? {}
      : { region: region.startsWith('oss-') ? region : `oss-${region}` }),
    ...(flags.internal === true ? { internal: true } : {}),
    ...(flags.cname === true ? { cname: true } : {}),
  }
}

/** The `[Credentials]` section, names in lower case; empty when there is no such file. */
function readOssutilConfig(path: string): Record<string, string | undefined> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {}
    throw new UsageError(`${path} cannot be read: ${String(error)}`)
  }
  const values: Record<string, string> = {}
  let section = ''
  for (const line of text.split(/\r?\n/)) {
    const header = /^\s*\[(.+)\]\s*$/.exec(line)
    if (header?.[1] !== undefined) section = header[1].toLowerCase()
    const entry = /^\s*([A-Za-z]+)\s*=\s*(.*?)\s*$/.exec(line)
    if (entry?.[1] === undefined || (section !== 'credentials' && section !== 'default')) continue
    values[entry[1].toLowerCase()] = entry[2] ?? ''
  }
  return values
}
