/**
 * Connects the command line to the OSS selected by flags and configuration, or to the embedded OSS. Secrets
 * come from the environment or a file, never from an argument.
 */
import { realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import { EMBEDDED_PREFIX } from '../hint.js'
import { importBundledAliOss } from '../oss/bundled-ali-oss.js'
import { connect } from '../oss/connection.js'
import { defaultCredentials, CredentialsPackageMissingError } from '../oss/default-credentials.js'
import type { OssConnection } from '../oss/bucket.js'
import type { ClientOptions } from '../oss/client-options.js'
import type { Configuration, ConfiguredCredentials } from './configuration.js'
import { UsageError } from './exit-status.js'
import { makeDirectories } from '../util/make-directories.js'
import { omitUndefined } from '../util/omit-undefined.js'

export interface ConnectionFlags {
  readonly local?: string
  readonly endpoint?: string
  readonly region?: string
  readonly internal?: boolean
  readonly cname?: boolean
  readonly pathStyle?: boolean
  readonly requestPayer?: boolean
}

/** Connection whose `close()` also stops the embedded OSS, if one was started. */
export type CliConnection = Omit<OssConnection, 'close'> & { close(): Promise<void> }

const NO_CREDENTIALS_MESSAGE =
  'No credentials: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or configure ossutil'

/**
 * Connects to the OSS selected by flags and configuration.
 * @param isConfigured – the place is the configured one, so endpoints of single buckets apply
 * @param configuration – without credentials in it, Alibaba's default credential chain is used
 * @param bucket – bucket of the command's object; none for `resume`, `abort` and `prune`
 * @throws UsageError if there are no credentials or no region
 */
export async function openConnection(
  flags: ConnectionFlags,
  isConfigured: boolean,
  configuration: Configuration,
  bucket?: string,
): Promise<CliConnection> {
  if (flags.local !== undefined) return openLocalConnection(flags.local, bucket)
  const options = await readClientOptions(flags, isConfigured, configuration, bucket)
  const endpoints = isConfigured ? endpointOfBuckets(configuration) : undefined
  const connection = connect(options, undefined, {
    bucketEndpoints: endpoints,
    importClient: importBundledAliOss,
  })
  return { ...connection, close: async () => connection.close() }
}

/**
 * Returns the options of a client for the selected OSS.
 * @throws UsageError if there are no credentials or no region
 */
export async function readClientOptions(
  flags: ConnectionFlags,
  isConfigured: boolean,
  configuration: Configuration,
  bucket: string | undefined,
): Promise<ClientOptions> {
  const place = isConfigured ? configuredPlace(flags, configuration, bucket) : flags
  return {
    ...(await credentialOptions(configuration.credentials)),
    ...endpointOptions({ ...place, ...selectOther(flags) }),
    ...(bucket === undefined ? {} : { bucket }),
  }
}

function endpointOfBuckets({ bucketEndpoints }: Configuration): ReadonlyMap<string, string> {
  return new Map([...bucketEndpoints].map(([bucket, { endpoint }]) => [bucket, endpoint]))
}

function selectOther({ internal, pathStyle, requestPayer }: ConnectionFlags): ConnectionFlags {
  return omitUndefined({ internal, pathStyle, requestPayer })
}

/** Without a bucket, the place matters only for records; any configured one will do if there is no default. */
function configuredPlace(
  { endpoint, region, cname }: ConnectionFlags,
  { bucketEndpoints, placeFor }: Configuration,
  bucket: string | undefined,
): ConnectionFlags {
  const [anyBucket] = bucketEndpoints.keys()
  if (bucket !== undefined) return placeFor(bucket)
  return endpoint === undefined && region === undefined && anyBucket !== undefined
    ? placeFor(anyBucket)
    : omitUndefined({ endpoint, region, cname })
}

/**
 * Returns a connection to the selected OSS that never connects: for commands that work on this disk only. Needs no
 * credentials.
 * @param isConfigured – the place is the configured one, so endpoints of single buckets apply
 * @throws UsageError if the flags select no endpoint
 */
export async function openOffline(
  flags: ConnectionFlags,
  isConfigured: boolean,
  configuration: Configuration,
  bucket?: string,
): Promise<CliConnection> {
  const credentials = { credentials: refuseCredentials }
  const { local } = flags
  const place = isConfigured ? configuredPlace(flags, configuration, bucket) : flags
  const connection =
    local === undefined
      ? connect(
          { ...endpointOptions({ ...place, ...selectOther(flags) }), ...credentials },
          undefined,
          { bucketEndpoints: isConfigured ? endpointOfBuckets(configuration) : undefined },
        )
      : connect(
          { region: 'local', ...credentials },
          { name: EMBEDDED_PREFIX + (await realPathOf(local)), endpoint: 'http://localhost' },
        )
  return { ...connection, close: async () => connection.close() }
}

function refuseCredentials(): never {
  throw new Error('This command must not send requests')
}

/** Resolves a directory as records name it, whether it exists or not. */
async function realPathOf(directory: string): Promise<string> {
  return realpath(directory).catch(() => resolve(directory))
}

/**
 * Starts the emulator in this process, with a key that other users do not know: they can reach its port.
 * Checkpoints record its directory, never its port or key, so that another process can resume.
 */
async function openLocalConnection(
  directory: string,
  bucket: string | undefined,
): Promise<CliConnection> {
  const { startEmulator } = await import('../emulator/index.js')
  await makeDirectories(directory)
  const realDirectory = await realpath(directory)
  const emulator = await startEmulator({
    dir: realDirectory,
    createBuckets: true,
    credentials: 'random',
  })
  const { endpoint } = emulator
  const connection = connect(
    emulator.clientOptions(bucket ?? 'unused'),
    { name: EMBEDDED_PREFIX + realDirectory, endpoint },
    { importClient: importBundledAliOss },
  )
  return {
    ...connection,
    close: async () => {
      connection.close()
      await emulator.close()
    },
  }
}

function endpointOptions(flags: ConnectionFlags): ClientOptions {
  const { endpoint, region, internal, cname, pathStyle, requestPayer } = flags
  if (endpoint === undefined && region === undefined) {
    throw new UsageError('No region: set --region or OSS_REGION, for example to cn-hangzhou')
  }
  return {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(internal === true ? { internal } : {}),
    ...(cname === true ? { cname } : {}),
    ...(pathStyle === true ? { sldEnable: true } : {}),
    ...(requestPayer === true ? { isRequestPay: true } : {}),
  }
}

/** Tries the default chain once, so that missing credentials are reported before the source is read. */
async function credentialOptions(
  configured: ConfiguredCredentials | undefined,
): Promise<ClientOptions> {
  if (configured !== undefined) {
    const { accessKeyId, accessKeySecret, sessionToken } = configured
    return { accessKeyId, accessKeySecret, ...(sessionToken ? { stsToken: sessionToken } : {}) }
  }
  const credentials = defaultCredentials()
  try {
    await credentials()
    return { credentials }
  } catch (error) {
    const hint =
      error instanceof CredentialsPackageMissingError
        ? ", or install @alicloud/credentials to use Alibaba's default chain"
        : "; Alibaba's default chain found none either"
    throw new UsageError(`${NO_CREDENTIALS_MESSAGE}${hint}; --local needs none`)
  }
}
