/** From a request to its operation's answer: what it means, whether it may, the work. */
import { checkAnonymous } from './auth/access.js'
import { authenticate } from './auth/authenticate.js'
import type { Emulation } from './emulation.js'
import type { Strikes } from './faults/strikes.js'
import { addresses, type Address } from './http/address.js'
import type { HeaderMap } from './http/headers.js'
import { parseTarget, type Target } from './http/target.js'
import type { IncomingBody } from './incoming-body.js'
import { invalidBucketName, newBucket, noSuchBucket } from './operations/bucket.js'
import type { Call } from './operations/call.js'
import type { Operation } from './operations/operation.js'
import { operationOf } from './operations/table.js'
import { OssError } from './oss-error.js'
import type { Reply } from './reply.js'
import type { RequestRecord } from './request-log.js'
import { isBucketName } from './store/buckets.js'

/** The longest key, in bytes of UTF-8. */
const MAX_KEY = 1023

/** A request under way. */
export interface Exchange {
  readonly emulation: Emulation
  /** The request target as it came. */
  readonly url: string
  readonly headers: HeaderMap
  readonly body: IncomingBody
  readonly entry: RequestRecord
  readonly strikes: Strikes
}

/** Rejects with what is to be answered instead. */
export async function perform(exchange: Exchange): Promise<Reply> {
  const { emulation, headers, body, entry, strikes } = exchange
  const target = parseTarget(exchange.url)
  const host = target.host ?? headers.get('host') ?? ''
  const candidates = addresses(host, target.path, emulation.settings)

  const first = signer(exchange, target, candidates, Date.now())
  const operation = note(exchange, target, first.address)
  strikes.meet()
  const now = Date.now() + strikes.skew
  const { address, signed, refusal } = signer(exchange, target, candidates, now)
  await strikes.at('start')
  if (refusal !== undefined) throw refusal

  checkNames(address)
  const call: Call = {
    method: entry.method,
    headers,
    query: target.query,
    bucket: address.bucket ?? '',
    key: address.key ?? '',
    signed,
    host,
    now,
    body,
    store: emulation.store,
    settings: emulation.settings,
    mayRead: (bucket, key) => allow(exchange, 'read', { bucket, key }, signed),
  }
  await allow(exchange, operation.access, address, signed)
  if (body.empty) await body.pass()
  return operation.run(call)
}

/** Who sent it and what it is about, or why that is refused. */
function signer(
  { emulation, headers, entry }: Exchange,
  { query }: Target,
  candidates: readonly [Address, ...Address[]],
  now: number,
): { address: Address; signed: boolean; refusal?: OssError } {
  const { credentials, settings } = emulation
  const region = settings.region.replace(/^oss-/, '')
  try {
    const request = { method: entry.method, headers, query }
    return authenticate(request, candidates, { credentials, region }, now)
  } catch (error) {
    if (!(error instanceof OssError)) throw error
    return { address: candidates[0], signed: true, refusal: error }
  }
}

/** Writes into the log what the request is, for faults to match on. */
function note({ entry, headers }: Exchange, { query }: Target, address: Address): Operation {
  const operation = operationOf(entry.method, address, query, headers)
  entry.operation = operation.name
  if (address.bucket !== undefined) entry.bucket = address.bucket
  if (address.key !== undefined) entry.key = address.key
  const partNumber = Number(query.get('partNumber') ?? Number.NaN)
  if (!Number.isNaN(partNumber)) entry.partNumber = partNumber
  const uploadId = query.get('uploadId')
  if (uploadId !== undefined) entry.uploadId = uploadId
  return operation
}

function checkNames({ bucket, key }: Address): void {
  if (bucket !== undefined && !isBucketName(bucket)) throw invalidBucketName(bucket)
  if (key === undefined) return
  if (Buffer.byteLength(key) > MAX_KEY)
    throw new OssError('InvalidObjectName', {
      message: 'The Length of Object name must be less than 1024.',
      extra: { ObjectName: key },
    })
  if (/^[/\\]/.test(key)) throw new OssError('InvalidObjectName', { extra: { ObjectName: key } })
}

/** Whether the bucket is there (made on demand, if that is on) and the client may do this. */
async function allow(
  { emulation }: Exchange,
  access: Operation['access'],
  { bucket: name, key }: Address,
  signed: boolean,
): Promise<void> {
  const { store, settings } = emulation
  if (access === 'make' || name === undefined) {
    if (!signed) throw new OssError('AccessDenied', { message: ANONYMOUS, ec: '0003-00000001' })
    return
  }
  if (settings.createBuckets && signed) await store.buckets.ensure(newBucket(name, Date.now()))
  const bucket = await store.buckets.get(name)
  if (bucket === undefined) throw noSuchBucket(name)
  if (signed) return
  const object = key === undefined ? undefined : await store.objects.get(name, key)
  checkAnonymous(access, bucket, object)
}

const ANONYMOUS = 'Anonymous access is forbidden for this operation.'
