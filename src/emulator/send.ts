/**
 * Sends a reply: the headers common to all OSS replies, then exactly Content-Length bytes of the body,
 * paced by the link.
 */
import type { ServerResponse } from 'node:http'
import type { ActiveFaults } from './faults/active-faults.js'
import { ClientDisconnectedError } from './request-body.js'
import type { ConnectionPacer } from './simulated-network.js'
import type { Reply } from './reply.js'
import type { RequestRecord } from './request-log.js'

/** Options of `sendReply`. */
export interface SendOptions {
  readonly response: ServerResponse
  readonly logEntry: RequestRecord
  readonly activeFaults: ActiveFaults
  readonly pacer: ConnectionPacer
  /** The server's time, ms since the epoch. */
  readonly now: number
  /** Whether to close the connection because the request was not read to its end. */
  readonly closeConnection: boolean
}

/** Resolves when the reply has been passed to the kernel. */
export async function sendReply(reply: Reply, options: SendOptions): Promise<void> {
  const { response, logEntry, activeFaults, now, closeConnection } = options
  const body = typeof reply.body === 'string' ? Buffer.from(reply.body) : reply.body
  const contentLength = reply.headers['Content-Length']
  const isBodyless = reply.status === 204 || reply.status === 304
  const length = contentLength ?? String(Buffer.isBuffer(body) ? body.length : 0)
  const headers = {
    Server: 'AliyunOSS',
    Date: new Date(now).toUTCString(),
    Connection: closeConnection || !response.shouldKeepAlive ? 'close' : 'keep-alive',
    'x-oss-request-id': logEntry.id,
    'x-oss-server-time': String(Math.max(Date.now() - logEntry.time, 0)),
    ...reply.headers,
    ...(isBodyless && contentLength === undefined ? {} : { 'Content-Length': length }),
  }
  const sent = Object.entries(headers).filter(
    ([name]) => reply.omitted?.includes(name.toLowerCase()) !== true,
  )
  response.sendDate = false // it is among the headers, or left out
  response.writeHead(reply.status, Object.fromEntries(sent))
  if (logEntry.method !== 'HEAD' && body !== undefined)
    await sendBody(Buffer.isBuffer(body) ? [body] : body, Number(length), options)
  else if (body !== undefined && !Buffer.isBuffer(body)) body.destroy()
  else await activeFaults.fireWithin('reply', 0, 0)
  response.end()
}

async function sendBody(
  body: AsyncIterable<Buffer> | Iterable<Buffer>,
  length: number,
  options: SendOptions,
): Promise<void> {
  const { logEntry, activeFaults } = options
  for await (const chunk of body) {
    let rest = chunk.subarray(0, length - logEntry.sent)
    for (;;) {
      const bytesBeforeFault = activeFaults.nextOffset('reply', length) - logEntry.sent
      if (bytesBeforeFault > rest.length) break
      await writeChunk(rest.subarray(0, bytesBeforeFault), options)
      await activeFaults.fireWithin('reply', logEntry.sent, length)
      rest = rest.subarray(bytesBeforeFault)
    }
    await writeChunk(rest, options)
    if (logEntry.sent >= length) break
  }
  await activeFaults.fireWithin('reply', length, length) // of a stream without bytes
}

async function writeChunk(chunk: Buffer, options: SendOptions): Promise<void> {
  if (chunk.length === 0) return
  const { response, logEntry, activeFaults, pacer } = options
  await pacer.pace('down', chunk.length, activeFaults.bandwidth)
  if (response.destroyed) throw new ClientDisconnectedError()
  if (!response.write(chunk)) await waitForDrain(response)
  logEntry.sent += chunk.length
}

function waitForDrain(response: ServerResponse): Promise<void> {
  return new Promise((resolve, reject) => {
    const onDrain = () => {
      response.off('close', onClose)
      resolve()
    }
    const onClose = () => {
      response.off('drain', onDrain)
      reject(new ClientDisconnectedError())
    }
    response.once('drain', onDrain).once('close', onClose)
  })
}
