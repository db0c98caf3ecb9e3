/** Values in Redis that no oss-spool wrote, among those of uploads: each of them stops at most its own upload. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { HostQueues } from '../../src/bullmq/host-queues.js'
import { checkQueueOptions } from '../../src/bullmq/queue-options.js'
import type { Spool } from '../../src/index.js'
import { fleetRate, redisCheckpoints, type RedisCheckpoints } from '../../src/redis/index.js'
import { sendCommand } from '../../src/redis/connection.js'
import { parseLockHolder } from '../../src/redis/redis-lock.js'
import { bench, bytes, streamOf, type Bench } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

const server = await startRedis(t)
const DATA = bytes(250_000)
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied' } as const
const PREFIX = 'junk'

/** Names that are no ids. */
const BAD_NAMES = [
  '',
  '.',
  '..',
  '../..',
  '../victim',
  '/etc/passwd',
  'a/b',
  'a b',
  'a\nb',
  '\u001b[31mred',
  'a\u0000b',
  'ü',
  'x'.repeat(100_000),
  'quarantine',
]

/** Values of locks. */
const BAD_LOCKS = [
  '',
  'junk',
  '1',
  '1 ',
  '1 null',
  '1 []',
  '1 {}',
  '1 {"pid":1}',
  '{"pid":1,"host":"a"}',
]
const HOSTS = [5, 'a:b', 'a/b', '../x', 'x'.repeat(129), '']

t.test('the value of a lock that is no holder is one without a holder', async t => {
  const bad = HOSTS.map(host => `1 ${JSON.stringify({ pid: 1, host, directory: '/' })}`)
  for (const value of [...BAD_LOCKS, ...bad, null, 5, [], {}]) {
    t.equal(parseLockHolder(value), undefined, JSON.stringify(value))
  }
  t.match(parseLockHolder('7 {"pid":1,"host":"a","directory":"/d"}'), { pid: 1, host: 'a' })
})

interface Shared {
  readonly redis: Redis
  readonly b: Bench
  readonly store: RedisCheckpoints
  readonly spool: () => Spool
}

async function leaveSealed({ b, spool }: Shared, id: string): Promise<void> {
  const fault = b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  await spool()
    .upload(id, () => streamOf(DATA), { id })
    .catch(() => undefined)
  fault.remove()
}

/** Junk by where it is. Uploads with the id `bad` may be affected. */
const JUNK: Readonly<Record<string, (redis: Redis) => Promise<unknown>>> = {
  'members of the set of ids': redis => redis.sadd(`${PREFIX}:ids`, ...BAD_NAMES),
  'an id without a record': redis =>
    redis.sadd(`${PREFIX}:ids`, 'ghost', '__proto__', 'constructor'),
  'a record of another type': async redis => {
    await redis.del(`${PREFIX}:record:bad`)
    await redis.rpush(`${PREFIX}:record:bad`, 'junk')
  },
  'a record that is no JSON': redis => redis.set(`${PREFIX}:record:bad`, '{"format":'),
  'a record of another shape': redis => redis.set(`${PREFIX}:record:bad`, '[[[]]]'),
  'a huge record': redis => redis.set(`${PREFIX}:record:bad`, '['.repeat(1_000_000)),
  'a lock of another type': redis => redis.rpush(`${PREFIX}:lock:bad`, 'junk'),
  ...Object.fromEntries(
    BAD_LOCKS.map(value => [
      `the lock ${JSON.stringify(value)}`,
      (redis: Redis) => redis.set(`${PREFIX}:lock:bad`, value),
    ]),
  ),
  'notes of moves': redis => redis.sadd(`${PREFIX}:moved`, ...BAD_NAMES, `${'0'.repeat(40)}.../..`),
  'a heartbeat of another type': redis => redis.rpush(`${PREFIX}:host:other`, 'junk'),
}

