/** The HTTP request of a callback. `fetch()` could not send the Host that the client asked for. */
import { request as requestHttp, type IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'

const MAX_RESPONSE_BYTES = 1024 * 1024
const TIMEOUT_MS = 5000

/** Response of the user's server. Its body is read only if the status is 200. */
export interface CallbackResponse {
  readonly status: number
  readonly body: Buffer
}

/** Sends the body. Does not follow redirects, which could lead to another machine. */
export async function postCallback(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<CallbackResponse> {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const post = url.protocol === 'https:' ? requestHttps : requestHttp
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { method: 'POST', headers, signal, agent: false }
    post(url, options).on('response', resolve).on('error', reject).end(body)
  })
  const { statusCode: status = 0 } = response
  if (status === 200) return { status, body: await readLimited(response) }
  response.destroy()
  return { status, body: Buffer.alloc(0) }
}

/** Reads a response. Throws as soon as it exceeds the limit, which also closes its connection. */
async function readLimited(response: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += chunk.length
    if (size > MAX_RESPONSE_BYTES) throw new Error('the response is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
