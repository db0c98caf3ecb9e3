/**
 * Authenticates a request and resolves its address: the first candidate address for which the signature
 * verifies. A request without a signature is anonymous; its rights depend on ACLs.
 */
import { isoTime } from '../iso-time.js'
import type { Address } from '../http/bucket-address.js'
import { OssError, invalidArgument } from '../oss-error.js'
import { canonicalRequestV4, stringToSignV1, type SignableRequest } from './canonical.js'
import { parseAuthorization, type Authorization } from './parse-authorization.js'
import type { CredentialStore } from './credentials.js'
import { sameSignature, signV1, signV4, stringToSignV4 } from './signature.js'

/** Maximum clock skew of a client, in ms. */
const MAX_CLOCK_SKEW_MS = 15 * 60 * 1000

/** Dependencies of the verification. */
export interface VerificationContext {
  readonly credentialStore: CredentialStore
  /** Region that V4 signatures must name, without `oss-`. */
  readonly region: string
}

/** Result of `authenticate`. */
export interface AuthenticationResult {
  readonly address: Address
  readonly signed: boolean
}

/**
 * Verifies the signature of a request, if it has one.
 *
 * @param candidates – possible addresses, the likeliest first
 * @param now – the server's time, in ms since the epoch
 * @throws `OssError` if the signature is invalid, expired or by an unknown key
 */
export function authenticate(
  request: SignableRequest,
  candidates: readonly [Address, ...Address[]],
  { credentialStore, region }: VerificationContext,
  now: number,
): AuthenticationResult {
  const authorization = parseAuthorization(request)
  if (authorization === undefined) return { address: candidates[0], signed: false }

  checkTime(authorization, now)
  const secret = credentialStore.getSecret(authorization.accessKeyId, authorization.token, now)
  if (authorization.scope !== undefined) checkCredentialScope(authorization, region)
  const expected = candidates.map(address => ({
    address,
    ...computeSignature(authorization, secret, request, address),
  }))
  const verified = expected.find(({ signature }) =>
    sameSignature(signature, authorization.signature),
  )
  if (verified === undefined)
    throw signatureMismatch(authorization, expected[0]?.stringToSign ?? '')
  return { address: verified.address, signed: true }
}

function computeSignature(
  authorization: Authorization,
  secret: string,
  request: SignableRequest,
  address: Address,
) {
  if (authorization.scope === undefined) {
    const stringToSign = stringToSignV1(request, address, authorization.date)
    return { stringToSign, signature: signV1(secret, stringToSign) }
  }
  const canonical = canonicalRequestV4(request, address, authorization.additionalHeaders)
  const stringToSign = stringToSignV4(authorization.date, authorization.scope, canonical)
  return { stringToSign, signature: signV4(secret, authorization.scope, stringToSign) }
}

function checkTime({ signedAt, expiresAt }: Authorization, now: number): void {
  if (expiresAt !== undefined) {
    if (expiresAt < now)
      throw new OssError('AccessDenied', {
        message: 'Request has expired.',
        ec: '0002-00000069',
        extra: { Expires: isoTime(expiresAt), ServerTime: isoTime(now) },
      })
    if (signedAt !== undefined && signedAt > now + MAX_CLOCK_SKEW_MS)
      throw new OssError('AccessDenied', {
        message: 'Request is not valid yet.',
        ec: '0002-00000235',
      })
  } else if (signedAt !== undefined && Math.abs(now - signedAt) > MAX_CLOCK_SKEW_MS) {
    throw new OssError('RequestTimeTooSkewed', {
      extra: {
        MaxAllowedSkewMilliseconds: String(MAX_CLOCK_SKEW_MS),
        RequestTime: isoTime(signedAt),
        ServerTime: isoTime(now),
      },
    })
  }
}

function checkCredentialScope({ scope, date }: Authorization, region: string): void {
  if (scope?.region !== region)
    throw invalidArgument(
      'Credential',
      scope?.region ?? '',
      'Invalid signing region in Authorization header.',
      '0002-00000226',
    )
  if (scope.product !== 'oss' || !date.startsWith(scope.date))
    throw invalidArgument('Credential', scope.product, 'Authorization header is invalid.')
}

function signatureMismatch(authorization: Authorization, stringToSign: string): OssError {
  const bytes = Buffer.from(stringToSign, 'latin1')
  return new OssError('SignatureDoesNotMatch', {
    extra: {
      OSSAccessKeyId: authorization.accessKeyId,
      SignatureProvided: authorization.signature,
      StringToSign: bytes.toString(),
      StringToSignBytes: (bytes.toString('hex').toUpperCase().match(/../g) ?? []).join(' '),
    },
  })
}
