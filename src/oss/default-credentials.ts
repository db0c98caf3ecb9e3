/**
 * Alibaba's default credential chain (environment, OIDC, profile, ECS RAM role, URI), through its own
 * package, which is loaded only when it is asked for and need not be installed.
 */
import type { CredentialsProvider } from './credentials.js'
import { OssRequestError } from './request-error.js'

/** The chain keeps and renews what it found by itself; so often, in ms, we ask it again. */
const REFRESH_INTERVAL_MS = 60_000

interface CredentialChain {
  getCredentials(): Promise<{
    accessKeyId: string
    accessKeySecret: string
    securityToken?: string | undefined
  }>
}

/**
 * A provider for `client: { credentials: defaultCredentials() }`. Needs the package
 * `@alicloud/credentials` (2.4 or later).
 */
export function defaultCredentials(): CredentialsProvider {
  let chain: CredentialChain | undefined
  return async () => {
    try {
      chain ??= await loadCredentialChain()
      const { accessKeyId, accessKeySecret, securityToken } = await chain.getCredentials()
      return {
        accessKeyId,
        accessKeySecret,
        expiration: Date.now() + REFRESH_INTERVAL_MS,
        ...(securityToken ? { stsToken: securityToken } : {}),
      }
    } catch (error) {
      chain = undefined // it sticks to the provider that failed last
      throw error
    }
  }
}

/** @throws CredentialsPackageMissingError */
async function loadCredentialChain(): Promise<CredentialChain> {
  try {
    const { DefaultCredentialsProvider } = await import('@alicloud/credentials')
    return DefaultCredentialsProvider.builder().build()
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code
    throw missing === 'ERR_MODULE_NOT_FOUND' ? new CredentialsPackageMissingError() : error
  }
}

/** There is no chain to ask: a failure that may be shown as it is, since it was made here. */
export class CredentialsPackageMissingError extends OssRequestError {
  constructor() {
    super({
      operation: 'Credentials',
      name: 'CredentialsUnavailable',
      message: "Alibaba's default chain needs the package @alicloud/credentials: install it",
    })
  }
}
