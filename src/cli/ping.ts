/**
 * Pings of a monitoring service in the style of healthchecks.io: POST `URL/start` when a command starts, then
 * `URL` if it succeeded or `URL/fail`. The path of the URL is usually a token, so messages name the server only.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Transport } from '../oss/transport.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage, isError } from '../util/error-shape.js'
import { EXIT_SUCCESS } from './exit-status.js'
import { pingUrl } from './ping-url.js'
import { PING_USER_AGENT } from './request-watcher.js'

const ATTEMPTS = 3
const RETRY_DELAY_MS = 500
/** ms that the end of a command waits for both pings. */
const END_TIMEOUT_MS = 5_000
/** The part of it for a start ping that is still on its way: the other way round, the run would seem to go on. */
const START_TIMEOUT_MS = 2_000

/** A ping that was not accepted. `isFinal`: another attempt would have the same reply. */
class PingError extends Error {
  readonly isFinal: boolean

  constructor(message: string, isFinal: boolean) {
    super(message)
    this.isFinal = isFinal
  }
}

export class Ping {
  readonly #url: string
  readonly #warn: (message: string) => void
  readonly #transport = new Transport()
  readonly #startTimeout = new AbortController()
  #start: Promise<boolean> = Promise.resolve(true)

  /**
   * @param url – URL of the check
   * @param warn – called if a ping fails, which has no other effect
   */
  constructor(url: string, warn: (message: string) => void) {
    this.#url = url
    this.#warn = warn
  }

  /** Sends the start ping without waiting for it. */
  start(body: string): void {
    this.#start = this.#send('start', body, this.#startTimeout.signal)
  }

  /** Sends the last ping. Resolves within 5 s, to whether the server answered both pings. */
  async end(status: number, body: string): Promise<boolean> {
    const deadline = performance.now() + END_TIMEOUT_MS
    const timer = setTimeout(() => this.#startTimeout.abort(), START_TIMEOUT_MS)
    const isStarted = await this.#start
    clearTimeout(timer)
    const timeout = AbortSignal.timeout(Math.max(0, Math.round(deadline - performance.now())))
    const isEnded = await this.#send(status === EXIT_SUCCESS ? '' : 'fail', body, timeout)
    this.#transport.close()
    return isStarted && isEnded
  }

  /** Resolves to `false`, after a warning, if the ping was not accepted. */
  async #send(suffix: '' | 'start' | 'fail', body: string, signal: AbortSignal): Promise<boolean> {
    const { url, authorization, origin } = pingUrl(this.#url, suffix)
    try {
      for (let attempt = 1; ; attempt++) {
        const error = await this.#post(url, authorization, body, signal)
        if (error === undefined) return true
        if (error.isFinal || attempt === ATTEMPTS) throw error
        await delay(RETRY_DELAY_MS, undefined, { signal })
      }
    } catch (error) {
      const reason = signal.aborted ? 'no answer in time' : errorMessage(error)
      const name = suffix === '' ? 'success' : suffix
      this.#warn(`the ${name} ping to ${origin} failed: ${reason}`)
      return false
    }
  }

  async #post(
    url: string,
    authorization: string | undefined,
    body: string,
    signal: AbortSignal,
  ): Promise<PingError | undefined> {
    try {
      const { status } = await this.#transport.request(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': PING_USER_AGENT,
          ...(authorization === undefined ? {} : { authorization }),
        },
        content: body,
        ctx: () => ({ signal }),
      })
      if (status >= 200 && status < 300) return undefined
      const hint = status >= 300 && status < 400 ? '; redirects are not followed' : ''
      return new PingError(`status ${status}${hint}`, status < 500)
    } catch (error) {
      // The message of a system error may contain an address, that of a proxy is ours.
      const isProxyError = isError(error) && error.name.startsWith('Proxy')
      const message = isProxyError ? error.message : (errorCode(error) ?? 'connection failed')
      return new PingError(
        message,
        signal.aborted || (isProxyError && error.name === 'ProxyDenied'),
      )
    }
  }
}
