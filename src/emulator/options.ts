/** What `startEmulator` takes: every option, its default, and what happens at its extremes. */
import type { AccessKey } from './auth/credentials.js'
import type { Fault } from './faults/fault.js'
import type { LinkOptions } from './network.js'
import type { EmulatorSettings } from './settings.js'

/** Options of `startEmulator`. All may be left out. */
export interface EmulatorOptions {
  /** Data directory, made if need be. Default: a new one in the system's temp directory, removed on close. */
  readonly dir?: string
  /** TCP port. Default 0: a free one. */
  readonly port?: number
  /** Address to listen on. Default `127.0.0.1`; anything else opens a test server to others. */
  readonly host?: string
  /** Region id; V4 signatures must name it. Default `oss-cn-hangzhou`. */
  readonly region?: string
  /** Who may sign, one pair or several. Default: one fixed pair, the same everywhere. */
  readonly credentials?: AccessKey | readonly [AccessKey, ...AccessKey[]]
  /** Buckets that are made at start unless they exist. */
  readonly buckets?: readonly string[]
  /** Any bucket that a signed request names is made. Default false. */
  readonly createBuckets?: boolean
  /** Faults in force from the start. */
  readonly faults?: readonly Fault[]
  /** Speed of the line. Default: no limit. */
  readonly link?: LinkOptions
  /**
   * `'crc64'`: no MD5, so ETags are random and Content-MD5 is not checked. False: CRC64 is left out,
   * too. For benchmarks. Default true.
   */
  readonly verify?: boolean | 'crc64'
  /** True: bodies are hashed and thrown away; objects read as zeros. For benchmarks. Default false. */
  readonly discard?: boolean
  /** PEM key and certificate: serves HTTPS. */
  readonly tls?: {
    /** Private key. */
    readonly key: string | Buffer
    /** Certificate, with those between it and its root. */
    readonly cert: string | Buffer
  }
  /** Opens the admin port on 127.0.0.1: true for a free one, or a port. Default false. */
  readonly admin?: boolean | number
  /** Host names that stand for a bucket, as a CNAME does: `{ 'static.example.com': 'assets' }`. */
  readonly cnames?: Readonly<Record<string, string>>
  /** ms without a byte of a request's body until 400 RequestTimeout. Default 60,000. */
  readonly idleTimeout?: number
  /** How many entries `requests` keeps, the newest. Default 100,000. */
  readonly maxRequests?: number
}

/** The pair that is used where none is given. Not a secret: anyone who can reach the port may use it. */
export const DEFAULT_KEY: AccessKey = {
  accessKeyId: 'LTAI5tOssSpoolEmulator00',
  accessKeySecret: 'oss-spool-emulator-secret-0000',
}

/** The options with their defaults. Wrong values: `TypeError` or `RangeError`. */
export function resolveSettings(options: EmulatorOptions): EmulatorSettings {
  const { credentials = DEFAULT_KEY } = options
  return {
    region: options.region ?? 'oss-cn-hangzhou',
    accessKeys: isAccessKeyList(credentials) ? credentials : [credentials],
    createBuckets: options.createBuckets ?? false,
    verify: options.verify ?? true,
    discard: options.discard ?? false,
    idleTimeout: checkPositiveInteger('idleTimeout', options.idleTimeout ?? 60_000),
    cnames: options.cnames ?? {},
    maxRequests: checkPositiveInteger('maxRequests', options.maxRequests ?? 100_000),
  }
}

// Array.isArray() does not narrow readonly arrays
function isAccessKeyList<T, L extends readonly T[]>(value: T | L): value is L {
  return Array.isArray(value)
}

function checkPositiveInteger(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`Expected \`${name}\` to be an integer from 1 up, got \`${value}\``)
  return value
}
