/**
 * Credentials, either fixed or from a provider. Fixed ones are read again for each request, because their owner
 * may replace them in place. A provider is called before its credentials expire, and not again before it has answered, for up to a minute.
 * (`ali-oss` sends parallel requests with the expired token while it fetches a new one, #1363, #1391.)
 */
import { invalidType } from '../errors.js'
import { errorKind, OssRequestError } from './request-error.js'
import { isError } from '../util/error-shape.js'

/** Credentials that sign requests. */
export interface Credentials {
  /** Identifies the key; sent with every request. */
  readonly accessKeyId: string
  /** Secret part of the key; never sent, written or shown. */
  readonly accessKeySecret: string
  /** Session token of temporary credentials. */
  readonly stsToken?: string
}

/** Credentials returned by a provider. */
export interface ProvidedCredentials extends Credentials {
  /** Expiry as a `Date`, an ISO 8601 string, or ms since 1970. Default: they never expire. */
  readonly expiration?: Date | string | number
}

/** Fetches credentials, for example from STS, a metadata service or a vault. */
export type CredentialsProvider = () => ProvidedCredentials | Promise<ProvidedCredentials>

/** Source of the credentials of requests. */
export interface CredentialSource {
  /**
   * Resolves with the current credentials. Rejects with an `OssRequestError` if none are available.
   * @param signal – ends the wait for a provider
   */
  get(signal?: AbortSignal): Promise<Credentials>
  /**
   * Replaces credentials that OSS rejected.
   * @param rejected – the credentials of the failed request
   * @param signal – ends the wait for a provider
   * @returns `true` if the current credentials are different ones
   */
  renew(rejected: Credentials, signal?: AbortSignal): Promise<boolean>
}

/**
 * Wait for an answer of a provider at most this long, in ms. A vault or a metadata service may accept a connection and never answer.
 */
const PROVIDER_TIMEOUT_MS = 60_000

/** Renew credentials this many ms before they expire, or after 4/5 of their lifetime, whichever is later. */
const REFRESH_AHEAD_MS = 5 * 60_000

/** Returns a source of credentials managed by their owner. Calls `read` for each request. */
export function staticCredentials(read: () => Credentials): CredentialSource {
  return {
    get: async () => read(),
    renew: async rejected => !isSameCredentials(read(), rejected),
  }
}

/** Returns a source for a place to which no credentials may be sent: every request there fails unsent. */
export function withheldCredentials(endpoint: string): CredentialSource {
  return {
    get: () =>
      Promise.reject(
        new OssRequestError({
          operation: 'Credentials',
          name: 'CredentialsWithheld',
          message: `the client is not configured for ${endpoint}`,
        }),
      ),
    renew: () => Promise.resolve(false),
  }
}

/** Credentials from a provider, renewed before they expire. */
export class RefreshingCredentials implements CredentialSource {
  readonly #provider: CredentialsProvider
  #current: Credentials | undefined
  #freshUntil = -Infinity
  #expiresAt = -Infinity
  #fetching: Promise<Credentials> | undefined
  /** Time limit of the fetch. It keeps the process alive only while a request waits. */
  #limit: NodeJS.Timeout | undefined
  #waiting = 0

  constructor(provider: CredentialsProvider) {
    this.#provider = provider
  }

  async get(signal?: AbortSignal): Promise<Credentials> {
    if (this.#current !== undefined && Date.now() < this.#freshUntil) return this.#current
    try {
      return await this.#fetch(signal)
    } catch (error) {
      // The current credentials are still valid; the next request retries the fetch.
      if (this.#current !== undefined && Date.now() < this.#expiresAt) return this.#current
      throw error
    }
  }

  async renew(rejected: Credentials, signal?: AbortSignal): Promise<boolean> {
    if (this.#current !== undefined && isSameCredentials(this.#current, rejected))
      this.#freshUntil = -Infinity
    try {
      return !isSameCredentials(await this.#fetchUnlessFresh(signal), rejected)
    } catch (error) {
      if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
      return false
    }
  }

  #fetchUnlessFresh(signal: AbortSignal | undefined): Promise<Credentials> {
    return Date.now() < this.#freshUntil && this.#current !== undefined
      ? Promise.resolve(this.#current)
      : this.#fetch(signal)
  }

  /** Fetches new credentials. Concurrent calls share one fetch, which goes on when some stop waiting for it. */
  #fetch(signal: AbortSignal | undefined): Promise<Credentials> {
    this.#fetching ??= this.#callWithinLimit().finally(() => {
      this.#fetching = undefined
    })
    this.#waiting++
    this.#limit?.ref()
    return untilAborted(this.#fetching, signal).finally(() => {
      if (--this.#waiting === 0) this.#limit?.unref()
    })
  }

  /** @throws OssRequestError `CredentialsTimeout` after a minute, so that the provider can be called again */
  #callWithinLimit(): Promise<Credentials> {
    const late = new Promise<never>((_, reject) => {
      const message = `The credentials provider did not answer within ${PROVIDER_TIMEOUT_MS} ms`
      const fail = (): void => reject(waitError('CredentialsTimeout', message))
      this.#limit = setTimeout(fail, PROVIDER_TIMEOUT_MS)
    })
    return Promise.race([this.#callProvider(), late]).finally(() => clearTimeout(this.#limit))
  }

  async #callProvider(): Promise<Credentials> {
    let provided: ProvidedCredentials
    try {
      provided = await this.#provider()
      checkProvided(provided)
    } catch (cause) {
      if (cause instanceof OssRequestError) throw cause // our own error, which contains no secrets
      const reason = isError(cause) ? cause.name : typeof cause
      throw new OssRequestError({
        operation: 'Credentials',
        name: 'CredentialsUnavailable',
        message: `The credentials provider failed: ${reason}`, // the provider's own message may contain secrets
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

/** @throws OssRequestError of kind `aborted` */
async function untilAborted<T>(fetching: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  let onAbort = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(waitError('AbortError', 'The request was aborted'))
  })
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  return Promise.race([fetching, aborted]).finally(() => {
    signal?.removeEventListener('abort', onAbort)
  })
}

function waitError(name: string, message: string): OssRequestError {
  return new OssRequestError({ operation: 'Credentials', name, message })
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
