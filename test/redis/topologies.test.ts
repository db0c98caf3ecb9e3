/** Jobs of a fleet over Sentinel, a cluster and TLS: added by the library, done by the command line. */
import t, { type Test } from 'tap'
import { UploadQueue, type JobSource, type UploadRequest } from '../../src/bullmq/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import type { InternalUploadOptions } from '../../src/upload/model/options.js'
import { environment, start, until, type Env, type Run } from '../support/command-line.js'
import { long } from '../support/long.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import {
  startCluster,
  startSentinel,
  startTlsRedis,
  type ClusterTopology,
} from '../support/redis-topologies.js'
import { removeDirectory } from '../support/remove-directory.js'

type TestSources = {
  readonly content: JobSource<{ seed: number; size: number; pace?: number }>
}

/** Starts a worker, which is killed when the test ends. */
function startWorker(
  t: Test,
  { oss, dir }: Bench,
  host: string,
  args: readonly string[],
  env: Env = {},
): Run {
  const spool = `${dir}-${host}`
  const sources = pathOf('test/fleet/sources.mjs')
  const times = ['--lock-timeout=3s', '--host-queue-timeout=60s', '--health=0']
  const worker = start(
    t.testdirName,
    ['worker', '--sources', sources, '--host', host, '--part-size=100KiB', ...times, ...args],
    undefined,
    { ...environment(oss), OSS_BUCKET: BUCKET, OSS_SPOOL_DIR: spool, ...env },
  )
  t.teardown(async () => {
    worker.child.kill('SIGKILL')
    await worker.done
    await removeDirectory(spool)
  })
  return worker
}

async function add(
  queue: UploadQueue<TestSources>,
  request: UploadRequest<TestSources>,
): Promise<string> {
  const { job } = await queue.add(request)
  return job.id ?? ''
}

/** Resolves when a job has reached a state. */
async function reaches(queue: UploadQueue<TestSources>, id: string, state: string): Promise<void> {
  await until(async () => {
    const job = await queue.find(id).catch(() => undefined) // Redis may be unreachable
    return (await job?.getState().catch(() => '')) === state
  })
}

/** All tests share a cluster, because it takes long to start. */
const cluster = await startCluster(t)

/** Empties the cluster for one test. */
async function openCluster(
  t: Test,
  cluster: ClusterTopology,
): Promise<{ b: Bench; queue: UploadQueue<TestSources>; keys: () => Promise<string[][]> }> {
  const b = await bench(t)
  const connection = cluster.connect()
  await connection.get('any') // connects to the nodes
  await Promise.all(connection.nodes('master').map(node => node.flushall()))
  const queue = new UploadQueue<TestSources>({ connection, prefix: '{spool}' })
  t.teardown(() => queue.close())
  const keys = (): Promise<string[][]> =>
    Promise.all(connection.nodes('master').map(node => node.keys('*')))
  return { b, queue, keys }
}

t.test('pruneUnknownJobs() finds the jobs of every queue of a cluster', async t => {
  if (cluster === undefined) return
  const { b, queue } = await openCluster(t, cluster)
  const connection = cluster.connect()
  const other = new UploadQueue<TestSources>({ connection, prefix: '{spool}', name: 'other' })
  const checkpointStore = redisCheckpoints(connection, { prefix: '{spool}@fleet' })
  t.teardown(async () => {
    checkpointStore.close()
    await other.close()
  })
  const spool = b.another({ checkpointStore })
  const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  b.oss.inject({ operation: 'PutObject', ...refused })
  for (const id of ['lost', 'known']) {
    const options: InternalUploadOptions = { id, fingerprint: 'of-a-job' }
    await t.rejects(spool.upload(id, () => [Buffer.alloc(1)], options))
  }
  const args = { seed: 1, size: 1 }
  await other.add({ key: 'known', source: 'content', args, id: 'known' })
  t.match(await queue.pruneUnknownJobs(spool), [{ id: 'lost' }])
  t.match(await spool.uploads(), [{ id: 'known' }])
})

t.test('workers do the jobs of a cluster, where all keys are in one slot', async t => {
  if (cluster === undefined) return
  const { b, queue, keys } = await openCluster(t, cluster)
  const args = [`--redis=${cluster.url}`, '--redis-prefix={spool}', '--fleet-rate=50MB']
  startWorker(t, b, 'a', args)
  const id = await add(queue, { key: 'k', source: 'content', args: { seed: 1, size: 300_000 } })
  await reaches(queue, id, 'completed')
  t.equal((await b.get('k'))?.length, 300_000)
  const flow = await queue.addFlow({
    job: 'night',
    manifest: 'night.json',
    objects: [
      { key: 'x', source: 'content', args: { seed: 2, size: 10 } },
      { key: 'y', source: 'content', args: { seed: 3, size: 200_000 } },
    ],
  })
  await reaches(queue, flow.id ?? '', 'completed')
  t.match(JSON.parse(String(await b.get('night.json'))), { size: 200_010 })
  const slow = { seed: 4, size: 3_000_000, pace: 100 }
  const cancelled = await add(queue, { key: 'c', source: 'content', args: slow })
  await reaches(queue, cancelled, 'active')
  t.equal(await queue.cancel(cancelled), 'stopping')
  await reaches(queue, cancelled, 'failed')
  const perNode = await keys()
  t.equal(perNode.filter(each => each.length > 0).length, 1)
  t.ok(perNode.flat().includes('{spool}@oss-spool:rate'))
})

