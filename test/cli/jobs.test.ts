/** `oss-spool jobs` against a real Redis, with real workers. */
import { Queue } from 'bullmq'
import t, { type Test } from 'tap'
import { jobStatusOf } from '../../src/cli/jobs/job-status.js'
import { parseStates } from '../../src/cli/jobs/job-states.js'
import { UsageError } from '../../src/cli/exit-status.js'
import {
  environment,
  get,
  server,
  shell as command,
  start,
  until,
  type Ended,
  type Env,
} from '../support/command-line.js'
import { run } from '../support/in-process.js'
import type { Emulator } from '../../src/emulator/index.js'
import { BUCKET } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { startRedis } from '../support/redis.js'

const SOURCES = pathOf('test/fleet/sources.mjs')
const CONTENT = '{"seed":1,"size":1000}'

const redis = await startRedis(t)

/** A queue of its own in the Redis of all tests. */
class JobShell {
  readonly dir: string
  readonly oss: Emulator
  readonly env: Env
  readonly queue: Queue
  readonly #t: Test

  constructor(t: Test, dir: string, oss: Emulator, port: number) {
    this.#t = t
    this.dir = dir
    this.oss = oss
    const name = `queue-${Math.random().toString(36).slice(2)}`
    this.env = {
      ...environment(oss),
      OSS_BUCKET: BUCKET,
      OSS_SPOOL_QUEUE: name,
      REDIS_URL: `redis://127.0.0.1:${port}`,
    }
    this.queue = new Queue(name, { connection: { port, host: '127.0.0.1' } })
    t.teardown(() => this.queue.close())
  }

  jobs(...args: string[]): Promise<Ended> {
    return run(this.dir, ['jobs', ...args], undefined, this.env)
  }

  /** Returns the JSON lines of a command that succeeds. */
  async lines(...args: string[]): Promise<{ id: string; [name: string]: unknown }[]> {
    const { out, err, status } = await this.jobs(...args, '--json')
    this.#t.equal(status, 0, err)
    return out
      .split('\n')
      .slice(0, -1)
      .map(line => JSON.parse(line))
  }

  async worker<T>(while_: () => Promise<T>): Promise<T> {
    const args = ['worker', '--sources', SOURCES, '--host=a']
    const { child, done } = start(this.dir, args, undefined, this.env)
    try {
      return await while_()
    } finally {
      child.kill('SIGTERM')
      await done
    }
  }
}

function jobsTest(name: string, body: (t: Test, shell: JobShell) => Promise<void>): void {
  if (redis === undefined) return
  t.test(name, async t => {
    const dir = t.testdir({})
    const { oss } = await server(t, dir)
    await body(t, new JobShell(t, dir, oss, redis.port))
  })
}

jobsTest('jobs add adds a job once, which a worker runs', async (t, shell) => {
  const add = ['add', `oss://${BUCKET}/some/key`, '--source=content', '--args', CONTENT, '--id=one']
  t.match(await shell.jobs(...add), { status: 0, out: 'one: added\n', err: '' })
  t.match(await shell.jobs(...add), { status: 0, out: 'one: is there already\n', err: '' })
  t.same(await shell.lines(...add), [{ id: 'one', outcome: 'found' }])
  const other = ['add', 'other', '--source=content', '--args', CONTENT, '--id=one']
  t.match(await shell.jobs(...other), { status: 1, out: '', err: /ERR_SPOOL_ID_IN_USE/ })
  await shell.worker(() => until(async () => (await shell.queue.getCompletedCount()) === 1))
  t.equal((await get(shell.oss, 'some/key'))?.length, 1000)
  t.same(await shell.lines('ls'), [])
  t.match(await shell.lines('ls', '--state=completed'), [
    {
      id: 'one',
      state: 'completed',
      key: 'some/key',
      source: 'content',
      host: 'a',
      progress: { spooled: 1000, uploaded: 1000, size: 1000 },
      endedAt: String,
    },
  ])
})

jobsTest('jobs add proposes another id only where it helps', async (t, shell) => {
  const add = (key: string, ...args: string[]) =>
    shell.jobs('add', key, '--source=content', ...args)
  await add('key', '--args', CONTENT, '--id=one')
  const inUse = { status: 1, err: /ERR_SPOOL_ID_IN_USE/ }
  const sameId = await add('other', '--args', CONTENT, '--id=one')
  t.match(sameId, { ...inUse, err: /Use another --id/ })
  t.equal((await add('other', '--args', CONTENT, '--id=two')).status, 0)
  const sameKey = await add('key', '--id=three')
  t.match(sameKey, inUse)
  t.notMatch(sameKey.err, /another --id/)
  t.equal((await shell.jobs('cancel', 'one')).status, 0)
  t.equal((await add('key', '--id=three')).status, 0)
})

