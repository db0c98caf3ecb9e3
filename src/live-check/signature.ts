/**
 * Signs requests by the rules with which the emulator verifies them, so that the service checks these rules, too. Pure.
 */
import { canonicalRequestV4 } from '../emulator/auth/canonical.js'
import { signV4, stringToSignV4 } from '../emulator/auth/signature.js'
import type { Credentials } from '../oss/credentials.js'

/** Identity and time of a signature. */
export interface Signer extends Credentials {
  /** Region without `oss-`. */
  readonly region: string
  /** In ms since 1970. */
  readonly time: number
}

export interface UnsignedRequest {
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
}

/** Returns the headers of the signed request. */
export function signHeaders(request: UnsignedRequest, signer: Signer): Record<string, string> {
  const { accessKeyId, stsToken } = signer
  const headers = {
    ...request.headers,
    'x-oss-date': timestamp(signer.time),
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
    ...(stsToken === undefined ? {} : { 'x-oss-security-token': stsToken }),
  }
  const { scope, signature } = sign({ ...request, headers }, signer)
  const authorization = `OSS4-HMAC-SHA256 Credential=${accessKeyId}/${scope},Signature=${signature}`
  return { ...headers, authorization }
}

/** Returns the query of a presigned URL that is valid for `seconds`. */
export function signQuery(
  request: UnsignedRequest,
  signer: Signer,
  seconds: number,
): Record<string, string> {
  const { accessKeyId, stsToken, time } = signer
  const query = {
    ...request.query,
    'x-oss-signature-version': 'OSS4-HMAC-SHA256',
    'x-oss-credential': `${accessKeyId}/${scopeOf(signer).text}`,
    'x-oss-date': timestamp(time),
    'x-oss-expires': String(seconds),
    ...(stsToken === undefined ? {} : { 'x-oss-security-token': stsToken }),
  }
  return { ...query, 'x-oss-signature': sign({ ...request, query }, signer).signature }
}

function sign(request: UnsignedRequest, signer: Signer): { scope: string; signature: string } {
  const { method, bucket, key, query, headers } = request
  const canonical = canonicalRequestV4(
    { method, headers: new Map(Object.entries(headers)), query: new Map(Object.entries(query)) },
    { bucket, key },
    [],
  )
  const { scope, text } = scopeOf(signer)
  const stringToSign = stringToSignV4(timestamp(signer.time), scope, canonical)
  return { scope: text, signature: signV4(signer.accessKeySecret, scope, stringToSign) }
}

function scopeOf({ region, time }: Signer) {
  const scope = { date: timestamp(time).slice(0, 8), region, product: 'oss' }
  return { scope, text: `${scope.date}/${region}/oss/aliyun_v4_request` }
}

/** Returns a time as YYYYMMDDTHHMMSSZ. */
function timestamp(time: number): string {
  return new Date(time).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}