// `test/bullmq/jobs.test.ts` covers the decision, and the test above the keys in a cluster.
void long(t, 'a job of a cluster waits for the host that has its bytes', async t => {
  if (cluster === undefined) return
  const { b, queue, keys } = await openCluster(t, cluster)
  const args = [`--redis=${cluster.url}`, '--redis-prefix={spool}']
  b.oss.inject({ operation: 'UploadPart', do: 'answer', status: 503, times: 'always' })
  const first = startWorker(t, b, 'a', args)
  const id = await add(queue, { key: 'k', source: 'content', args: { seed: 1, size: 300_000 } })
  await until(async () => (await keys()).flat().includes(`{spool}@oss-spool:record:${id}`))
  await until(() => b.oss.requests.filter(each => each.operation === 'UploadPart').length > 10)
  first.child.kill('SIGKILL')
  await first.done
  startWorker(t, b, 'b', args)
  await reaches(queue, id, 'waiting-children')
  b.oss.clearFaults()
  startWorker(t, b, 'a', args)
  await reaches(queue, id, 'completed')
  t.equal((await b.get('k'))?.length, 300_000)
  t.match((await queue.find(id))?.returnvalue, { host: 'a' })
})

t.test('a job continues after a Sentinel failover, and others follow', async t => {
  const sentinel = await startSentinel(t)
  if (sentinel === undefined) return
  const b = await bench(t)
  const queue = new UploadQueue<TestSources>({ connection: sentinel.connect() })
  t.teardown(() => queue.close())
  const worker = startWorker(t, b, 'a', [`--redis=${sentinel.url}`, '--fleet-rate=50MB'])
  const args = { seed: 1, size: 1_500_000, pace: 100 }
  const id = await add(queue, { key: 'k', source: 'content', args })
  await until(() => b.oss.requests.some(({ operation }) => operation === 'UploadPart'))
  await sentinel.failOver()
  await reaches(queue, id, 'completed')
  t.equal((await b.get('k'))?.length, 1_500_000)
  const next = await add(queue, { key: 'n', source: 'content', args: { seed: 2, size: 10 } })
  await reaches(queue, next, 'completed')
  worker.child.kill('SIGTERM')
  t.match(await worker.done, { status: 143, err: /Redis is unreachable/ })
})

// The test above covers the way to a successor.
void long(t, 'a primary that hangs is left for its successor', async t => {
  const sentinel = await startSentinel(t)
  if (sentinel === undefined) return
  const b = await bench(t)
  const queue = new UploadQueue<TestSources>({ connection: sentinel.connect() })
  t.teardown(() => queue.close())
  startWorker(t, b, 'a', [`--redis=${sentinel.url}`])
  const id = await add(queue, { key: 'k', source: 'content', args: { seed: 1, size: 10 } })
  await reaches(queue, id, 'completed')
  const hanging = await sentinel.primaryPort()
  await sentinel.killPrimary('SIGSTOP')
  await until(async () => (await sentinel.primaryPort()) !== hanging)
  const next = await add(queue, { key: 'n', source: 'content', args: { seed: 2, size: 10 } })
  await reaches(queue, next, 'completed')
  t.ok(await b.get('n'))
})

t.test('a worker connects by TLS with a client certificate and a password', async t => {
  const redis = await startTlsRedis(t)
  if (redis === undefined) return
  const b = await bench(t)
  const connection = redis.connect()
  await connection.acl('SETUSER', 'worker', 'on', '>pass-word', '~*', '&*', '+@all')
  const queue = new UploadQueue<TestSources>({ connection })
  t.teardown(() => queue.close())
  const { ca, cert, key } = redis.files
  const url = redis.url.replace('://', '://worker@')
  const args = [`--redis=${url}`, `--redis-ca=${ca}`, `--redis-cert=${cert}`, `--redis-key=${key}`]
  startWorker(t, b, 'a', args, { REDIS_PASSWORD: 'pass-word' })
  const id = await add(queue, { key: 'k', source: 'content', args: { seed: 1, size: 10 } })
  await reaches(queue, id, 'completed')
  t.ok(await b.get('k'))
})

t.test('a worker does not trust a server that another authority signed', async t => {
  const redis = await startTlsRedis(t)
  if (redis === undefined) return
  const b = await bench(t)
  const { cert, key } = redis.files
  const args = [`--redis=${redis.url}`, `--redis-cert=${cert}`, `--redis-key=${key}`]
  const worker = startWorker(t, b, 'a', args)
  let err = ''
  worker.child.stderr?.on('data', (chunk: Buffer) => (err += String(chunk)))
  await until(() => err.includes('Redis is unreachable'))
  t.match(err, 'certificate')
})
