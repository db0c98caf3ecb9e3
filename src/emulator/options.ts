/** Options of `startEmulator`, with their defaults and checks. */
import { randomBytes } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { types } from 'node:util'
import type { AccessKey } from './auth/credentials.js'
import type { Fault } from './faults/fault.js'
import {
  isBoolean,
  isOneOf,
  isRecordOf,
  isString,
  MAX_TIMER_MS,
  type FieldCheck,
} from './field-checks.js'
import { normalizeHost } from './http/bucket-address.js'
import type { LinkOptions } from './simulated-network.js'
import type { EmulatorSettings } from './settings.js'
import { isBucketName } from './store/buckets.js'
import { errorMessage } from '../util/error-shape.js'

/** Options of `startEmulator`. All are optional. */
export interface EmulatorOptions {
  /** Data directory, created if missing. Default: a new temp directory, which is removed on close. */
  readonly dir?: string
  /** TCP port. Default 0, i.e. a free one. */
  readonly port?: number
  /** Address to listen on. Default `127.0.0.1`; any other address exposes a test server to the network. */
  readonly host?: string
  /** Region id, which V4 signatures must name. Default `oss-cn-hangzhou`. */
  readonly region?: string
  /**
   * Access keys that may sign, one pair or several, or `'random'` for a new pair that only this process knows.
   * Default: `DEFAULT_KEY`, one fixed pair, with which every local user can read and change the objects.
   */
  readonly credentials?: AccessKey | readonly [AccessKey, ...AccessKey[]] | 'random'
  /** Buckets to create at start unless they exist. Default: none. */
  readonly buckets?: readonly string[]
  /** Creates any bucket that a signed request names. Default false. */
  readonly createBuckets?: boolean
  /** Faults to inject at start. Default: none. */
  readonly faults?: readonly Fault[]
  /** Simulated network. Default: no limit, no delay. */
  readonly link?: LinkOptions
  /**
   * Digests to compute. `'crc64'` omits MD5, so that ETags are random and Content-MD5 is not checked;
   * false omits CRC-64, too. For benchmarks. Default true.
   */
  readonly verify?: boolean | 'crc64'
  /** Hashes bodies without storing them; objects read as zeros. For benchmarks. Default false. */
  readonly discard?: boolean
  /** Serves HTTPS with this key and certificate, in PEM. Default: HTTP. */
  readonly tls?: {
    /** Private key. */
    readonly key: string | Buffer
    /** Certificate, followed by its intermediate certificates. */
    readonly cert: string | Buffer
  }
  /** Opens the admin port on 127.0.0.1: true for a free port, or a port number. Default false. */
  readonly admin?: boolean | number
  /** Host names mapped to buckets, like a CNAME: `{ 'static.example.com': 'assets' }`. Default: none. */
  readonly cnames?: Readonly<Record<string, string>>
  /**
   * Accepts requests of web pages of other origins, and unsigned ones with any Host header. Default false: 403
   * AccessDenied, because any page could send them.
   */
  readonly allowBrowsers?: boolean
  /** ms without a byte of a request's body before 400 RequestTimeout. Default 60,000. */
  readonly idleTimeout?: number
  /** Number of newest entries that `requests` keeps. Default 100,000. */
  readonly maxRequests?: number
}

const isNumber: FieldCheck = value => typeof value === 'number'
const isText: FieldCheck = value => isString(value) && value !== ''
const isObject: FieldCheck = value => typeof value === 'object' && value !== null
const isAccessKey: FieldCheck = value => {
  const fields = new Map<string, unknown>(isObject(value) ? Object.entries(Object(value)) : [])
  return isText(fields.get('accessKeyId')) && isText(fields.get('accessKeySecret'))
}
const isRegion: FieldCheck = value =>
  isString(value) && /^(?!oss-$)[a-z0-9_-]+$/.test(String(value))
const isPem: FieldCheck = value => isText(value) || types.isUint8Array(value)
const isKeyPair: FieldCheck = value => {
  const fields = new Map<string, unknown>(isObject(value) ? Object.entries(Object(value)) : [])
  return isPem(fields.get('key')) && isPem(fields.get('cert'))
}