if (server !== undefined) {
  const shared = async (t: Test): Promise<Shared> => {
    const redis = server.connect(t)
    await redis.flushall()
    const b = await bench(t)
    const store = redisCheckpoints(redis, { host: 'a', prefix: PREFIX, lockTimeout: 2_000 })
    t.teardown(() => store.close())
    return { redis, b, store, spool: () => b.another({ checkpointStore: store }) }
  }

  for (const [name, add] of Object.entries(JUNK)) {
    t.test(`junk in Redis does not stop other uploads: ${name}`, async t => {
      const all = await shared(t)
      const { redis, b, spool } = all
      await leaveSealed(all, 'good')
      await leaveSealed(all, 'bad')
      await add(redis)
      const listed = await spool().uploads()
      t.match(
        listed.filter(({ id }) => id === 'good'),
        [{ phase: 'sealed' }],
      )
      t.match(await spool().resume('good'), { id: 'good', size: DATA.length })
      t.same(await b.get('good'), DATA)
      t.match(await spool().upload('new', () => streamOf(DATA), { id: 'new' }), {
        size: DATA.length,
      })
      await spool().prune({ olderThan: 0 })
      const ids = listed.map(({ id }) => id)
      t.ok(
        ids.includes('bad') || b.warnings.some(({ id }) => id === 'bad'),
        'bad is listed or named',
      )
    })
  }

  t.test('names in the quarantine of Redis lead out of no directory', async t => {
    const { redis, b, spool } = await shared(t)
    const victim = `${b.dir}-victim`
    mkdirSync(victim)
    writeFileSync(join(victim, 'file'), 'precious')
    mkdirSync(join(b.dir, 'quarantine'), { recursive: true })
    const paths = ['../../' + victim.split('/').at(-1), '..', '../..', '.', '', 'a/../../x', victim]
    for (const name of paths) await redis.zadd(`${PREFIX}:quarantine`, 1, name)
    await redis.zadd(`${PREFIX}:quarantine`, 1, 'id-2026-01-01T00-00-00.000Z')
    const pruned = await spool().prune({ olderThan: 0 })
    t.same(pruned, [{ kind: 'quarantine', id: 'id-2026-01-01T00-00-00.000Z' }])
    t.ok(existsSync(join(victim, 'file')))
    t.ok(existsSync(join(b.dir, 'quarantine')))
  })

  t.test('arguments of a command that Redis does not know are in no error', async t => {
    const { redis } = await shared(t)
    const error: unknown = await sendCommand(redis, 1_000, 'AUTHENTICATE', 's3cret-value').catch(
      (reason: unknown) => reason,
    )
    t.match(error, { name: 'RedisError', message: /unknown command/ })
    t.notMatch(inspect(error), /s3cret/)
  })

  t.test('a rate limit with junk in Redis starts anew', async t => {
    const { redis, b, spool } = await shared(t)
    for (const values of [{ bytes: 'junk', at: 'junk' }, { bytes: '5' }, { at: 'x' }]) {
      await redis.del(`${PREFIX}:rate`)
      await redis.hset(`${PREFIX}:rate`, values)
      const maxRate = fleetRate(redis, 100_000_000, { prefix: PREFIX })
      const limited = b.another({ maxRate })
      await limited.upload('key', () => streamOf(DATA))
      t.same(await b.get('key'), DATA)
    }
    t.same(await spool().uploads(), [])
  })

  t.test('names of hosts in Redis that are none do not stop the return of jobs', async t => {
    const { redis, store } = await shared(t)
    const settings = checkQueueOptions({ connection: redis, prefix: PREFIX }, {})
    const queues = new HostQueues(settings, store, 1_000)
    t.teardown(() => queues.close())
    await redis.sadd(`${PREFIX}:${settings.name}:homes`, ...BAD_NAMES, 'a:b', 'gone')
    await queues.reclaim()
    const left = await redis.smembers(`${PREFIX}:${settings.name}:homes`)
    t.notOk(left.includes('gone'), 'a host that is gone, and has no job, is removed')
  })
}
