/** Replies created or altered by faults. Pure, except that `createFaultReply` logs its code. */
import type { RequestRecord } from '../request-log.js'
import type { Reply } from '../reply.js'
import { xmlDocument } from '../xml.js'
import type { FaultAction } from './fault.js'

type AnswerAction = Extract<FaultAction, { do: 'answer' }>
type AlterAction = Extract<FaultAction, { do: 'alter' }>

/** Returns the reply of an `answer` fault. */
export function createFaultReply(fault: AnswerAction, logEntry: RequestRecord): Reply {
  return alterReply(plainFaultReply(fault, logEntry), { do: 'alter', headers: fault.headers ?? {} })
}

function plainFaultReply(fault: AnswerAction, logEntry: RequestRecord): Reply {
  const { status, code, message, ec, body } = fault
  if (code !== undefined) logEntry.code = code
  if (code === undefined)
    return {
      status,
      headers: { 'Content-Type': 'text/html' },
      ...(body === undefined ? {} : { body }),
    }
  const xml = xmlDocument('Error', {
    Code: code,
    Message: message ?? code,
    RequestId: logEntry.id,
    HostId: logEntry.bucket ?? '',
    EC: ec,
  })
  const extraHeaders = ec === undefined ? {} : { 'x-oss-ec': ec }
  if (logEntry.method === 'HEAD')
    return {
      status,
      headers: { 'x-oss-err': Buffer.from(xml).toString('base64'), ...extraHeaders },
    }
  return {
    status,
    headers: { 'Content-Type': 'application/xml', ...extraHeaders },
    body: body ?? xml,
  }
}

/** Headers that are added to a reply later, unless it has them under exactly these names. */
const LATER_HEADERS = [
  'Server',
  'Date',
  'Connection',
  'Content-Length',
  'x-oss-request-id',
  'x-oss-server-time',
]

/** Returns the name under which a header is sent. */
function sentName(name: string): string {
  return LATER_HEADERS.find(each => each.toLowerCase() === name.toLowerCase()) ?? name
}

/** Returns the reply with altered headers or text. */
export function alterReply(reply: Reply, { headers = {}, replace = [] }: AlterAction): Reply {
  const alteredHeaders = new Map(Object.entries(reply.headers))
  const omitted = Object.keys(headers).filter(name => headers[name] === null)
  for (const [name, value] of Object.entries(headers)) {
    for (const existingName of alteredHeaders.keys())
      if (existingName.toLowerCase() === name.toLowerCase()) alteredHeaders.delete(existingName)
    if (value !== null) alteredHeaders.set(sentName(name), value)
  }
  const body =
    typeof reply.body === 'string'
      ? replace.reduce(
          (text, [search, replacement]) => text.replaceAll(search, replacement),
          reply.body,
        )
      : reply.body
  return {
    status: reply.status,
    headers: Object.fromEntries(alteredHeaders),
    omitted: omitted.map(name => name.toLowerCase()),
    ...(body === undefined ? {} : { body }),
  }
}

/**
 * Returns the reply with a shorter body that looks complete.
 *
 * @param after – length in bytes, default half
 */
export function truncateReply(reply: Reply, after: number | undefined): Reply {
  const fullLength = Number(reply.headers['Content-Length'] ?? bodyLength(reply.body))
  const length = Math.min(after ?? Math.floor(fullLength / 2), fullLength)
  return { ...reply, headers: { ...reply.headers, 'Content-Length': String(length) } }
}

function bodyLength(body: Reply['body']): number {
  if (typeof body === 'string') return Buffer.byteLength(body)
  return Buffer.isBuffer(body) ? body.length : 0
}
