/** `oss-spool worker` as shipped: real processes as machines, shut down gracefully or killed. */
import { writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { UploadQueue } from '../../src/bullmq/index.js'
import type { Emulator } from '../../src/emulator/index.js'
import { mapLimit } from '../../src/util/map-limit.js'
import { get, run, server, start, until, type Env, type Run } from '../support/command-line.js'
import { sampled } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { startRedis, type RedisServer } from '../support/redis.js'
import { schema } from '../support/schema.js'

/** Sources of 250,000 bytes: a quick one, and one that ends once a file named `open` exists. */
const SOURCES = `
import { existsSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
export default {
  quick: ({ byte }) => [Buffer.alloc(250_000, byte)],
  gated: async function* () {
    yield Buffer.alloc(200_000, 1)
    while (!existsSync('open')) await setTimeout(20)
    yield Buffer.alloc(50_000, 1)
  },
}`
const SIZE = 250_000
const PASSWORD = 'a-password-of-redis'

type Sources = {
  readonly quick: (args: { readonly byte: number }) => Buffer[]
  readonly gated: () => Buffer[]
}

const redis = await startRedis(t, '--requirepass', PASSWORD)

interface Site {
  readonly dir: string
  readonly oss: Emulator
  readonly env: Env
  readonly queue: UploadQueue<Sources>
  /** Starts a worker process as this host. `said()` returns its stderr so far. */
  readonly worker: (host: string, ...args: string[]) => Run & { readonly said: () => string }
}

async function site(t: Test, { port }: RedisServer): Promise<Site> {
  const dir = t.testdir({ 'sources.mjs': SOURCES })
  const { oss, env } = await server(t, dir)
  const { Redis } = await import('ioredis')
  const settings = { port, host: '127.0.0.1', password: PASSWORD, maxRetriesPerRequest: null }
  const connection = new Redis(settings)
  const name = `q-${Math.random().toString(36).slice(2)}`
  const queue = new UploadQueue<Sources>({ connection, name })
  t.teardown(async () => {
    await queue.close()
    connection.disconnect()
  })
  const all = { ...env, OSS_BUCKET: BUCKET, REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${port}` }
  const worker = (host: string, ...args: string[]) => {
    const spool = `--spool=${join(dir, `spool-${host}`)}`
    const how = ['--lock-timeout=2s', '--part-size=100KiB', '--sources=sources.mjs', ...args]
    const process = start(
      dir,
      ['worker', spool, `--host=${host}`, `--queue=${name}`, ...how],
      undefined,
      all,
    )
    let said = ''
    process.child.stderr?.on('data', (text: Buffer) => (said += String(text)))
    t.teardown(() => void process.child.kill('SIGKILL'))
    return { ...process, said: () => said }
  }
  return { dir, oss, env: all, queue, worker }
}

const parts = (oss: Emulator) =>
  oss.requests.filter(({ operation, status }) => operation === 'UploadPart' && status === 200)
    .length

if (redis !== undefined) {
  t.test('SIGTERM returns the job to the queue, and SIGKILL does not lose it', async t => {
    const { dir, oss, queue, worker } = await site(t, redis)
    const { job } = await queue.add({ key: 'k', source: 'gated' })
    const a = worker('a', '--health=0')
    await until(() => parts(oss) === 1)
    await until(() => /health on (\S+)/.test(a.said()))
    const url = /health on (\S+)/.exec(a.said())?.[1] ?? ''
    t.match(url, /^http:\/\/127\.0\.0\.1:/)
    const healthy = await fetch(url)
    t.equal(healthy.status, 200)
    const health: unknown = await healthy.json()
    t.match(health, { status: 'ok', host: 'a', active: 1, redis: true, eventLoopDelay: Number })
    t.match(health, { idleSources: { length: 0 } })
    t.equal((await fetch(new URL('/', url))).status, 404)
    a.child.kill('SIGTERM')
    const ended = await a.done
    t.equal(ended.status, 143)
    t.notMatch(ended.err + ended.out, PASSWORD)
    t.equal(await job.getState(), 'waiting')
    t.match(await queue.find(job.id ?? ''), { attemptsMade: 0 })

    const b = worker('b')
    await until(async () => (await job.getState()) === 'active')
    await until(() => /working on/.test(b.said()))
    b.child.kill('SIGKILL')
    await b.done
    writeFileSync(join(dir, 'open'), '')
    // The bytes of b are not needed; its locks expire after two seconds.
    const c = worker('c', '--json', '--host-queue-timeout=1s', '--fleet-rate=50MB')
    await until(async () => (await job.getState()) === 'completed')
    t.match(await queue.find(job.id ?? ''), { returnvalue: { host: 'c', size: SIZE } })
    t.same(await get(oss, 'k'), Buffer.alloc(SIZE, 1))
    c.child.kill('SIGINT')
    const { status, out } = await c.done
    t.equal(status, 130)
    t.match(JSON.parse(out), { id: job.id, key: 'k', size: SIZE })
    t.equal(parts(oss), 3, 'parts on OSS are not sent again')
  })

  t.test('worker --metrics describes the uploads of its host and the last job', async t => {
    const { dir, oss, queue, worker } = await site(t, redis)
    const file = join(dir, 'worker.prom')
    const metrics = () => readFile(file, 'utf8').catch(() => '')
    const a = worker('a', `--metrics=${file}`, '--log-format=json', '--retries=1')
    await until(async () => /unfinished_uploads\{phase="spooling"\} 0/.test(await metrics()))
    t.notMatch(await metrics(), 'command="worker"', 'no job has completed')
    const { job: done } = await queue.add({ key: 'quick', source: 'quick', args: { byte: 7 } })
    await until(async () => (await done.getState()) === 'completed')
    oss.inject({ operation: 'UploadPart', do: 'answer', status: 500, times: 'always' })
    const { job: failing } = await queue.add({ key: 'failing', source: 'quick', args: { byte: 8 } })
    await until(() => a.said().includes('will be retried'))
    a.child.kill('SIGTERM')
    const { status, err } = await a.done
    t.equal(status, 143)
    const lines = err
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    for (const line of lines) schema('log')(line)
    t.match(
      lines.find(({ message }) => message.includes('will be retried')),
      { level: 'warn', id: failing.id, code: 'ERR_SPOOL_UPLOAD_FAILED' },
    )
    t.match(await metrics(), /last_success_timestamp_seconds\{command="worker"\} \d/)
    t.match(await metrics(), /last_duration_seconds\{command="worker"\} \d/)
    t.match(await metrics(), 'oss_spool_quarantined_uploads 0')
  })

  t.test('worker --metrics rejects a file that node_exporter does not read', async t => {
    const { worker } = await site(t, redis)
    t.match(await worker('a', '--metrics=worker.txt').done, { status: 2, err: /\.prom/ })
  })

  t.test('invalid usage exits with 2 before any work', async t => {
    const { dir, env } = await site(t, redis)
    writeFileSync(join(dir, 'none.mjs'), 'export const a = 1')
    const secret = `redis://:${PASSWORD}@127.0.0.1`
    const wrong: [args: string[], hint: RegExp, more?: Env][] = [
      [['--sources=sources.mjs', `--redis=${secret}`], /password in --redis/],
      [['--sources=sources.mjs'], /URL of Redis must be/, { REDIS_URL: `http://x:${PASSWORD}@y` }],
      [['--sources=sources.mjs'], /No Redis/, { REDIS_URL: '' }],
      [['--sources=sources.mjs'], /No bucket/, { OSS_BUCKET: '' }],
      [['--sources=missing.mjs'], /missing\.mjs cannot be loaded/],
      [['--sources=none.mjs'], /exports no functions/],
      [['--sources=sources.mjs', '--concurrency=0'], /--concurrency must be/],
      [['--sources=sources.mjs', '--health=x'], /\[HOST:\]PORT/],
      [[], /No sources: set --sources/],
    ]
    // Two concurrent processes, to match a machine with two cores.
    await mapLimit(2, sampled(t, wrong, 4), async ([args, hint, more]) => {
      const { status, err } = await run(dir, ['worker', ...args], undefined, { ...env, ...more })
      t.match({ status, err }, { status: 2, err: hint }, args.join(' '))
      t.notMatch(err, PASSWORD)
    })
  })
}
