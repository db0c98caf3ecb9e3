/** Clients for the emulator's tests: the real ali-oss in several configurations, and raw HTTP. */
import { createHmac } from 'node:crypto'
import { connect } from 'node:net'
import { request, type IncomingHttpHeaders, type OutgoingHttpHeaders } from 'node:http'
import type { Test } from 'tap'
import OSS from 'ali-oss'
import type { Emulator } from '../../src/emulator/index.js'

// The published types of ali-oss lack half of its methods and mistype results, which are strings.
// oxlint-disable-next-line typescript/no-explicit-any
export type Client = any

/**
 * Creates an ali-oss client.
 *
 * @param extra – overrides the client's options
 */
export function aliOss(oss: Emulator, bucket?: string, extra: object = {}): Client {
  return new OSS({ ...oss.clientOptions(bucket), ...extra })
}

/** Signature versions and addressing styles of ali-oss. */
export const CONFIGURATIONS = [
  { name: 'V4, IP endpoint', options: () => ({ authorizationV4: true }) },
  { name: 'V1, IP endpoint', options: () => ({ authorizationV4: false }) },
  {
    name: 'V4, sldEnable',
    options: ({ port }: Emulator) => ({
      authorizationV4: true,
      sldEnable: true,
      endpoint: `http://localhost:${port}`,
    }),
  },
  {
    name: 'V1, sldEnable',
    options: ({ port }: Emulator) => ({
      authorizationV4: false,
      sldEnable: true,
      endpoint: `http://localhost:${port}`,
    }),
  },
]

/** A response with its whole body. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A request to send with `node:http`. */
export interface Ask {
  readonly method?: string
  readonly path: string
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
}

/** Sends a request exactly as given. */
export function send(oss: Pick<Emulator, 'port'>, ask: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', path, headers = {}, body } = ask
    const outgoing = request(
      { host: '127.0.0.1', port: oss.port, method, path, headers, agent: false },
      incoming => {
        const chunks: Buffer[] = []
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
        incoming.on('error', reject)
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

/** Sends bytes over a TCP socket. Resolves with everything received until the socket is closed. */
export function sendBytes(
  oss: Pick<Emulator, 'port'>,
  ...pieces: (string | Buffer)[]
): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(oss.port, '127.0.0.1')
    socket.on('data', chunk => (answer += chunk.toString('latin1')))
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
    for (const piece of pieces) socket.write(piece)
  })
}

/** Returns headers with a V1 signature, computed independently of the code under test. */
export function signed(
  oss: Pick<Emulator, 'credentials'>,
  {
    method = 'GET',
    resource,
    headers = {},
  }: { method?: string; resource: string; headers?: Record<string, string> },
): Record<string, string> {
  const date = headers['x-oss-date'] ?? new Date().toUTCString()
  const all: Record<string, string> = { 'x-oss-date': date, ...headers }
  const names = Object.keys(all).filter(name => name.toLowerCase().startsWith('x-oss-'))
  const signedHeaders = names
    .toSorted((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))
    .map(name => `${name.toLowerCase()}:${all[name]}\n`)
  const find = (name: string) =>
    Object.entries(all).find(([each]) => each.toLowerCase() === name)?.[1] ?? ''
  const text = `${method}\n${find('content-md5')}\n${find('content-type')}\n${date}\n${signedHeaders.join('')}${resource}`
  const { accessKeyId, accessKeySecret } = oss.credentials
  const signature = createHmac('sha1', accessKeySecret).update(text).digest('base64')
  return { ...all, Authorization: `OSS ${accessKeyId}:${signature}` }
}

/**
 * Sends a signed request in path style.
 *
 * @param resource – path with bucket and key, and the query that OSS signs
 * @param query – query that OSS does not sign
 */
export function ask(
  oss: Emulator,
  method: string,
  resource: string,
  {
    headers = {},
    query = '',
    body,
  }: { headers?: Record<string, string>; query?: string; body?: string | Buffer } = {},
): Promise<Answer> {
  const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  return send(oss, {
    method,
    path:
      encodeURI(resource.split('?')[0] ?? '') +
      (resource.includes('?') || query ? '?' : '') +
      [resource.split('?')[1] ?? '', query].filter(Boolean).join('&'),
    headers: { ...signed(oss, { method, resource, headers }), ...length },
    ...(body === undefined ? {} : { body }),
  })
}

/** Returns the text of the first element with this name. */
export const tag = (xml: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]

/** `t.rejects` for errors with the fields of ali-oss, which tap's types do not allow. */
export function rejects(
  t: Test,
  work: Promise<unknown>,
  expected: object = Error,
  message = '',
): Promise<unknown> {
  return t.rejects(work, expected as Error, message)
}