jobsTest('a worker proposes commands that find the uploads of its jobs', async (t, shell) => {
  const refusal = shell.oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    times: 'always',
  })
  await shell.jobs('add', 'key', '--source=content', '--args', CONTENT, '--id=one', '--attempts=1')
  const worker = start(shell.dir, ['worker', '--sources', SOURCES], undefined, shell.env)
  await until(async () => (await shell.queue.getFailedCount()) === 1)
  worker.child.kill('SIGTERM')
  const { err } = await worker.done
  refusal.remove()
  const line = /run "(oss-spool resume [^"]*)"/.exec(err)?.[1] ?? 'false'
  const resumed = await command(shell.dir, line, shell.env).done
  t.match(resumed, { status: 0 }, `${line}: ${resumed.err}`)
  t.equal((await get(shell.oss, 'key'))?.length, 1000)
})

jobsTest('jobs add passes the options of the job', async (t, shell) => {
  const options = ['--priority=7', '--delay=10m', '--attempts=3']
  const [added] = await shell.lines('add', 'dir/key', '--source=content', ...options)
  const id = added?.id ?? ''
  t.match(id, /^key-/)
  const { opts } = (await shell.queue.getJob(id)) ?? {}
  t.match(opts, { priority: 7, delay: 600_000, attempts: 3 })
  t.match(await shell.lines('ls', '--state', 'delayed'), [{ id, priority: 7, maxAttempts: 3 }])
  t.same(await shell.lines('ls', '--state=waiting,active'), [])
})

jobsTest('wrong arguments of jobs are usage errors before any work', async (t, shell) => {
  const wrong = [
    ['add', 'key'],
    ['add', 'key', '--source=content', '--args={secret'],
    ['add', `oss://other-${BUCKET}/key`, '--source=content'],
    ['add', '', '--source=content'],
    ['add', 'key', '--source=content', '--attempts=0'],
    ['add', 'key', '--source=content', '--id='],
    ['add', 'key', '--source=content', '--delay=soon'],
    ['ls', '--state=sleeping'],
    ['ls', '--limit=0'],
    ['ls', '--queue=a:b'],
    ['cancel'],
    ['retry'],
    ['retry', 'one', '--failed'],
    ['ls', '--redis=redis://:some-password@127.0.0.1'],
    ['ls', '--redis=http://127.0.0.1'],
    ['other'],
    [],
  ]
  for (const args of wrong) {
    const { status, out, err } = await shell.jobs(...args)
    t.match({ status, out }, { status: 2, out: '' }, args.join(' '))
    t.notMatch(err, /secret|some-password/)
  }
  const noBucket = { ...shell.env, OSS_BUCKET: '' }
  const add = ['jobs', 'add', `oss://${BUCKET}/key`, '--source=content']
  t.match(await run(shell.dir, add, undefined, noBucket), { status: 2, err: /--bucket/ })
  t.equal(
    Object.values(await shell.queue.getJobCounts()).reduce((sum, n) => sum + n, 0),
    0,
  )
})

jobsTest('jobs ls escapes text from Redis and limits the list', async (t, shell) => {
  const key = 'a\u001b]0;title\u0007\nb'
  await shell.queue.add('\u001b[31m', { key, source: '\u202e' }, { jobId: 'bad\u001b[2J' })
  await shell.queue.add('x', 'no object', { jobId: 'text' })
  await shell.queue.add('x', { key: { a: 1 }, source: 7 }, { jobId: 'types' })
  const { out, status } = await shell.jobs('ls')
  t.equal(status, 0)
  t.equal(out.trimEnd().split('\n').length, 4)
  t.notMatch(out.replaceAll('\n', ''), /[\p{Cc}\u202e]/u)
  t.match(out, 'a\\x1b]0;title\\x07 b')
  t.match(await shell.lines('ls'), [
    { id: 'bad\u001b[2J', key, state: 'waiting' },
    { id: 'text', key: '' },
    { id: 'types', key: '' },
  ])
  const limited = await shell.jobs('ls', '--limit=2')
  t.equal(limited.out.trimEnd().split('\n').length, 3)
  t.match(limited, { status: 0, err: /2 of 3/ })
  t.match(await shell.jobs('ls', '--limit=2', '--quiet'), { status: 0, err: '' })
  t.match(await shell.jobs('ls', '--limit=3'), { status: 0, err: '' })
})

