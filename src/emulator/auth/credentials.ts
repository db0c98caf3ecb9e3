/**
 * Access keys that may sign. Long-lived keys are configured at start, temporary ones (STS) are issued
 * here. A token carries its claims under a MAC, so every emulator with the same first key accepts it,
 * also after a restart. Early expiry and revocation are kept in memory only.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { OssError } from '../oss-error.js'
import { sameSignature } from './signature.js'

/** A long-lived access key. */
export interface AccessKey {
  /** Public id of the key. */
  readonly accessKeyId: string
  /** Secret that signs. */
  readonly accessKeySecret: string
}

/** A temporary access key and its token, named like the options of `ali-oss`. */
export interface StsCredentials extends AccessKey {
  /** Security token to send with every request. */
  readonly stsToken: string
  /** Expiry, in ISO 8601, UTC. */
  readonly expiration: string
}

/** Issues and invalidates temporary credentials. */
export interface Sts {
  /**
   * Issues temporary credentials.
   *
   * @param seconds – lifetime, default 3600
   */
  issue(seconds?: number): StsCredentials
  /** Expires a token early: requests with it fail with 403 SecurityTokenExpired. */
  expire(token: string): void
  /** Revokes a token: requests with it fail with 403 InvalidSecurityToken. */
  revoke(token: string): void
}

/** All access keys of an emulator. */
export interface CredentialStore {
  readonly sts: Sts
  /**
   * Returns the secret of an access key.
   *
   * @param now – ms since the epoch
   * @throws the `OssError` that OSS would answer for an unknown key or an invalid token
   */
  getSecret(accessKeyId: string, token: string | undefined, now: number): string
}

interface TokenClaims {
  readonly id: string
  readonly expires: number
}

/**
 * Creates a credential store.
 *
 * @param keys – at least one; all tokens are derived from the first
 */
export function createCredentialStore(keys: readonly [AccessKey, ...AccessKey[]]): CredentialStore {
  const rootSecret = keys[0].accessKeySecret
  const mac = (text: string) => createHmac('sha256', rootSecret).update(text).digest('base64url')
  const invalidatedTokens = new Map<string, 'SecurityTokenExpired' | 'InvalidSecurityToken'>()

  function parseToken(token: string): TokenClaims | undefined {
    const [payload = '', signature = ''] = token.split('.')
    if (!sameSignature(signature, mac(`token ${payload}`))) return undefined
    // the MAC proves that `issue` made it
    return JSON.parse(Buffer.from(payload, 'base64url').toString()) as TokenClaims
  }

  function getTokenSecret(accessKeyId: string, token: string, now: number): string {
    const claims = parseToken(token)
    const invalidationCode = invalidatedTokens.get(token)
    if (claims === undefined) throw new OssError('InvalidSecurityToken')
    if (claims.id !== accessKeyId) throw new OssError('AccessKeyIdAndSecurityTokenNotMatch')
    if (invalidationCode !== undefined) throw new OssError(invalidationCode)
    if (claims.expires <= now) throw new OssError('SecurityTokenExpired')
    return mac(`secret ${claims.id}`)
  }

  return {
    sts: {
      issue(seconds = 3600) {
        const id = `STS.${randomBytes(12).toString('hex')}`
        const expires = Date.now() + seconds * 1000
        const payload = Buffer.from(JSON.stringify({ id, expires })).toString('base64url')
        return {
          accessKeyId: id,
          accessKeySecret: mac(`secret ${id}`),
          stsToken: `${payload}.${mac(`token ${payload}`)}`,
          expiration: new Date(expires).toISOString(),
        }
      },
      expire: token => void invalidatedTokens.set(token, 'SecurityTokenExpired'),
      revoke: token => void invalidatedTokens.set(token, 'InvalidSecurityToken'),
    },
    getSecret(accessKeyId, token, now) {
      if (token !== undefined) return getTokenSecret(accessKeyId, token, now)
      const accessKey = keys.find(key => key.accessKeyId === accessKeyId)
      if (accessKey === undefined)
        throw new OssError('InvalidAccessKeyId', { extra: { OSSAccessKeyId: accessKeyId } })
      return accessKey.accessKeySecret
    },
  }
}
