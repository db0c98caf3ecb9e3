/**
 * One request that failed, cleaned: `ali-oss` and `urllib` errors carry signed URLs, headers, access
 * key ids and strings to sign, so none of them leaves this folder. An `OssFailure` keeps what a
 * person or a retry policy needs; `failure-kinds.ts` says what it means.
 */
import { kindByTable, type FailureKind } from './failure-kinds.js'

export type { FailureKind }

export interface FailureDetails {
  /** Error name as Node, our transport or OSS gave it: `ECONNREFUSED`, `NoSuchBucket`, ... */
  readonly name: string
  readonly message: string
  /** HTTP status; absent when no reply came. */
  readonly status?: number | undefined
  readonly ossCode?: string | undefined
  readonly ec?: string | undefined
  readonly requestId?: string | undefined
  /** Operation in OSS's words, such as `UploadPart`. */
  readonly operation: string
  /** What caused it is gone: new credentials, or the server's clock. */
  readonly mended?: boolean | undefined
  /** The reply ended before it was whole. */
  readonly cut?: boolean | undefined
}

export class OssFailure extends Error {
  declare readonly status?: number
  declare readonly ossCode?: string
  declare readonly ec?: string
  declare readonly requestId?: string
  readonly operation: string
  readonly mended: boolean
  readonly cut: boolean

  constructor(details: FailureDetails) {
    super(details.message)
    this.name = details.name
    this.operation = details.operation
    this.mended = details.mended ?? false
    this.cut = details.cut ?? false
    if (details.status !== undefined) this.status = details.status
    if (details.ossCode !== undefined) this.ossCode = details.ossCode
    if (details.ec !== undefined) this.ec = details.ec
    if (details.requestId !== undefined) this.requestId = details.requestId
  }

  /** One line for people: `UploadPart: 503 ServiceUnavailable (request 5C06...): ...`. */
  describe(): string {
    const what = [this.status, this.ossCode ?? this.name].filter(x => x !== undefined).join(' ')
    const request = this.requestId === undefined ? '' : ` (request ${this.requestId})`
    return `${this.operation}: ${what}${request}: ${this.message}`
  }
}

/** What a failure means, and so what is done about it. */
export function kindOf(failure: OssFailure): FailureKind {
  return failure.mended ? 'mended' : kindByTable(failure)
}

/** The request never reached a server. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ConnectTimeout',
  'ProxyDenied',
  'ProxyFailure',
])

/** True when OSS may have carried the request out although we were not told so. */
export function isAmbiguous(failure: OssFailure): boolean {
  const { status, name } = failure
  if (NEVER_SENT.has(name)) return false
  return status === undefined || status < 400 || status === 408 || status >= 500
}
