/** Checks of Redis: whether BullMQ works with it, and which jobs and records it can lose. */
import {
  failedResult,
  okResult,
  skippedResult,
  warningResult,
  type CheckResult,
} from './check-result.js'
import { readRedisFacts, type RedisFacts, type RedisServerClient } from './redis-facts.js'

/** The versions that BullMQ requires and recommends, as comparable numbers. */
const REQUIRED_VERSION = { number: 5_000, text: '5.0' }
const RECOMMENDED_VERSION = { number: 6_002, text: '6.2' }

/** ms of difference that jobs do not notice. */
const TOLERATED_SKEW_MS = 2_000

/** A client of one server, or of a cluster. */
export type CheckedClient = RedisServerClient | { nodes(role: 'master'): RedisServerClient[] }

/** Checks a server, or every primary of a cluster. Equal results of several servers are one. */
export async function checkRedis(client: CheckedClient): Promise<CheckResult[]> {
  const isCluster = 'nodes' in client
  const servers = isCluster ? client.nodes('master') : [client]
  const facts = await Promise.all(servers.map(server => readRedisFacts(server)))
  const results = facts.flatMap(each => judgeRedis(each, isCluster))
  return [...new Map(results.map(each => [`${each.check} ${each.message}`, each])).values()]
}

/**
 * Returns the results for one server. A failed one means that BullMQ cannot work with it.
 * @param isCluster – it is used as a node of a cluster
 */
export function judgeRedis(facts: RedisFacts, isCluster: boolean): CheckResult[] {
  const { info } = facts
  if (typeof info === 'string') {
    const message = `Redis refuses INFO, which BullMQ needs: ${info}`
    const others = ['redis aof', 'redis eviction', 'redis clock']
    return [
      failedResult('redis', message, 'Permit INFO to this user (ACL SETUSER NAME +info)'),
      ...others.map(check => skippedResult(check, 'INFO is refused')),
    ]
  }
  return [
    judgeServer(info, isCluster),
    judgePersistence(info, facts),
    judgeEviction(info.get('maxmemory_policy')),
    judgeClock(facts.clockAhead),
  ]
}

function judgeServer(info: ReadonlyMap<string, string>, isCluster: boolean): CheckResult {
  const mode = info.get('redis_mode')
  if (mode === 'sentinel') {
    const hint =
      'Begin the URL of Redis with redis+sentinel, and end it with the name of the primary'
    return failedResult('redis', 'the URL of Redis names a Sentinel, which has no data', hint)
  }
  if (mode === 'cluster' && !isCluster) {
    const hint = 'Begin the URL of Redis with redis+cluster, and set --redis-prefix'
    return failedResult('redis', 'the URL of Redis names a single node of a cluster', hint)
  }
  if (info.get('role') === 'slave') {
    const hint = 'Use the URL of the primary, or of its Sentinels (redis+sentinel://)'
    return failedResult('redis', 'this Redis is a replica, which accepts no jobs', hint)
  }
  return judgeVersion(info)
}

/** Other servers count their versions differently. */
function judgeVersion(info: ReadonlyMap<string, string>): CheckResult {
  for (const name of ['valkey', 'dragonfly']) {
    const other = info.get(`${name}_version`)
    if (other !== undefined) return okResult('redis', `${name} ${other}`)
  }
  const version = info.get('redis_version') ?? ''
  const [major, minor] = version.split('.').map(Number)
  const number = (major ?? Number.NaN) * 1_000 + (minor ?? Number.NaN)
  if (Number.isNaN(number)) return skippedResult('redis', 'INFO has no version')
  const hint = `Upgrade Redis to ${RECOMMENDED_VERSION.text} or later`
  if (number < REQUIRED_VERSION.number) {
    const message = `Redis ${version}, but BullMQ needs ${REQUIRED_VERSION.text} or later`
    return failedResult('redis', message, hint)
  }
  if (number < RECOMMENDED_VERSION.number) {
    const message = `Redis ${version}; BullMQ recommends ${RECOMMENDED_VERSION.text} or later`
    return warningResult('redis', message, hint)
  }
  return okResult('redis', `Redis ${version}`)
}

function judgePersistence(
  info: ReadonlyMap<string, string>,
  { appendfsync, save }: RedisFacts,
): CheckResult {
  const check = 'redis aof'
  const isLogging = info.get('aof_enabled')
  if (isLogging === undefined) {
    return skippedResult(check, 'could not be checked, because INFO does not contain it')
  }
  if (isLogging === '0') {
    const lost =
      save === ''
        ? 'Redis has no persistence, so a restart loses all jobs and records'
        : 'Redis has no append-only file, so a crash loses the jobs and records since its last snapshot'
    return warningResult(check, lost, 'Set "appendonly yes" in redis.conf, or in your service')
  }
  if (info.get('aof_last_write_status') === 'err') {
    const message = 'Redis cannot write its append-only file, and refuses jobs until it can'
    return warningResult(check, message, 'Free some space on the disk of Redis')
  }
  if (appendfsync === undefined) {
    const message = 'append-only file; appendfsync could not be checked, because CONFIG is refused'
    return skippedResult(check, message)
  }
  if (appendfsync === 'no') {
    const message =
      'Redis does not sync its append-only file, so a power failure loses about 30 s of jobs and records'
    return warningResult(check, message, 'Set "appendfsync everysec" in redis.conf')
  }
  const lost = appendfsync === 'always' ? 'loses nothing' : 'loses the last second'
  return okResult(check, `append-only file, appendfsync ${appendfsync}: a power failure ${lost}`)
}

function judgeEviction(policy: string | undefined): CheckResult {
  const check = 'redis eviction'
  if (policy === undefined) {
    return skippedResult(check, 'could not be checked, because INFO does not contain it')
  }
  if (policy === 'noeviction') return okResult(check, 'none (maxmemory-policy noeviction)')
  const message = `Redis evicts jobs, records or locks when its memory is full (maxmemory-policy ${policy})`
  return warningResult(check, message, 'Set "maxmemory-policy noeviction" in redis.conf')
}

function judgeClock(ahead: number | undefined): CheckResult {
  const check = 'redis clock'
  if (ahead === undefined) {
    return skippedResult(check, 'could not be checked, because TIME is refused')
  }
  const seconds = (Math.abs(ahead) / 1_000).toFixed(1)
  if (Math.abs(ahead) <= TOLERATED_SKEW_MS) {
    return okResult(check, `differs from the clock of this host by ${seconds} s`)
  }
  const message = `the clock of Redis is ${seconds} s ${ahead > 0 ? 'ahead of' : 'behind'} the clock of this host, so delayed and scheduled jobs start early or late`
  return warningResult(check, message, 'Synchronize both clocks (NTP)')
}
