/**
 * One request from its first header to the last byte of its answer. The order is fixed: the way
 * here (link), what it means and who sent it, the faults that meet it, whether it may, the work,
 * what is left of its body, the answer. Nothing escapes: a failure of ours is 500 InternalError.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Emulation } from './emulation.js'
import { Cut, Instead, Strikes } from './faults/strikes.js'
import { headerMap } from './http/headers.js'
import { ClientGone, IncomingBody } from './incoming-body.js'
import type { Lane } from './link.js'
import { OssError } from './oss-error.js'
import { perform, type Exchange } from './perform.js'
import { errorReply, type Reply } from './reply.js'
import { logRequest, type RequestRecord } from './request-log.js'
import { sendReply } from './send.js'

/** Bodies of refused requests are read up to here; beyond it the connection is closed instead. */
const MAX_DRAIN = 256 * 1024 * 1024

/** How long a connection that is to be closed may still take in what the client sends, in ms. */
const LINGER = 1000

/** What came in, and the way back. */
export interface Incoming {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly lane: Lane
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean
}

/** Serves one request. Never rejects. */
export async function serve(emulation: Emulation, incoming: Incoming): Promise<void> {
  const { request, response, lane } = incoming
  const exchange = open(emulation, incoming)
  const { entry, strikes } = exchange
  try {
    await emulation.line.travel()
    const { reply, last } = await answer(exchange)
    entry.status = reply.status
    const now = Date.now() + strikes.skew
    await sendReply(reply, { response, entry, strikes, lane, now, last })
    if (last) linger(request)
  } catch (error) {
    // what is left is a connection to end: the client is gone, a fault cut it, or we failed
    if (error instanceof Cut) error.end(request.socket)
    else if (!(error instanceof ClientGone) && !request.socket.destroyed) emulation.report(error)
    response.destroy()
    request.socket.destroy()
  }
}

function open(emulation: Emulation, incoming: Incoming): Exchange {
  const { request, response, lane, expectsContinue } = incoming
  const headers = headerMap(request.rawHeaders)
  const entry: RequestRecord = {
    id: randomBytes(12).toString('hex').toUpperCase(),
    time: Date.now(),
    method: request.method ?? '',
    operation: 'Unknown',
    bytes: 0,
    sent: 0,
  }
  logRequest(emulation.requests, entry, emulation.settings.logLimit)
  const strikes = new Strikes(emulation, { entry, token: headers.get('x-oss-security-token') })
  const body = new IncomingBody(request, {
    idleTimeout: emulation.settings.idleTimeout,
    begin: () => {
      if (expectsContinue) response.writeContinue()
    },
    took: bytes => {
      entry.bytes += bytes
      return lane.pace('up', bytes, strikes.bandwidth)
    },
    mark: length => strikes.mark('body', length),
    half: () => strikes.at('body'),
    end: () => strikes.at('received'),
  })
  return { emulation, url: request.url ?? '/', headers, body, entry, strikes }
}

/** The answer, once everything is done that it says is done. */
async function answer(exchange: Exchange): Promise<{ reply: Reply; last: boolean }> {
  const { strikes, body } = exchange
  let last = false
  const real = await orRefusal(exchange, () => perform(exchange))
  const reply = await orRefusal(exchange, async () => {
    last = !(await body.drain(MAX_DRAIN))
    await strikes.at('done')
    return strikes.change(real)
  })
  return { reply, last }
}

/** An answer in place of what was thrown, where there is one. */
async function orRefusal(exchange: Exchange, work: () => Promise<Reply>): Promise<Reply> {
  const { emulation, entry, headers } = exchange
  try {
    return await work()
  } catch (error) {
    if (error instanceof Instead) return error.reply
    if (error instanceof Cut || error instanceof ClientGone) throw error
    if (!(error instanceof OssError)) emulation.report(error)
    const refusal = error instanceof OssError ? error : new OssError('InternalError')
    entry.code = refusal.code
    const host = headers.get('host') ?? ''
    return errorReply(refusal, { method: entry.method, id: entry.id, host })
  }
}

/** Lets the client read the answer before the connection goes: a reset would throw it away. */
function linger({ socket }: IncomingMessage): void {
  socket.resume()
  setTimeout(() => socket.destroy(), LINGER).unref()
}
