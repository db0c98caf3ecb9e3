/**
 * Credentials: fixed ones, read anew for each request since their owner may replace them in place, or
 * those of a provider, fetched ahead of their expiry and never by two requests at once. (`ali-oss`
 * sends parallel requests with the expired token while it fetches a new one, #1363, #1391.)
 */
import { invalidType } from '../errors.js'
import { OssFailure } from './failure.js'

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
  /** Those to sign with now; rejects with an `OssFailure` when there are none. */
  get(): Promise<Credentials>
  /** OSS refused `rejected`. @returns whether there are others by now */
  renew(rejected: Credentials): Promise<boolean>
}

/** Credentials end this long before OSS says so, or after 4/5 of their life if that is later, in ms. */
const AHEAD = 5 * 60_000

/** Credentials that their owner keeps; `read` is called for each request. */
export function keptCredentials(read: () => Credentials): CredentialSource {
  return {
    get: async () => read(),
    renew: async rejected => !same(read(), rejected),
  }
}

/** Credentials of a provider. */
export class ProvidedSource implements CredentialSource {
  readonly #provider: CredentialsProvider
  #current: Credentials | undefined
  #goodUntil = -Infinity
  #expires = -Infinity
  #fetching: Promise<Credentials> | undefined

  constructor(provider: CredentialsProvider) {
    this.#provider = provider
  }

  async get(): Promise<Credentials> {
    if (this.#current !== undefined && Date.now() < this.#goodUntil) return this.#current
    try {
      return await this.#fetch()
    } catch (error) {
      // Ahead of the expiry there is still time to try again.
      if (this.#current !== undefined && Date.now() < this.#expires) return this.#current
      throw error
    }
  }

  async renew(rejected: Credentials): Promise<boolean> {
    if (this.#current !== undefined && same(this.#current, rejected)) this.#goodUntil = -Infinity
    try {
      return !same(await this.#fetchUnlessFresh(), rejected)
    } catch (error) {
      if (error instanceof OssFailure) return false
      throw error
    }
  }

  #fetchUnlessFresh(): Promise<Credentials> {
    return Date.now() < this.#goodUntil && this.#current !== undefined
      ? Promise.resolve(this.#current)
      : this.#fetch()
  }

  /** One fetch at a time, shared by all who wait. */
  #fetch(): Promise<Credentials> {
    return (this.#fetching ??= this.#ask().finally(() => {
      this.#fetching = undefined
    }))
  }

  async #ask(): Promise<Credentials> {
    let provided: ProvidedCredentials
    try {
      provided = await this.#provider()
      check(provided)
    } catch (cause) {
      if (cause instanceof OssFailure) throw cause // ours
      const reason = cause instanceof Error ? cause.name : typeof cause
      throw new OssFailure({
        operation: 'Credentials',
        name: 'CredentialsUnavailable',
        message: `The provider of credentials failed (${reason})`, // its own text may name secrets
      })
    }
    const now = Date.now()
    this.#expires = timeOf(provided.expiration)
    const life = this.#expires - now
    this.#goodUntil = this.#expires - Math.min(AHEAD, life / 5)
    const { accessKeyId, accessKeySecret, stsToken } = provided
    this.#current = { accessKeyId, accessKeySecret, ...(stsToken ? { stsToken } : {}) }
    return this.#current
  }
}

function check(provided: unknown): asserts provided is ProvidedCredentials {
  for (const name of ['accessKeyId', 'accessKeySecret']) {
    const value: unknown = Object(provided)[name]
    if (typeof value !== 'string' || value === '') {
      throw invalidType(`credentials().${name}`, 'a non-empty string', undefined)
    }
  }
}

function timeOf(expiration: ProvidedCredentials['expiration']): number {
  const time = expiration === undefined ? Infinity : new Date(expiration).getTime()
  if (Number.isNaN(time)) throw invalidType('credentials().expiration', 'a time', expiration)
  return time
}

function same(a: Credentials, b: Credentials): boolean {
  return (
    a.accessKeyId === b.accessKeyId &&
    a.accessKeySecret === b.accessKeySecret &&
    a.stsToken === b.stsToken
  )
}