jobsTest('jobs cancel stops jobs in each state', async (t, shell) => {
  const slow = '{"seed":1,"size":100000000,"pace":100}'
  await shell.jobs('add', 'running', '--source=content', '--args', slow, '--id=running')
  await shell.worker(async () => {
    await until(async () => (await shell.queue.getActiveCount()) === 1)
    await shell.jobs('add', 'late', '--source=content', '--id=late', '--delay=1d')
    t.match(await shell.jobs('cancel', 'running', 'late'), { status: 0, err: '' })
    await until(async () => (await shell.queue.getFailedCount()) === 1)
  })
  t.equal(await get(shell.oss, 'running'), undefined)
  t.equal(await shell.queue.getJob('late'), undefined)
  const ended = await shell.jobs('cancel', 'running', 'unknown', '--json')
  t.equal(ended.status, 1)
  t.same(
    new Set(ended.out.trim().split('\n')),
    new Set(['{"id":"running","outcome":"ended"}', '{"id":"unknown","outcome":"unknown"}']),
  )
  t.match(ended.err, /unknown/)
})

jobsTest('jobs retry runs failed jobs again', async (t, shell) => {
  for (const id of ['a', 'b', 'c']) {
    await shell.jobs('add', `key-${id}`, '--source=broken', `--id=${id}`, '--attempts=1')
  }
  await shell.worker(() => until(async () => (await shell.queue.getFailedCount()) === 3))
  t.match(await shell.lines('ls', '--state=failed'), [
    { state: 'failed', error: String },
    { state: 'failed' },
    { state: 'failed' },
  ])
  t.same(await shell.lines('retry', 'a'), [{ id: 'a', outcome: 'retried' }])
  t.match(await shell.jobs('retry', 'a', 'none'), { status: 1, out: '', err: /a: .*\n.*none: / })
  t.equal((await shell.lines('retry', '--failed')).length, 2)
  t.match(await shell.jobs('retry', '--failed'), { status: 0, out: '' })
  t.equal(await shell.queue.getWaitingCount(), 3)
})

jobsTest('queues of other names and prefixes have other jobs', async (t, shell) => {
  await shell.jobs('add', 'key', '--source=content', '--id=one', '--redis-prefix=other')
  t.same(await shell.lines('ls'), [])
  t.match(await shell.lines('ls', '--redis-prefix=other'), [{ id: 'one' }])
  t.match(await shell.jobs('cancel', 'one', '--queue=third'), { status: 1 })
})

jobsTest('a job that cannot be read hides no other one', async (t, shell) => {
  const add = (id: string) =>
    shell.jobs('add', `key-${id}`, '--source=content', '--args', CONTENT, `--id=${id}`)
  for (const id of ['one', 'damaged', 'two']) t.equal((await add(id)).status, 0)
  const client = redis?.connect(t)
  await client?.hset(shell.queue.toKey('damaged'), 'data', '{"key": ')
  t.match(await shell.lines('ls'), [
    { id: 'one', key: 'key-one' },
    { id: 'damaged', key: '', error: /damaged/ },
    { id: 'two', key: 'key-two' },
  ])
  const cancelled = await shell.jobs('cancel', 'damaged', 'two', '--json')
  t.equal(cancelled.status, 1)
  t.match(
    cancelled.out
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line)),
    [
      { id: 'damaged', outcome: 'damaged' },
      { id: 'two', outcome: 'removed' },
    ],
  )
})

t.test('jobs fails within seconds if Redis does not answer', async t => {
  const dir = t.testdir({})
  for (const url of [
    'redis://:some-password@127.0.0.1:1',
    'redis://user:some-password@127.0.0.1:1/0',
  ]) {
    const { status, out, err } = await run(dir, ['jobs', 'ls', '--json'], undefined, {
      REDIS_URL: url,
    })
    t.equal(status, 1)
    t.match(JSON.parse(out), { error: { code: 'ERR_SPOOL_UNREADABLE' } })
    t.notMatch(out + err, 'some-password')
  }
})

t.test('a job may have data of any type', t => {
  const job = {
    id: undefined,
    attemptsMade: Number.NaN,
    timestamp: 1e300,
    processedOn: -1,
    finishedOn: undefined,
    failedReason: undefined,
    data: null,
    opts: null,
    progress: true,
    returnvalue: 'x',
  }
  // A job of BullMQ may be so, despite its type.
  const status = jobStatusOf(job as unknown as Parameters<typeof jobStatusOf>[0], 'waiting')
  t.same(status, { id: '', state: 'waiting', key: '', attempts: 0, maxAttempts: 1 })
  t.end()
})

t.test('states are parsed in the order of the list, each once', t => {
  t.same(parseStates('waiting, active'), ['active', 'waiting'])
  t.same(parseStates('failed,failed'), ['failed'])
  for (const text of ['', 'all', 'waiting,', 'toString']) {
    t.throws(() => parseStates(text), UsageError, text)
  }
  t.end()
})
