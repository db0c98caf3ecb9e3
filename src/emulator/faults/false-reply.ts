/** Replies that faults make or falsify. Pure, but that an answer's code goes into the log. */
import type { RequestRecord } from '../request-log.js'
import type { Reply } from '../reply.js'
import { xmlDocument } from '../xml.js'
import type { FaultAction } from './fault.js'

type Answer = Extract<FaultAction, { do: 'answer' }>
type Lie = Extract<FaultAction, { do: 'lie' }>

/** The answer that a fault gives in place of the real one. */
export function answerOf(fault: Answer, entry: RequestRecord): Reply {
  const { status, code, message, ec, body, headers } = fault
  if (code !== undefined) entry.code = code
  if (code === undefined)
    return {
      status,
      headers: { 'Content-Type': 'text/html', ...headers },
      ...(body === undefined ? {} : { body }),
    }
  const xml = xmlDocument('Error', {
    Code: code,
    Message: message ?? code,
    RequestId: entry.id,
    HostId: entry.bucket ?? '',
    EC: ec,
  })
  const known = { ...(ec === undefined ? {} : { 'x-oss-ec': ec }), ...headers }
  if (entry.method === 'HEAD')
    return { status, headers: { 'x-oss-err': Buffer.from(xml).toString('base64'), ...known } }
  return { status, headers: { 'Content-Type': 'application/xml', ...known }, body: body ?? xml }
}

/** The reply with something untrue in its headers or text. */
export function lieIn(reply: Reply, { headers = {}, replace = [] }: Lie): Reply {
  const told = new Map(Object.entries(reply.headers))
  for (const [name, value] of Object.entries(headers)) {
    for (const known of told.keys())
      if (known.toLowerCase() === name.toLowerCase()) told.delete(known)
    if (value !== null) told.set(name, value)
  }
  const body =
    typeof reply.body === 'string'
      ? replace.reduce((text, [search, by]) => text.replaceAll(search, by), reply.body)
      : reply.body
  return {
    status: reply.status,
    headers: Object.fromEntries(told),
    ...(body === undefined ? {} : { body }),
  }
}

/** The reply with its body ended early, as if it were complete. @param after bytes, default half */
export function cutReply(reply: Reply, after: number | undefined): Reply {
  const whole = Number(reply.headers['Content-Length'] ?? lengthOf(reply.body))
  const length = Math.min(after ?? Math.floor(whole / 2), whole)
  return { ...reply, headers: { ...reply.headers, 'Content-Length': String(length) } }
}

function lengthOf(body: Reply['body']): number {
  if (typeof body === 'string') return Buffer.byteLength(body)
  return Buffer.isBuffer(body) ? body.length : 0
}
