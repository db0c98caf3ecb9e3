/** Connections of commands to Redis: names of fleets, and failures. */
import t from 'tap'
import { UploadQueue, type JobSource } from '../../src/bullmq/index.js'
import { UsageError } from '../../src/cli/exit-status.js'
import { fleetNames } from '../../src/cli/fleet-names.js'
import { createRedisClient } from '../../src/cli/redis-client.js'
import { parseRedisUrl } from '../../src/cli/redis-url.js'
import { environment, start, until } from '../support/command-line.js'
import { bench, BUCKET } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { startRedis } from '../support/redis.js'
import { startSentinel } from '../support/redis-topologies.js'
import { removeDirectory } from '../support/remove-directory.js'
import { TcpProxy } from '../support/tcp-proxy.js'

type TestSources = { readonly content: JobSource<{ seed: number; size: number }> }

t.test('a fleet is named after its queue unless it has a name', t => {
  t.same(fleetNames({}), { queue: 'oss-spool', queuePrefix: 'bull', recordPrefix: 'oss-spool' })
  t.same(fleetNames({ queue: 'logs' }), {
    queue: 'logs',
    queuePrefix: 'bull',
    recordPrefix: 'logs',
  })
  t.same(fleetNames({ queue: 'logs', fleet: 'eu' }), {
    queue: 'logs',
    queuePrefix: 'bull',
    recordPrefix: 'eu',
  })
  t.end()
})

t.test('a prefix of BullMQ begins all keys, and none of the fleet is one of BullMQ', t => {
  t.same(fleetNames({ redisPrefix: '{eu}', fleet: 'a' }), {
    queue: 'oss-spool',
    queuePrefix: '{eu}',
    recordPrefix: '{eu}@a',
  })
  t.throws(() => fleetNames({ fleet: 'bull' }), UsageError)
  t.throws(() => fleetNames({ queue: 'bull' }), UsageError)
  t.equal(fleetNames({ queue: 'bull', redisPrefix: 'bull' }).recordPrefix, 'bull@bull')
  t.end()
})

t.test('invalid names are usage errors', t => {
  for (const flags of [
    { queue: '' },
    { queue: 'a:b' },
    { queue: 'a@b' },
    { fleet: '' },
    { fleet: 'a b' },
    { fleet: 'a:b' },
    { fleet: 'f'.repeat(129) },
    { redisPrefix: '' },
  ]) {
    t.throws(() => fleetNames(flags), UsageError, JSON.stringify(flags))
  }
  t.end()
})

t.test(
  'a client of Sentinel learns of a new primary while it waits for a frozen Sentinel',
  async t => {
    const sentinel = await startSentinel(t)
    if (sentinel === undefined) return
    const target = parseRedisUrl(sentinel.url, true)
    if (target.kind !== 'sentinel') throw new Error('not the URL of a Sentinel')
    const frozenFirst = { ...target, nodes: target.nodes.toReversed() }
    const client = await createRedisClient(frozenFirst, undefined, {}, null)
    t.teardown(() => client.disconnect())
    client.on('error', () => {}) // the primary is killed
    t.equal(await client.ping(), 'PONG')
    await sentinel.freezeLastSentinel()
    await sentinel.failOver()
    t.equal(await client.ping(), 'PONG')
  },
)

t.test('a client follows a name to the new primary when its server becomes a replica', async t => {
  const old = await startRedis(t)
  const successor = await startRedis(t)
  if (old === undefined || successor === undefined) return
  const proxy = await TcpProxy.open(t, old.port)
  const target = parseRedisUrl(`redis://127.0.0.1:${proxy.port}`, false)
  const client = await createRedisClient(target, undefined, {}, null)
  t.teardown(() => client.disconnect())
  await client.set('key', 'old')
  proxy.target = successor.port
  await old.connect(t).replicaof('127.0.0.1', successor.port)
  await t.rejects(client.set('key', 'new'), /READONLY/)
  t.equal(await client.set('key', 'new'), 'OK')
  t.equal(await successor.connect(t).get('key'), 'new')
})

t.test('fleets on one Redis share a rate, records and hosts only by their name', async t => {
  const redis = await startRedis(t)
  if (redis === undefined) return
  const b = await bench(t)
  const client = redis.connect(t)
  const jobs = { a: 'rows-a', b: 'rows-b' }
  for (const [name, key] of Object.entries(jobs)) {
    const queue = new UploadQueue<TestSources>({ connection: client, name })
    t.teardown(() => queue.close())
    await queue.add({ key, source: 'content', args: { seed: 1, size: 200_000 } })
  }
  const startWorker = (queue: string, ...args: string[]): void => {
    const spool = `${b.dir}-${queue}`
    const worker = start(
      t.testdirName,
      [
        'worker',
        `--sources=${pathOf('test/fleet/sources.mjs')}`,
        `--redis=redis://127.0.0.1:${redis.port}`,
        `--queue=${queue}`,
        '--fleet-rate=50MB',
        '--host=same',
        ...args,
      ],
      undefined,
      { ...environment(b.oss), OSS_BUCKET: BUCKET, OSS_SPOOL_DIR: spool },
    )
    t.teardown(async () => {
      worker.child.kill('SIGKILL')
      await worker.done
      await removeDirectory(spool)
    })
  }
  startWorker('a')
  startWorker('b', '--fleet=other')
  await until(async () => (await Promise.all(Object.values(jobs).map(b.get))).every(Boolean))
  const keys = (await client.keys('*')).filter(key => !key.startsWith('bull:'))
  for (const fleet of ['a', 'other']) {
    for (const name of ['host:same', 'rate', 'fence']) t.ok(keys.includes(`${fleet}:${name}`), name)
  }
  t.same(
    keys.filter(key => !/^(a|other):/.test(key)),
    [],
  )
})
