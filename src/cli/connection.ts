/**
 * How the command line reaches OSS: flags, then the environment, then `~/.ossutilconfig`; or the
 * embedded OSS. Secrets come from the environment or a file, never from an argument.
 */
import { mkdir, realpath } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../oss/connection.js'
import type { Connection } from '../oss/port.js'
import type { ClientOptions } from '../oss/settings.js'
import { findCredentials } from './credentials.js'
import { UsageError } from './exit-status.js'
import { readOssutilConfig } from './ossutil-config.js'

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
  const options = await readConfiguration(flags, env)
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
export async function readConfiguration(
  flags: ConnectionFlags,
  env: NodeJS.ProcessEnv,
): Promise<ClientOptions> {
  const file = readOssutilConfig(join(env['HOME'] ?? homedir(), '.ossutilconfig'))
  // An empty variable is one that is not set, as everywhere in Unix.
  const endpoint = flags.endpoint ?? (env['OSS_ENDPOINT'] || file['endpoint'] || undefined)
  const region = flags.region ?? (env['OSS_REGION'] || file['region'] || undefined)
  const credentials = await findCredentials(env, file)
  if (endpoint === undefined && region === undefined) {
    throw new UsageError('No region: give --region or set OSS_REGION, such as cn-hangzhou')
  }
  return {
    ...credentials,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined
      ? {}
      : { region: region.startsWith('oss-') ? region : `oss-${region}` }),
    ...(flags.internal === true ? { internal: true } : {}),
    ...(flags.cname === true ? { cname: true } : {}),
  }
}
