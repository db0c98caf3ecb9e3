/**
 * Everything that can be configured, by name. The names are those of the flags (and of
 * `schema/config.schema.json`, which editors complete from; a test holds the two together).
 */
import { parseCount, parseRate, parseSize } from './units.js'

export interface SettingDefinition {
  readonly name: string
  readonly env?: string
  /** Its name in `~/.ossutilconfig`, in lower case. */
  readonly ossutilName?: string
  /** Never shown; taken together with the other secrets of its source. */
  readonly secret?: true
  /** What a configuration file may hold for it. @throws InvalidArgumentError */
  readonly parse: (value: unknown) => unknown
}

/** The settings under the names of the flags. */
export interface ConfiguredValues {
  readonly endpoint?: string
  readonly region?: string
  readonly internal?: boolean
  readonly cname?: boolean
  readonly spool?: string
  readonly partSize?: number
  readonly maxSpool?: number
  readonly parallel?: number
  readonly parallelUploads?: number
  readonly retries?: number
  readonly maxRate?: number
}

export const SETTING_DEFINITIONS: readonly SettingDefinition[] = [
  { name: 'endpoint', env: 'OSS_ENDPOINT', ossutilName: 'endpoint', parse: parseString },
  { name: 'region', env: 'OSS_REGION', ossutilName: 'region', parse: parseString },
  { name: 'internal', parse: parseBoolean },
  { name: 'cname', parse: parseBoolean },
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
]

function parseString(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new TypeError('Expected a text.')
}

function parseBoolean(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError('Expected true or false.')
}

/** A number, or a text as the flag takes it. */
function numberParser(parseText: (text: string) => number): (value: unknown) => number {
  return value => {
    if (typeof value === 'number' || typeof value === 'string') return parseText(String(value))
    throw new TypeError('Expected a number, or a text such as "8MiB".')
  }
}

/** `partSize` → `--part-size`. */
export function toFlag(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}
