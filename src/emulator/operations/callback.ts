/**
 * Callbacks: after PutObject or Complete OSS asks a server of the user's and passes on its answer.
 * Here that server must be on this machine: an emulator in someone's tests calls nobody else.
 */
import { isIP } from 'node:net'
import { invalidArgument, OssError } from '../oss-error.js'
import type { Reply } from '../reply.js'
import { hostName } from '../http/address.js'
import type { ObjectRecord } from '../store/record.js'
import type { Call } from './call.js'

const MAX_HEADER = 5 * 1024
const MAX_ANSWER = 1024 * 1024
const TIMEOUT = 5000

/** A callback that was asked for, legible. */
interface Callback {
  readonly urls: readonly URL[]
  readonly host: string | undefined
  readonly body: string
  readonly type: string
  readonly variables: Readonly<Record<string, string>>
}

/** What the user's server may be told. */
type Facts = Pick<ObjectRecord, 'etag' | 'size' | 'crc64' | 'headers'>

/**
 * Reads the request's callback; 400 InvalidArgument if it is illegible.
 * @returns what makes the final reply out of OSS's own, once the object is stored
 */
export function callbackOf(call: Call): (reply: Reply, facts: Facts) => Promise<Reply> {
  const callback = readCallback(call)
  if (callback === undefined) return reply => Promise.resolve(reply)
  return async (reply, facts) => {
    const body = await ask(callback, fill(callback, call, facts))
    return { ...reply, headers: { ...reply.headers, 'Content-Type': 'application/json' }, body }
  }
}

function readCallback({ headers, query }: Call): Callback | undefined {
  const header = headers.get('x-oss-callback')
  const parameter = query.get('callback')
  if (header !== undefined && parameter !== undefined) throw invalid('callback', parameter)
  const text = header ?? parameter
  if (text === undefined) return undefined
  const { callbackUrl, callbackBody, callbackBodyType, callbackHost } = decode(text)
  if (callbackUrl === undefined || callbackBody === undefined) throw invalid('callback', text)
  const type = callbackBodyType ?? 'application/x-www-form-urlencoded'
  const variables = headers.get('x-oss-callback-var') ?? query.get('callback-var')
  return {
    urls: callbackUrl.split(';').map(url => loopback(url, text)),
    host: callbackHost,
    body: callbackBody,
    type,
    variables: variables === undefined ? {} : decode(variables),
  }
}

const invalid = (name: string, value: string): OssError =>
  invalidArgument(name, value, 'The callback configuration is not json format.')

function decode(base64: string): Partial<Record<string, string>> & Record<string, string> {
  if (base64.length > MAX_HEADER) throw invalid('callback', base64)
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(base64, 'base64').toString())
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw invalid('callback', base64)
  }
  if (typeof value !== 'object' || value === null) throw invalid('callback', base64)
  const texts = Object.entries(value).map(([name, text]) => [name, String(text)] as const)
  return Object.fromEntries(texts)
}

function loopback(text: string, whole: string): URL {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : null)
  if (url === null || !/^https?:$/.test(url.protocol)) throw invalid('callback', whole)
  const host = hostName(url.host)
  const local =
    host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
  if (!local)
    throw invalidArgument(
      'callbackUrl',
      text,
      'The emulator calls back to loopback addresses only.',
    )
  return url
}

/** The body with its variables filled in: as form values, or quoted as JSON. */
function fill({ body, type, variables }: Callback, { bucket, key }: Call, facts: Facts): string {
  const json = type.startsWith('application/json')
  const known: Readonly<Record<string, string | number>> = {
    bucket,
    object: key,
    etag: facts.etag,
    size: facts.size,
    mimeType: facts.headers['content-type'] ?? '',
    crc64: facts.crc64 ?? '',
    ...variables,
  }
  return body.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = (Object.hasOwn(known, name) ? known[name] : undefined) ?? ''
    return json ? JSON.stringify(value) : encodeURIComponent(value)
  })
}

async function ask(callback: Callback, body: string): Promise<Buffer> {
  let reason = 'no address'
  for (const url of callback.urls) {
    try {
      const headers = { 'Content-Type': callback.type }
      const signal = AbortSignal.timeout(TIMEOUT)
      const response = await fetch(url, { method: 'POST', headers, body, signal })
      const answer = Buffer.from(await response.arrayBuffer())
      if (response.status === 200 && answer.length <= MAX_ANSWER) return answer
      reason = String(response.status)
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
  }
  throw new OssError('CallbackFailed', { message: `Error status : ${reason}.` })
}
