/**
 * Alibaba's default credential chain (environment, OIDC, profile, ECS RAM role, URI). Uses Alibaba's package,
 * which is an optional dependency and loaded on first use.
 */
import type { CredentialsProvider } from './credentials.js'
import { OssRequestError } from './request-error.js'
import { errorCode } from '../util/error-code.js'

/** Interval in ms at which the chain is queried. It caches and renews its credentials itself. */
const REFRESH_INTERVAL_MS = 60_000

interface CredentialChain {
  getCredentials(): Promise<{
    accessKeyId: string
    accessKeySecret: string
    securityToken?: string | undefined
  }>
}

/**
 * Returns a provider that uses Alibaba's default credential chain, for
 * `client: { credentials: defaultCredentials() }`. Requires the package `@alicloud/credentials` 2.4 or later;
 * without it, requests fail with `ERR_SPOOL_DENIED`.
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
      chain = undefined // the chain would reuse the provider that failed last
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
    const isMissing = errorCode(error) === 'ERR_MODULE_NOT_FOUND'
    throw isMissing ? new CredentialsPackageMissingError() : error
  }
}

/** The package is not installed. An `OssRequestError` because its message is ours and contains no secrets. */
export class CredentialsPackageMissingError extends OssRequestError {
  constructor() {
    super({
      operation: 'Credentials',
      name: 'CredentialsUnavailable',
      message:
        "Alibaba's default credential chain needs the package @alicloud/credentials. Install it.",
    })
  }
}
