/**
 * Credentials: fixed ones, read anew for each request since their owner may replace them in place, or
 * those of a provider, fetched ahead of their expiry and never by two requests at once. (`ali-oss`
 * sends parallel requests with the expired token while it fetches a new one, #1363, #1391.)
 */
import { invalidType } from '../errors.js'
import { OssRequestError } from './request-error.js'

/** What signs a request. */
export interface Credentials {
  /** Says whose key it is; sent with every request. */
  readonly accessKeyId: string
  /** The key itself; never sent, written or shown. */
  readonly accessKeySecret: string
  /** Of temporary credentials: the session token that goes with them. */
  readonly stsToken?: string
}

/** What a provider returns. */
export interface ProvidedCredentials extends Credentials {
  /** When they end: a `Date`, an ISO 8601 string, or ms since 1970. Without it: never. */
  readonly expiration?: Date | string | number
}

/** Fetches credentials, from STS, a metadata service, a vault. */
export type CredentialsProvider = () => ProvidedCredentials | Promise<ProvidedCredentials>

/** Where requests get their credentials. */
export interface CredentialSource {
  /** Those to sign with now; rejects with an `OssRequestError` when there are none. */
  get(): Promise<Credentials>
  /** OSS refused `rejected`. @returns whether there are others by now */
  renew(rejected: Credentials): Promise<boolean>
}

/** Credentials end this long before OSS says so, or after 4/5 of their life if that is later, in ms. */
const REFRESH_AHEAD_MS = 5 * 60_000

/** Credentials that their owner keeps; `read` is called for each request. */
export function staticCredentials(read: () => Credentials): CredentialSource {
  return {
    get: async () => read(),
    renew: async rejected => !isSameCredentials(read(), rejected),
  }
}

/** Credentials of a provider. */
export class RefreshingCredentials implements CredentialSource {
  readonly #provider: CredentialsProvider
  #current: Credentials | undefined
  #freshUntil = -Infinity
  #expiresAt = -Infinity
  #fetching: Promise<Credentials> | undefined

  constructor(provider: CredentialsProvider) {
    this.#provider = provider
  }

  async get(): Promise<Credentials> {
    if (this.#current !== undefined && Date.now() < this.#freshUntil) return this.#current
    try {
      return await this.#fetch()
    } catch (error) {
      // Ahead of the expiry there is still time to try again.
      if (this.#current !== undefined && Date.now() < this.#expiresAt) return this.#current
      throw error
    }
  }

  async renew(rejected: Credentials): Promise<boolean> {
    if (this.#current !== undefined && isSameCredentials(this.#current, rejected))
      this.#freshUntil = -Infinity
    try {
      return !isSameCredentials(await this.#fetchUnlessFresh(), rejected)
    } catch (error) {
      if (error instanceof OssRequestError) return false
      throw error
    }
  }

  #fetchUnlessFresh(): Promise<Credentials> {
    return Date.now() < this.#freshUntil && this.#current !== undefined
      ? Promise.resolve(this.#current)
      : this.#fetch()
  }

  /** One fetch at a time, shared by all who wait. */
  #fetch(): Promise<Credentials> {
    return (this.#fetching ??= this.#callProvider().finally(() => {
      this.#fetching = undefined
    }))
  }

  async #callProvider(): Promise<Credentials> {
    let provided: ProvidedCredentials
    try {
      provided = await this.#provider()
      checkProvided(provided)
    } catch (cause) {
      if (cause instanceof OssRequestError) throw cause // ours
      const reason = cause instanceof Error ? cause.name : typeof cause
      throw new OssRequestError({
        operation: 'Credentials',
        name: 'CredentialsUnavailable',
        message: `The provider of credentials failed (${reason})`, // its own text may name secrets
      })
    }
    const now = Date.now()
    this.#expiresAt = expirationTime(provided.expiration)
    const life = this.#expiresAt - now
    this.#freshUntil = this.#expiresAt - Math.min(REFRESH_AHEAD_MS, life / 5)
    const { accessKeyId, accessKeySecret, stsToken } = provided
    this.#current = { accessKeyId, accessKeySecret, ...(stsToken ? { stsToken } : {}) }
    return this.#current
  }
}

function checkProvided(provided: unknown): asserts provided is ProvidedCredentials {
  for (const name of ['accessKeyId', 'accessKeySecret']) {
    const value: unknown = Object(provided)[name]
    if (typeof value !== 'string' || value === '') {
      throw invalidType(`credentials().${name}`, 'a non-empty string', undefined)
    }
  }
}

function expirationTime(expiration: ProvidedCredentials['expiration']): number {
  const time = expiration === undefined ? Infinity : new Date(expiration).getTime()
  if (Number.isNaN(time)) throw invalidType('credentials().expiration', 'a time', expiration)
  return time
}

function isSameCredentials(a: Credentials, b: Credentials): boolean {
  return (
    a.accessKeyId === b.accessKeyId &&
    a.accessKeySecret === b.accessKeySecret &&
    a.stsToken === b.stsToken
  )
}
