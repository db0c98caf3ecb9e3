/**
 * Definitions of all settings. The names equal those of the flags and of `schema/config.schema.json`, which
 * editors use for completion; a test keeps them in sync.
 */
import { checkLogFormat } from './log-format.js'
import { INVALID_PING_URL, isPingUrl, redactPingUrl } from './ping-url.js'
import { parseCount, parseRate, parseSize } from './units.js'

export interface SettingDefinition {
  readonly name: string
  readonly env?: string
  /** Name in `~/.ossutilconfig`, in lower case. */
  readonly ossutilName?: string
  /** Never shown. All secrets are taken from the same source. */
  readonly secret?: true
  /** Hides the secret parts of a value that is shown. */
  readonly redact?: (value: string) => string
  /** Parses the value of a configuration file. @throws InvalidArgumentError or TypeError */
  readonly parse: (value: unknown) => unknown
}

/** Configured settings, by flag name. */
export interface ConfiguredValues {
  readonly endpoint?: string
  readonly region?: string
  readonly internal?: boolean
  readonly cname?: boolean
  readonly requestPayer?: boolean
  readonly spool?: string
  readonly partSize?: number
  readonly maxSpool?: number
  readonly parallel?: number
  readonly parallelUploads?: number
  readonly retries?: number
  readonly maxRate?: number
  readonly logFormat?: string
  readonly ping?: string
  readonly metrics?: string
}

export const SETTING_DEFINITIONS: readonly SettingDefinition[] = [
  { name: 'endpoint', env: 'OSS_ENDPOINT', ossutilName: 'endpoint', parse: parseString },
  { name: 'region', env: 'OSS_REGION', ossutilName: 'region', parse: parseString },
  { name: 'internal', parse: parseBoolean },
  { name: 'cname', parse: parseBoolean },
  { name: 'requestPayer', parse: parseBoolean },
  {
    name: 'accessKeyId',
    env: 'OSS_ACCESS_KEY_ID',
    ossutilName: 'accesskeyid',
    secret: true,
    parse: parseString,
  },
  {
    name: 'accessKeySecret',
    env: 'OSS_ACCESS_KEY_SECRET',
    ossutilName: 'accesskeysecret',
    secret: true,
    parse: parseString,
  },
  {
    name: 'sessionToken',
    env: 'OSS_SESSION_TOKEN',
    ossutilName: 'ststoken',
    secret: true,
    parse: parseString,
  },
  { name: 'spool', env: 'OSS_SPOOL_DIR', parse: parseString },
  { name: 'partSize', parse: numberParser(parseSize) },
  { name: 'maxSpool', parse: numberParser(parseSize) },
  { name: 'parallel', parse: numberParser(parseCount) },
  { name: 'parallelUploads', parse: numberParser(parseCount) },
  { name: 'retries', parse: numberParser(parseCount) },
  { name: 'maxRate', parse: numberParser(parseRate) },
  {
    name: 'logFormat',
    env: 'OSS_SPOOL_LOG_FORMAT',
    parse: value => checkLogFormat(parseString(value)),
  },
  { name: 'ping', env: 'OSS_SPOOL_PING', redact: redactPingUrl, parse: parsePingUrl },
  { name: 'metrics', env: 'OSS_SPOOL_METRICS', parse: parseString },
]

function parseString(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new TypeError('Expected a string.')
}

function parsePingUrl(value: unknown): string {
  if (typeof value === 'string' && isPingUrl(value)) return value
  throw new TypeError(INVALID_PING_URL)
}

function parseBoolean(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError('Expected true or false.')
}

/** Returns a parser of numbers, and of strings in the format of the flag. */
function numberParser(parseText: (text: string) => number): (value: unknown) => number {
  return value => {
    if (typeof value === 'number' || typeof value === 'string') return parseText(String(value))
    throw new TypeError('Expected a number, or a string such as "8MiB".')
  }
}
