/**
 * Decides who sent a request and what it is about: the first reading of its address whose
 * signature verifies. Without a signature it is anonymous, and rights are a matter of ACLs.
 */
import type { Address } from '../http/address.js'
import { OssError, invalidArgument } from '../oss-error.js'
import { canonicalRequestV4, stringToSignV1, type Signable } from './canonical.js'
import { readClaim, type Claim } from './claim.js'
import type { Credentials } from './credentials.js'
import { sameSignature, signV1, signV4, stringToSignV4 } from './signature.js'

/** How far a client's clock may be off, in ms. */
const MAX_SKEW = 15 * 60 * 1000

/** What verification needs to know of its surroundings. */
export interface Verifier {
  readonly credentials: Credentials
  /** The region that V4 signatures must name, without `oss-`. */
  readonly region: string
}

/** The outcome. */
export interface Authenticated {
  readonly address: Address
  readonly signed: boolean
}

/**
 * @param candidates readings of the address, the likeliest first
 * @param now the server's time, ms since the epoch
 */
export function authenticate(
  request: Signable,
  candidates: readonly [Address, ...Address[]],
  { credentials, region }: Verifier,
  now: number,
): Authenticated {
  const claim = readClaim(request)
  if (claim === undefined) return { address: candidates[0], signed: false }

  checkTime(claim, now)
  const secret = credentials.secretOf(claim.accessKeyId, claim.token, now)
  if (claim.scope !== undefined) checkScope(claim, region)
  const expected = candidates.map(address => ({
    address,
    ...signatureOf(claim, secret, request, address),
  }))
  const verified = expected.find(({ signature }) => sameSignature(signature, claim.signature))
  if (verified === undefined) throw mismatch(claim, expected[0]?.stringToSign ?? '')
  return { address: verified.address, signed: true }
}

function signatureOf(claim: Claim, secret: string, request: Signable, address: Address) {
  if (claim.scope === undefined) {
    const stringToSign = stringToSignV1(request, address, claim.date)
    return { stringToSign, signature: signV1(secret, stringToSign) }
  }
  const canonical = canonicalRequestV4(request, address, claim.additional)
  const stringToSign = stringToSignV4(claim.date, claim.scope, canonical)
  return { stringToSign, signature: signV4(secret, claim.scope, stringToSign) }
}

const iso = (ms: number): string => new Date(ms).toISOString()

function checkTime({ time, expires }: Claim, now: number): void {
  if (expires !== undefined) {
    if (expires < now)
      throw new OssError('AccessDenied', {
        message: 'Request has expired.',
        ec: '0002-00000069',
        extra: { Expires: iso(expires), ServerTime: iso(now) },
      })
    if (time !== undefined && time > now + MAX_SKEW)
      throw new OssError('AccessDenied', {
        message: 'Request is not valid yet.',
        ec: '0002-00000235',
      })
  } else if (time !== undefined && Math.abs(now - time) > MAX_SKEW) {
    throw new OssError('RequestTimeTooSkewed', {
      extra: {
        MaxAllowedSkewMilliseconds: String(MAX_SKEW),
        RequestTime: iso(time),
        ServerTime: iso(now),
      },
    })
  }
}

function checkScope({ scope, date }: Claim, region: string): void {
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

function mismatch(claim: Claim, stringToSign: string): OssError {
  const bytes = Buffer.from(stringToSign, 'latin1')
  return new OssError('SignatureDoesNotMatch', {
    extra: {
      OSSAccessKeyId: claim.accessKeyId,
      SignatureProvided: claim.signature,
      StringToSign: bytes.toString(),
      StringToSignBytes: (bytes.toString('hex').toUpperCase().match(/../g) ?? []).join(' '),
    },
  })
}