/** Types of the options. Numbers, and what is in `buckets`, `faults` and `link`, are checked where they are used. */
const OPTION_CHECKS: Readonly<Record<keyof EmulatorOptions, FieldCheck>> = {
  dir: isText,
  port: isNumber,
  host: isText,
  region: isRegion,
  credentials: value =>
    value === 'random' ||
    (Array.isArray(value) ? value.length > 0 && value.every(isAccessKey) : isAccessKey(value)),
  buckets: Array.isArray,
  createBuckets: isBoolean,
  faults: Array.isArray,
  link: isObject,
  verify: isOneOf(true, false, 'crc64'),
  discard: isBoolean,
  tls: isKeyPair,
  admin: value => isBoolean(value) || isNumber(value),
  cnames: isRecordOf(value => isString(value) && isBucketName(String(value))),
  allowBrowsers: isBoolean,
  idleTimeout: isNumber,
  maxRequests: isNumber,
}

/** Default access key. It is public: anyone who can reach the port can use it. */
export const DEFAULT_KEY: AccessKey = {
  accessKeyId: 'LTAI5tOssSpoolEmulator00',
  accessKeySecret: 'oss-spool-emulator-secret-0000',
}

/**
 * Fills in the defaults of the options.
 *
 * @throws `TypeError` or `RangeError` for an unknown option or an invalid value
 */
export function resolveSettings(options: EmulatorOptions): EmulatorSettings {
  checkOptions(options)
  checkPort('port', options.port ?? 0)
  if (typeof options.admin === 'number') checkPort('admin', options.admin)
  if (options.tls !== undefined) checkTls(options.tls)
  const { credentials: keys = DEFAULT_KEY } = options
  const credentials = keys === 'random' ? createRandomKey() : keys
  const accessKeys = isAccessKeyList(credentials) ? credentials : ([credentials] as const)
  return {
    region: options.region ?? 'oss-cn-hangzhou',
    accessKeys,
    createBuckets: options.createBuckets ?? false,
    verify: options.verify ?? true,
    discard: options.discard ?? false,
    idleTimeout: checkPositiveInteger('idleTimeout', options.idleTimeout ?? 60_000, MAX_TIMER_MS),
    cnames: byHostName(options.cnames ?? {}),
    allowBrowsers: options.allowBrowsers ?? false,
    host: options.host ?? '127.0.0.1',
    hasPublicKey: accessKeys.some(isPublicKey),
    maxRequests: checkPositiveInteger(
      'maxRequests',
      options.maxRequests ?? 100_000,
      Number.MAX_SAFE_INTEGER,
    ),
  }
}

/** A misspelt option would silently have no effect. */
function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`Expected \`options\` to be an object, got \`${String(options)}\``)
  }
  const checks = new Map<string, FieldCheck>(Object.entries(OPTION_CHECKS))
  for (const [name, value] of Object.entries(options)) {
    const check = checks.get(name)
    if (check === undefined) throw new TypeError(`Unknown option \`${name}\``)
    if (value !== undefined && !check(value)) throw new TypeError(`Invalid option \`${name}\``)
  }
}

function checkPort(name: string, port: number): void {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError(`Expected \`${name}\` to be a port from 0 to 65535, got \`${port}\``)
}

/** Returns whether everybody knows the secret of `key`. */
export function isPublicKey({ accessKeySecret }: AccessKey): boolean {
  return accessKeySecret === DEFAULT_KEY.accessKeySecret
}

function createRandomKey(): AccessKey {
  return {
    accessKeyId: `LTAI5t${randomBytes(9).toString('hex')}`,
    accessKeySecret: randomBytes(24).toString('base64url'),
  }
}

// Array.isArray() does not narrow readonly arrays
function isAccessKeyList<T, L extends readonly T[]>(value: T | L): value is L {
  return Array.isArray(value)
}

function checkPositiveInteger(name: string, value: number, max: number): number {
  if (!Number.isSafeInteger(value) || value < 1 || value > max)
    throw new RangeError(`Expected \`${name}\` to be an integer from 1 to ${max}, got \`${value}\``)
  return value
}

/** Throws TypeError for a key and a certificate that no server can use, such as those of different pairs. */
function checkTls({ key, cert }: NonNullable<EmulatorOptions['tls']>): void {
  try {
    createSecureContext({ key, cert })
  } catch (error) {
    throw new TypeError(`Invalid option \`tls\`: ${errorMessage(error)}`, { cause: error })
  }
}

/** Returns the buckets by the names that requests are compared with: in lower case, without port. */
const byHostName = (cnames: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(cnames).map(([name, bucket]) => [normalizeHost(name), bucket]))
