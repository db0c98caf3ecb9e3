/** One side of the comparison: sends raw requests to a bucket, and opens spools over the same recorded connection. */
import { isIP } from 'node:net'
import { encodeRfc3986 } from '../emulator/http/request-target.js'
import type { OssConnection, Place } from '../oss/bucket.js'
import type { Credentials } from '../oss/credentials.js'
import { Spool } from '../spool.js'
import type { Recorder } from './recorder.js'
import { signHeaders, signQuery, type Signer } from './signature.js'

/** The smallest part, in bytes. */
export const PART_SIZE = 102_400

/** Parts of a raw request besides method and key. */
export interface RawRequest {
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Returns another signer; `undefined` sends the request unsigned. Default: our own. */
  readonly signer?: (own: Signer) => Signer | undefined
  /** Signs the URL instead of the headers, for this many seconds. */
  readonly presigned?: number
}

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

export interface TargetOptions {
  readonly connection: OssConnection
  /** Place of the bucket, with the address at which it is reached. */
  readonly place: Place
  readonly credentials: () => Promise<Credentials>
  readonly recorder: Recorder
  /** Folder of all keys, which ends with a slash. */
  readonly folder: string
  /** Directory of the spools. */
  readonly directory: string
  readonly signal: AbortSignal
}

export class Target {
  readonly recorder: Recorder
  readonly folder: string
  readonly #options: TargetOptions

  constructor(options: TargetOptions) {
    this.#options = options
    this.recorder = options.recorder
    this.folder = options.folder
  }

  /**
   * Sends a request.
   * @param key – key of the object; empty for the bucket itself
   */
  async send(method: string, key: string, request: RawRequest = {}): Promise<Reply> {
    const { place, credentials, recorder, signal, connection } = this.#options
    const { query = {}, headers = {}, body, signer = own => own, presigned } = request
    const keys = await credentials()
    const region = place.region.replace(/^oss-/, '')
    const signing = signer({ ...keys, region, time: connection.open(place).now() })
    const unsigned = { method, bucket: place.bucket, key, query, headers }
    const isInUrl = presigned !== undefined && signing !== undefined
    const sentQuery = isInUrl ? signQuery(unsigned, signing, presigned) : query
    const sentHeaders = signing === undefined || isInUrl ? headers : signHeaders(unsigned, signing)
    const content = body === undefined ? {} : { content: Buffer.from(body) }
    const length = Buffer.byteLength(body ?? '')
    const reply = await recorder.send(`${addressOf(place)}${encodePath(key)}${search(sentQuery)}`, {
      method,
      headers: { ...sentHeaders, ...(hasBody(method) ? { 'content-length': length } : {}) },
      ...content,
      ctx: () => ({ signal: recorder.isCleaningUp ? undefined : signal }),
    })
    return { status: reply.status, headers: reply.headers, text: reply.data.toString() }
  }

  /** Opens a spool; any number of them share their uploads. Sends one request at a time, in a repeatable order. */
  spool(): Spool {
    const { connection, directory, signal } = this.#options
    const spool = new Spool({
      client: connection,
      dir: directory,
      partSize: PART_SIZE,
      parallel: 1,
      start: 'sealed',
      retry: { attempts: 1 },
      signal,
    })
    spool.on('warning', () => undefined) // the requests are in the transcript
    return spool
  }
}

function hasBody(method: string): boolean {
  return method === 'PUT' || method === 'POST'
}

/** Returns the URL of a bucket with a slash at its end, as `ali-oss` builds it. */
function addressOf({ endpoint, bucket, cname, pathStyle }: Place): string {
  const url = new URL(endpoint)
  if (cname) return `${url.origin}/`
  return pathStyle || isIP(url.hostname.replaceAll(/[[\]]/g, '')) !== 0
    ? `${url.origin}/${bucket}/`
    : `${url.protocol}//${bucket}.${url.host}/`
}

function encodePath(key: string): string {
  return encodeRfc3986(key).replaceAll('%2F', '/')
}

function search(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) =>
    value === '' ? encodeRfc3986(name) : `${encodeRfc3986(name)}=${encodeRfc3986(value)}`,
  )
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}
