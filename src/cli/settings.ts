/**
 * Everything that can be configured, by name. The names are those of the flags (and of
 * `schema/config.schema.json`, which editors complete from; a test holds the two together).
 */
import { parseCount, parseRate, parseSize } from './quantities.js'

export interface Setting {
  readonly name: string
  readonly env?: string
  /** Its name in `~/.ossutilconfig`, in lower case. */
  readonly ossutil?: string
  /** Never shown; taken together with the other secrets of its source. */
  readonly secret?: true
  /** What a configuration file may hold for it. @throws InvalidArgumentError */
  readonly read: (value: unknown) => unknown
}

/** The settings under the names of the flags. */
export interface Values {
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

export const SETTINGS: readonly Setting[] = [
  { name: 'endpoint', env: 'OSS_ENDPOINT', ossutil: 'endpoint', read: string },
  { name: 'region', env: 'OSS_REGION', ossutil: 'region', read: string },
  { name: 'internal', read: boolean },
  { name: 'cname', read: boolean },
  {
    name: 'accessKeyId',
    env: 'OSS_ACCESS_KEY_ID',
    ossutil: 'accesskeyid',
    secret: true,
    read: string,
  },
  {
    name: 'accessKeySecret',
    env: 'OSS_ACCESS_KEY_SECRET',
    ossutil: 'accesskeysecret',
    secret: true,
    read: string,
  },
  {
    name: 'sessionToken',
    env: 'OSS_SESSION_TOKEN',
    ossutil: 'ststoken',
    secret: true,
    read: string,
  },
  { name: 'spool', env: 'OSS_SPOOL_DIR', read: string },
  { name: 'partSize', read: quantity(parseSize) },
  { name: 'maxSpool', read: quantity(parseSize) },
  { name: 'parallel', read: quantity(parseCount) },
  { name: 'parallelUploads', read: quantity(parseCount) },
  { name: 'retries', read: quantity(parseCount) },
  { name: 'maxRate', read: quantity(parseRate) },
]

function string(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new TypeError('Expected a text.')
}

function boolean(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw new TypeError('Expected true or false.')
}

/** A number, or a text as the flag takes it. */
function quantity(parse: (text: string) => number): (value: unknown) => number {
  return value => {
    if (typeof value === 'number' || typeof value === 'string') return parse(String(value))
    throw new TypeError('Expected a number, or a text such as "8MiB".')
  }
}

/** `partSize` → `--part-size`. */
export function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}
