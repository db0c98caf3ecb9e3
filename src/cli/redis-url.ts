/**
 * URL of Redis: of one server, of a primary that Sentinel names, or of a cluster. Errors never quote it, since it may
 * contain a password.
 */
import { UsageError } from './exit-status.js'

export interface RedisNode {
  readonly host: string
  readonly port: number
}

interface RedisUser {
  readonly username?: string
  readonly password?: string
}

/** What a URL names. */
export type RedisTarget =
  | {
      readonly kind: 'server'
      readonly isTls: boolean
      /** The URL, with options of the client in its query. */
      readonly url: string
    }
  | ({
      readonly kind: 'sentinel'
      readonly isTls: boolean
      readonly nodes: readonly RedisNode[]
      /** Name of the primary. */
      readonly name: string
      readonly db: number
    } & RedisUser)
  | ({
      readonly kind: 'cluster'
      readonly isTls: boolean
      readonly nodes: readonly RedisNode[]
    } & RedisUser)

const DEFAULT_PORTS = { sentinel: 26_379, cluster: 6_379 } as const

const EXPECTED =
  'The URL of Redis must be redis://HOST[:PORT][/DB], redis+sentinel://HOST[:PORT],.../NAME[/DB] or redis+cluster://HOST[:PORT],...; with TLS, it begins with rediss'

/** A URL of several hosts, which `URL` does not parse. */
const NODES_URL =
  /^(?<tls>rediss?)\+(?<kind>sentinel|cluster):\/\/(?:(?<user>[^@/?#]*)@)?(?<hosts>[^@/?#]+)(?:\/(?<name>[^/?#]*)(?:\/(?<db>\d{1,5}))?)?$/

/**
 * Parses the URL of Redis. A password is not accepted from an argument, because every user can see those.
 * @param isArgument – it is the value of --redis
 * @throws UsageError if the URL is missing or invalid
 */
export function parseRedisUrl(url: string | undefined, isArgument: boolean): RedisTarget {
  if (url === undefined)
    throw new UsageError('No Redis URL: set --redis or REDIS_URL, for example to redis://10.0.0.5')
  if (isArgument && hasRedisPassword(url)) {
    throw new UsageError('A password in --redis is visible to every user. Set REDIS_URL instead')
  }
  const groups = NODES_URL.exec(url)?.groups
  if (groups !== undefined) return parseNodesUrl(groups)
  if (!/^rediss?:\/\//.test(url) || !URL.canParse(url)) throw new UsageError(EXPECTED)
  return { kind: 'server', isTls: url.startsWith('rediss:'), url }
}

/** Whether a URL contains a password. The client also accepts options in the query: `?password=`. */
export function hasRedisPassword(url: string): boolean {
  return redactRedisUrl(url) !== url
}

/** Hides the passwords in a URL, which may be invalid. */
export function redactRedisUrl(url: string): string {
  return url
    .replace(/^([^/?#]*:\/\/[^:/?#]*):.+@/s, '$1:***@')
    .replaceAll(/([?&][^=&]*password[^=&]*=)[^&#]+/gi, '$1***')
}

/** Whether Redis hashes only a part of keys with this prefix, so that they are in one slot of a cluster. */
export function hasHashTag(prefix: string): boolean {
  return /^[^{]*\{[^}]+\}/.test(prefix)
}

function parseNodesUrl(groups: Readonly<Record<string, string | undefined>>): RedisTarget {
  const isTls = groups['tls'] === 'rediss'
  const kind = groups['kind'] === 'cluster' ? 'cluster' : 'sentinel'
  const nodes = (groups['hosts'] ?? '').split(',').map(text => parseNode(text, DEFAULT_PORTS[kind]))
  const user = parseUser(groups['user'])
  const name = decode(groups['name'] ?? '')
  if (kind === 'cluster') {
    if (name !== '' || groups['db'] !== undefined) throw new UsageError(EXPECTED)
    return { kind, isTls, nodes, ...user }
  }
  if (name === '') throw new UsageError(EXPECTED)
  return { kind, isTls, nodes, name, db: Number(groups['db'] ?? 0), ...user }
}

function parseNode(text: string, defaultPort: number): RedisNode {
  const { host, port } =
    /^(?<host>\[[\da-f:.]+\]|[^:[\]]+)(?::(?<port>\d{1,5}))?$/i.exec(text)?.groups ?? {}
  const number = Number(port ?? defaultPort)
  if (host === undefined || number < 1 || number > 65_535) throw new UsageError(EXPECTED)
  return { host: host.replaceAll(/[[\]]/g, ''), port: number }
}

/** The userinfo `USER:PASSWORD`, percent-encoded. Without a user, it is the default one. */
function parseUser(text: string | undefined): RedisUser {
  if (text === undefined) return {}
  const end = text.includes(':') ? text.indexOf(':') : text.length
  const username = decode(text.slice(0, end))
  const password = decode(text.slice(end + 1))
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new UsageError(EXPECTED)
  }
}
