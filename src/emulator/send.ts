/**
 * A reply onto the wire: the headers every answer of OSS has, then the body at the speed of the
 * link, exactly as many bytes as its Content-Length says.
 */
import type { ServerResponse } from 'node:http'
import type { Strikes } from './faults/strikes.js'
import { ClientGone } from './incoming-body.js'
import type { Lane } from './link.js'
import type { Reply } from './reply.js'
import type { RequestRecord } from './request-log.js'

/** How and where to send. */
export interface Sending {
  readonly response: ServerResponse
  readonly entry: RequestRecord
  readonly strikes: Strikes
  readonly lane: Lane
  /** The server's time, ms since the epoch. */
  readonly now: number
  /** The request was not read to its end: no other may follow it on this connection. */
  readonly last: boolean
}

/** Resolves when the reply was handed to the kernel. */
export async function sendReply(reply: Reply, sending: Sending): Promise<void> {
  const { response, entry, strikes, now, last } = sending
  const text = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body
  const announced = reply.headers['Content-Length']
  const empty = reply.status === 204 || reply.status === 304
  const length = announced ?? String(Buffer.isBuffer(text) ? text.length : 0)
  response.writeHead(reply.status, {
    Server: 'AliyunOSS',
    Date: new Date(now).toUTCString(),
    Connection: last || !response.shouldKeepAlive ? 'close' : 'keep-alive',
    'x-oss-request-id': entry.id,
    'x-oss-server-time': String(Math.max(Date.now() - entry.time, 0)),
    ...reply.headers,
    ...(empty && announced === undefined ? {} : { 'Content-Length': length }),
  })
  if (entry.method !== 'HEAD' && text !== undefined)
    await sendBody(Buffer.isBuffer(text) ? [text] : text, Number(length), sending)
  else if (text !== undefined && !Buffer.isBuffer(text)) text.destroy()
  else await strikes.at('reply')
  response.end()
}

async function sendBody(
  body: AsyncIterable<Buffer> | Iterable<Buffer>,
  length: number,
  sending: Sending,
): Promise<void> {
  const { entry, strikes } = sending
  const mark = strikes.mark('reply', length)
  let struck = false
  for await (const chunk of body) {
    let rest = chunk.subarray(0, length - entry.sent)
    if (!struck && entry.sent + rest.length >= mark) {
      const first = mark - entry.sent
      await write(rest.subarray(0, first), sending)
      struck = true
      await strikes.at('reply')
      rest = rest.subarray(first)
    }
    await write(rest, sending)
    if (entry.sent >= length) break
  }
}

async function write(chunk: Buffer, sending: Sending): Promise<void> {
  if (chunk.length === 0) return
  const { response, entry, strikes, lane } = sending
  await lane.pace('down', chunk.length, strikes.bandwidth)
  if (response.destroyed) throw new ClientGone()
  if (!response.write(chunk)) await drained(response)
  entry.sent += chunk.length
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const onDrain = () => {
      response.off('close', onClose)
      resolve()
    }
    const onClose = () => {
      response.off('drain', onDrain)
      reject(new ClientGone())
    }
    response.once('drain', onDrain).once('close', onClose)
  })
}
