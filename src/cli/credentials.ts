/**
 * Where the command line finds credentials: the environment, `~/.ossutilconfig`, Alibaba's default
 * chain. None at all is wrong usage, said before a byte is read; they are never an argument.
 */
import { defaultCredentials, NotInstalled } from '../oss/default-credentials.js'
import type { ClientOptions } from '../oss/settings.js'
import { UsageError } from './exit-status.js'

const NONE =
  'No credentials: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, or run "ossutil config"'

type Found = Pick<ClientOptions, 'accessKeyId' | 'accessKeySecret' | 'stsToken' | 'credentials'>

/**
 * @param file the `[Credentials]` section of `~/.ossutilconfig`
 * @throws UsageError when there are none
 */
export async function findCredentials(
  env: NodeJS.ProcessEnv,
  file: Record<string, string | undefined>,
): Promise<Found> {
  return (
    pair(env['OSS_ACCESS_KEY_ID'], env['OSS_ACCESS_KEY_SECRET'], env['OSS_SESSION_TOKEN']) ??
    pair(file['accesskeyid'], file['accesskeysecret'], file['ststoken']) ?? {
      credentials: await defaultChain(),
    }
  )
}

function pair(
  accessKeyId?: string,
  accessKeySecret?: string,
  stsToken?: string,
): Found | undefined {
  if (!accessKeyId || !accessKeySecret) return undefined
  return { accessKeyId, accessKeySecret, ...(stsToken ? { stsToken } : {}) }
}

/** Asked once here, so that an empty chain is told before the source is read. */
async function defaultChain(): Promise<NonNullable<Found['credentials']>> {
  const provider = defaultCredentials()
  try {
    await provider()
    return provider
  } catch (error) {
    const why =
      error instanceof NotInstalled
        ? ", or install @alicloud/credentials for Alibaba's default chain"
        : "; Alibaba's default chain finds none either"
    throw new UsageError(`${NONE}${why}; --local needs none`)
  }
}
