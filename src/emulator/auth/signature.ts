/** The two signatures of OSS. Pure; the strings come from canonical.ts, one character per byte. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** What a V4 signature is bound to beside the request: `<date>/<region>/<product>/aliyun_v4_request`. */
export interface CredentialScope {
  /** YYYYMMDD. */
  readonly date: string
  /** Without `oss-`, e.g. `cn-hangzhou`. */
  readonly region: string
  /** `oss`. */
  readonly product: string
}

/** V1: base64 of HMAC-SHA1. */
export function signV1(secret: string, stringToSign: string): string {
  return createHmac('sha1', secret).update(stringToSign, 'latin1').digest('base64')
}

/** V4: the string to sign, from the time in the request (YYYYMMDDTHHMMSSZ). */
export function stringToSignV4(
  time: string,
  scope: CredentialScope,
  canonicalRequest: string,
): string {
  const hash = createHash('sha256').update(canonicalRequest, 'latin1').digest('hex')
  const { date, region, product } = scope
  return `OSS4-HMAC-SHA256\n${time}\n${date}/${region}/${product}/aliyun_v4_request\n${hash}`
}

/** V4: lower-case hex of a chain of HMAC-SHA256. */
export function signV4(secret: string, scope: CredentialScope, stringToSign: string): string {
  const chain = [scope.date, scope.region, scope.product, 'aliyun_v4_request']
  const key = chain.reduce<string | Buffer>(
    (previous, link) => createHmac('sha256', previous).update(link).digest(),
    `aliyun_v4${secret}`,
  )
  return createHmac('sha256', key).update(stringToSign, 'latin1').digest('hex')
}

/** Compares without telling by its time where the difference is. */
export function sameSignature(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}
