/** OSS signatures V1 and V4. Pure. The strings, from canonical.ts, hold one character per byte. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/** Scope of a V4 signature: `<date>/<region>/<product>/aliyun_v4_request`. */
export interface CredentialScope {
  /** Date as YYYYMMDD. */
  readonly date: string
  /** Region without `oss-`, e.g. `cn-hangzhou`. */
  readonly region: string
  /** Always `oss`. */
  readonly product: string
}

/** Returns the V1 signature, the base64 of an HMAC-SHA1. */
export function signV1(secret: string, stringToSign: string): string {
  return createHmac('sha1', secret).update(stringToSign, 'latin1').digest('base64')
}

/**
 * Returns the V4 string to sign.
 *
 * @param time – the time in the request, as YYYYMMDDTHHMMSSZ
 */
export function stringToSignV4(
  time: string,
  scope: CredentialScope,
  canonicalRequest: string,
): string {
  const hash = createHash('sha256').update(canonicalRequest, 'latin1').digest('hex')
  const { date, region, product } = scope
  return `OSS4-HMAC-SHA256\n${time}\n${date}/${region}/${product}/aliyun_v4_request\n${hash}`
}

/** Returns the V4 signature, the lower-case hex of a chain of HMAC-SHA256. */
export function signV4(secret: string, scope: CredentialScope, stringToSign: string): string {
  const chain = [scope.date, scope.region, scope.product, 'aliyun_v4_request']
  const key = chain.reduce<string | Buffer>(
    (previous, link) => createHmac('sha256', previous).update(link).digest(),
    `aliyun_v4${secret}`,
  )
  return createHmac('sha256', key).update(stringToSign, 'latin1').digest('hex')
}

/** Compares signatures in constant time. */
export function sameSignature(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(hash(a), hash(b))
}
