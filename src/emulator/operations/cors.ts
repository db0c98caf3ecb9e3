/**
 * CORS: answers preflight requests, and adds the headers that let pages read replies, by the rules of the bucket.
 * Requests of pages are accepted only with `allowBrowsers`.
 */
import type { HeaderMap } from '../http/headers.js'
import { OssError } from '../oss-error.js'
import { emptyReply, type Reply } from '../reply.js'
import type { BucketRecord } from '../store/record.js'
import { CORS, configurationOf } from './bucket-configuration.js'
import { requireBucket } from './bucket.js'
import { matchingRule, parseCors, type CorsRequest, type CorsRule } from './cors-rules.js'
import type { OperationContext } from './operation-context.js'

/** Answers a preflight request; throws 403 AccessForbidden if no rule allows the request that it announces. */
export async function optionObject(context: OperationContext): Promise<Reply> {
  const { headers } = context
  const origin = headers.get('origin')
  const method = headers.get('access-control-request-method')
  if (origin === undefined || method === undefined)
    throw new OssError('BadRequest', {
      message: `Insufficient information. ${origin === undefined ? 'Origin' : 'Access-Control-Request-Method'} request header needed.`,
    })
  const rules = await rulesOf(await requireBucket(context))
  const request = { origin, method, headers: listOf(headers.get('access-control-request-headers')) }
  const rule = matchingRule(rules, request)
  if (rule === undefined)
    throw new OssError('AccessForbidden', {
      message: `CORSResponse: ${rules.length === 0 ? 'CORS is not enabled for this bucket.' : 'This CORS request is not allowed.'}`,
    })
  return emptyReply(200, corsHeaders(rule, request))
}

/** Adds the headers that let a page read the reply, if a rule of the bucket allows it. */
export async function withCorsHeaders(
  reply: Reply,
  method: string,
  headers: HeaderMap,
  bucket: () => Promise<BucketRecord | undefined>,
): Promise<Reply> {
  const origin = headers.get('origin')
  if (origin === undefined) return reply
  const request = { origin, method, headers: [] }
  const rule = matchingRule(await rulesOf(await bucket()), request)
  if (rule === undefined) return reply
  return { ...reply, headers: { ...reply.headers, ...corsHeaders(rule, request) } }
}

function corsHeaders(rule: CorsRule, { origin, headers }: CorsRequest): Record<string, string> {
  const { methods, exposedHeaders, maxAgeSeconds } = rule
  return {
    'Access-Control-Allow-Origin': rule.origins.includes('*') ? '*' : origin,
    'Access-Control-Allow-Methods': methods.join(', '),
    ...(headers.length === 0 ? {} : { 'Access-Control-Allow-Headers': headers.join(', ') }),
    ...(exposedHeaders.length === 0
      ? {}
      : { 'Access-Control-Expose-Headers': exposedHeaders.join(', ') }),
    ...(maxAgeSeconds === undefined ? {} : { 'Access-Control-Max-Age': maxAgeSeconds }),
    Vary: 'Origin',
  }
}

async function rulesOf(bucket: BucketRecord | undefined): Promise<readonly CorsRule[]> {
  const document = configurationOf(bucket, CORS)
  if (document === undefined) return []
  return parseCors(document)
}

function listOf(header = ''): string[] {
  const names = header.split(',').map(name => name.trim())
  return names.filter(name => name !== '')
}
