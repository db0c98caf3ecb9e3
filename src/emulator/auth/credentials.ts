/**
 * Who may sign. Long-lived pairs are given at start; temporary ones (STS) are made here. A token
 * carries its own facts under a MAC, so every emulator with the same first pair accepts it, also
 * after a restart; only "expired early" and "revoked" are remembered in memory.
 */
import { createHmac, randomBytes } from 'node:crypto'
import { OssError } from '../oss-error.js'
import { sameSignature } from './signature.js'

/** A long-lived pair. */
export interface AccessKey {
  /** Says whose key it is. */
  readonly accessKeyId: string
  /** The key itself. */
  readonly accessKeySecret: string
}

/** A temporary pair with its token; the names are those of the options of `ali-oss`. */
export interface StsCredentials extends AccessKey {
  /** The session token that goes with them. */
  readonly stsToken: string
  /** When they end: ISO 8601, UTC. */
  readonly expiration: string
}

/** Makes and ends temporary credentials. */
export interface Sts {
  /** New temporary credentials. @param seconds how long they last, default 3600 */
  issue(seconds?: number): StsCredentials
  /** From now on the token answers 403 SecurityTokenExpired. */
  expire(token: string): void
  /** From now on the token answers 403 InvalidSecurityToken. */
  revoke(token: string): void
}

/** All who may sign. */
export interface CredentialStore {
  readonly sts: Sts
  /** The secret of a pair, or the refusal that OSS would give. @param now ms since the epoch */
  getSecret(accessKeyId: string, token: string | undefined, now: number): string
}

interface TokenClaims {
  readonly id: string
  readonly expires: number
}

/** @param keys at least one; the first is the root of all tokens */
export function createCredentialStore(keys: readonly [AccessKey, ...AccessKey[]]): CredentialStore {
  const rootSecret = keys[0].accessKeySecret
  const mac = (text: string) => createHmac('sha256', rootSecret).update(text).digest('base64url')
  const invalidatedTokens = new Map<string, 'SecurityTokenExpired' | 'InvalidSecurityToken'>()

  function parseToken(token: string): TokenClaims | undefined {
    const [payload = '', signature = ''] = token.split('.')
    if (!sameSignature(signature, mac(`token ${payload}`))) return undefined
    // made by `issue`, as the MAC shows
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
