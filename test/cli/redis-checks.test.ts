/** Checks of Redis by `doctor` and at the start of a worker, with servers in different configurations. */
import t, { type Test } from 'tap'
import { judgeRedis } from '../../src/cli/doctor/redis.js'
import type { RedisFacts } from '../../src/cli/doctor/redis-facts.js'
import { start, until, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { sampled } from '../support/long.js'
import { startRedis } from '../support/redis.js'
import { startCluster, startSentinel } from '../support/redis-topologies.js'

interface Report {
  readonly ok: boolean
  readonly checks: readonly { check: string; state: string; message: string; hint?: string }[]
}

/** Returns the states of the checks of Redis by their names. */
async function doctor(
  t: Test,
  args: readonly string[],
  env?: Env,
): Promise<Record<string, string>> {
  const dir = t.testdir({})
  const { out, status } = await run(dir, ['doctor', '--local', '--json', ...args], undefined, env)
  const { ok, checks }: Report = JSON.parse(out)
  t.equal(status, ok ? 0 : 1)
  const ofRedis = checks.filter(({ check }) => check.startsWith('redis'))
  t.ok(ofRedis.every(({ state, hint }) => (hint === undefined) === /ok|skipped/.test(state)))
  return Object.fromEntries(ofRedis.map(({ check, state }) => [check, state]))
}

const GOOD = {
  redis_version: '7.2.4',
  redis_mode: 'standalone',
  role: 'master',
  aof_enabled: '1',
  aof_last_write_status: 'ok',
  maxmemory_policy: 'noeviction',
}

/** Returns the states of the results, in order. */
function judge(
  info: Readonly<Record<string, string>> | string,
  facts: Partial<RedisFacts> = {},
  isCluster = false,
): string {
  const fields = typeof info === 'string' ? info : new Map(Object.entries(info))
  const defaults = { appendfsync: 'everysec', save: '', clockAhead: 0 }
  const results = judgeRedis({ info: fields, ...defaults, ...facts }, isCluster)
  return results.map(({ state }) => state).join(' ')
}

t.test('a finding is a failure only if BullMQ cannot work', t => {
  t.equal(judge(GOOD), 'ok ok ok ok')
  t.equal(judge('NOPERM'), 'failed skipped skipped skipped')
  for (const [info, state] of [
    [{ redis_version: '4.0.14' }, 'failed'],
    [{ redis_version: '5.0.0' }, 'warning'],
    [{ redis_version: '6.1.9' }, 'warning'],
    [{ redis_version: '6.2.0' }, 'ok'],
    [{ redis_version: '10.0.0' }, 'ok'],
    [{ redis_version: 'unknown' }, 'skipped'],
    [{ redis_version: '2.0.0', valkey_version: '8.0.0' }, 'ok'],
    [{ role: 'slave' }, 'failed'],
    [{ redis_mode: 'sentinel' }, 'failed'],
    [{ redis_mode: 'cluster' }, 'failed'],
  ] as const) {
    t.equal(judge({ ...GOOD, ...info }), `${state} ok ok ok`, JSON.stringify(info))
  }
  t.equal(judge({ ...GOOD, redis_mode: 'cluster' }, {}, true), 'ok ok ok ok')
  t.end()
})

t.test('missing persistence, eviction and a wrong clock are warnings', t => {
  t.equal(judge({ ...GOOD, aof_enabled: '0' }), 'ok warning ok ok')
  t.equal(judge({ ...GOOD, aof_enabled: '0' }, { save: '60 1' }), 'ok warning ok ok')
  t.equal(judge({ ...GOOD, aof_last_write_status: 'err' }), 'ok warning ok ok')
  t.equal(judge(GOOD, { appendfsync: 'no' }), 'ok warning ok ok')
  t.equal(judge(GOOD, { appendfsync: 'always' }), 'ok ok ok ok')
  t.equal(judge({ ...GOOD, maxmemory_policy: 'allkeys-lru' }), 'ok ok warning ok')
  t.equal(judge(GOOD, { clockAhead: 2_001 }), 'ok ok ok warning')
  t.equal(judge(GOOD, { clockAhead: -2_001 }), 'ok ok ok warning')
  t.equal(judge(GOOD, { clockAhead: -1_999 }), 'ok ok ok ok')
  t.end()
})

t.test('a fact that Redis does not reveal could not be checked', t => {
  t.equal(judge(GOOD, { appendfsync: undefined }), 'ok skipped ok ok')
  t.equal(judge(GOOD, { clockAhead: undefined }), 'ok ok ok skipped')
  t.equal(judge({ redis_version: '7.0.0' }), 'ok skipped skipped ok')
  t.equal(judge({ ...GOOD, aof_enabled: '0' }, { save: undefined }), 'ok warning ok ok')
  t.end()
})

t.test('doctor checks Redis if it is named by more than REDIS_URL', async t => {
  const redis = await startRedis(t, '--appendonly', 'yes')
  if (redis === undefined) return
  const url = `redis://127.0.0.1:${redis.port}`
  const allOk = { redis: 'ok', 'redis aof': 'ok', 'redis eviction': 'ok', 'redis clock': 'ok' }
  t.same(await doctor(t, ['--redis', url]), allOk)
  t.same(await doctor(t, [], { OSS_SPOOL_REDIS: url }), allOk)
  t.same(await doctor(t, ['--fleet=a'], { REDIS_URL: url }), allOk)
  t.same(await doctor(t, [], { REDIS_URL: url }), {})
  t.same(await doctor(t, ['--redis=redis+cluster://127.0.0.1:1']), { redis: 'failed' })
  t.same(await doctor(t, ['--redis=redis://127.0.0.1:1']), { redis: 'failed' })
})

t.test('doctor proposes the flag that a cluster needs', async t => {
  const args = ['doctor', '--redis=redis+cluster://127.0.0.1:1']
  t.match(await run(t.testdir({}), args), { status: 1, out: /Set --redis-prefix / })
})

t.test('doctor names what a user may not ask', async t => {
  const redis = await startRedis(t, '--appendonly', 'yes')
  if (redis === undefined) return
  const client = redis.connect(t)
  await client.acl('SETUSER', 'a', 'on', '>pass-word', '~*', '&*', '+@all', '-config')
  await client.acl('SETUSER', 'b', 'on', '>pass-word', '~*', '&*', '+@all', '-info', '-time')
  const url = (user: string): Env => ({
    OSS_SPOOL_REDIS: `redis://${user}:pass-word@127.0.0.1:${redis.port}`,
  })
  t.match(await doctor(t, [], url('a')), { redis: 'ok', 'redis aof': 'skipped' })
  t.match(await doctor(t, [], url('b')), { redis: 'failed', 'redis clock': 'skipped' })
  t.match(await doctor(t, [], url('c')), { redis: 'failed' })
})

t.test('a worker warns of what Redis can lose, and works', async t => {
  const redis = await startRedis(t, '--maxmemory-policy', 'allkeys-lru')
  if (redis === undefined) return
  const url = `--redis=redis://127.0.0.1:${redis.port}`
  t.match(await doctor(t, [url]), { 'redis aof': 'warning', 'redis eviction': 'warning' })
  const err = await startAndStop(t, url)
  t.match(err, /"level":"warn".*persistence.*\n(.*\n)*.*"level":"warn".*allkeys-lru/)
})

t.test('a worker that waits for Redis checks it later', async t => {
  const redis = await startRedis(t)
  if (redis === undefined) return
  await redis.kill()
  const worker = startWorker(t, `--redis=redis://127.0.0.1:${redis.port}`)
  await until(() => worker.err().includes('working on queue'))
  await redis.start()
  await until(() => worker.err().includes('no persistence'))
  worker.kill()
  t.equal((await worker.done).status, 143)
})

t.test('a worker does not start on a replica, a Sentinel or one node of a cluster', async t => {
  for (const refuse of sampled(t, [refuseSentinel, refuseCluster], 2)) await refuse(t)
})

async function refuseSentinel(t: Test): Promise<void> {
  const sentinel = await startSentinel(t)
  if (sentinel === undefined) return
  for (const port of [sentinel.replicaPort, sentinel.sentinelPorts[0]]) await refuseServer(t, port)
  t.match(await doctor(t, ['--redis', sentinel.url]), { redis: 'ok' })
}

async function refuseCluster(t: Test): Promise<void> {
  const cluster = await startCluster(t)
  if (cluster === undefined) return
  await refuseServer(t, cluster.ports[0])
  const prefix = '--redis-prefix={a}'
  t.match(await doctor(t, ['--redis', cluster.url, prefix]), { redis: 'ok', 'redis clock': 'ok' })
}

async function refuseServer(t: Test, port: number | undefined): Promise<void> {
  const url = `--redis=redis://127.0.0.1:${port}`
  t.match(await doctor(t, [url]), { redis: 'failed' })
  t.match(await startWorker(t, url).done, { status: 1, err: /ERR_SPOOL_UNREADABLE/ })
}

/** Runs a worker until it works, and returns its standard error. */
async function startAndStop(t: Test, ...args: string[]): Promise<string> {
  const worker = startWorker(t, ...args)
  await until(() => worker.err().includes('working on queue'))
  worker.kill()
  const { status, err } = await worker.done
  t.equal(status, 143)
  return err
}

function startWorker(t: Test, ...args: string[]) {
  const dir = t.testdir({ 'sources.mjs': 'export const none = () => []' })
  const common = ['worker', '--local', '--bucket=b', '--sources=sources.mjs', '--log-format=json']
  const { child, done } = start(dir, [...common, ...args])
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => (text += String(chunk)))
  t.teardown(() => child.kill('SIGKILL'))
  return { done, err: () => text, kill: () => child.kill('SIGTERM') }
}
