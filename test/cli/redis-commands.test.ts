/** `ls`, `show`, `resume`, `abort` and `prune` with the records of a fleet in a real Redis. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { UploadQueue } from '../../src/bullmq/index.js'
import type { Spool } from '../../src/index.js'
import type { InternalUploadOptions } from '../../src/upload/model/options.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { environment, type Ended } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { startRedis, type RedisServer } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'

const SIZE = 2 * 102_400 + 1

const redis = await startRedis(t)

/** Hosts of a fleet, and a shell on each of them. */
class FleetShell {
  readonly bench: Bench
  readonly fleet = `fleet-${Math.random().toString(36).slice(2)}`
  readonly #t: Test
  readonly #server: RedisServer

  constructor(t: Test, b: Bench, server: RedisServer) {
    this.#t = t
    this.bench = b
    this.#server = server
  }

  connect(): Redis {
    return this.#server.connect(this.#t)
  }

  dir(host: string): string {
    const dir = `${this.bench.dir}-${host}`
    this.#t.teardown(() => removeDirectory(dir))
    return dir
  }

  spool(host: string): Spool {
    const options = { host, prefix: this.fleet }
    const checkpointStore = redisCheckpoints(this.connect(), options)
    this.#t.teardown(() => checkpointStore.close())
    return this.bench.another({ dir: this.dir(host), checkpointStore })
  }

  /** Seals an upload on a host, which OSS refuses to publish. */
  async seal(host: string, id: string): Promise<void> {
    const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    this.bench.oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
    const uploaded = this.spool(host).upload(`key-${id}`, () => [Buffer.alloc(SIZE)], { id })
    await this.#t.rejects(uploaded, { code: 'ERR_SPOOL_DENIED' })
    this.bench.oss.clearFaults()
  }

  /** Runs a command on a host, with its Redis in the environment. */
  run(host: string, ...args: string[]): Promise<Ended> {
    return run(this.#t.testdirName, args, undefined, {
      ...environment(this.bench.oss),
      REDIS_URL: `redis://127.0.0.1:${this.#server.port}`,
      OSS_SPOOL_DIR: this.dir(host),
      OSS_SPOOL_HOST: host,
    })
  }

  /** Runs a command on the fleet's records. */
  onFleet(host: string, ...args: string[]): Promise<Ended> {
    return this.run(host, ...args, '--fleet', this.fleet)
  }
}

function fleetTest(name: string, body: (t: Test, shell: FleetShell) => Promise<void>): void {
  if (redis === undefined) return
  t.test(name, async t => body(t, new FleetShell(t, await bench(t), redis)))
}

fleetTest('ls and show describe the uploads of all hosts', async (t, shell) => {
  await shell.seal('a', 'one')
  await shell.seal('b', 'two')
  t.match(await shell.run('a', 'ls'), { status: 0, out: '', err: '' }, 'REDIS_URL selects nothing')
  const { out, status } = await shell.onFleet('office', 'ls', '--json')
  t.equal(status, 0)
  const listed = out.trim().split('\n')
  t.match(
    listed.map(line => JSON.parse(line)),
    [
      { id: 'one', host: 'a', resumable: true },
      { id: 'two', host: 'b', resumable: true },
    ],
  )
  t.match(await shell.onFleet('office', 'ls'), { out: /HOST[\s\S]*one.*\ba\b[\s\S]*two.*\bb\b/ })
  const shown = await shell.onFleet('b', 'show', 'one', '--json')
  t.match(JSON.parse(shown.out), { id: 'one', host: 'a', crc64: String, directory: undefined })
  t.match(await shell.onFleet('b', 'show', 'one'), { status: 0, out: /Next: resume it on host a/ })
  const own = await shell.onFleet('a', 'show', 'one')
  t.match(own, { status: 0, out: `resume one --fleet ${shell.fleet}` })
  t.match(own.out, shell.dir('a'))
  const unnamed = await shell.onFleet('a', 'show', 'one', '--host=c')
  t.match(
    unnamed,
    { status: 0, out: /Next: resume it on host a/ },
    'its directory has another name',
  )
  t.match(await shell.onFleet('b', 'show', 'none'), { status: 1, err: /ERR_SPOOL_NOT_FOUND/ })
})

fleetTest(
  'resume finishes what is on this host and names the host of the rest',
  async (t, shell) => {
    await shell.seal('a', 'one')
    await shell.seal('b', 'two')
    const elsewhere = await shell.onFleet('b', 'resume', 'one')
    t.match(elsewhere, { status: 75, out: '', err: /ERR_SPOOL_LOCKED.*host a/ })
    t.match(await shell.onFleet('b', 'resume', `oss://${BUCKET}/key-one`), { status: 75 })
    const all = await shell.onFleet('b', 'resume', '--all')
    t.match(all, { status: 0, out: `oss://${BUCKET}/key-two`, err: /one.*skipped.*host a/ })
    t.match(await shell.onFleet('a', 'resume', 'on', '--json'), { status: 0, out: /"id":"one"/ })
    t.match(await shell.onFleet('a', 'ls'), { status: 0, out: '' })
    t.equal((await shell.bench.get('key-one'))?.length, SIZE)
  },
)

fleetTest('abort ends the upload of any host', async (t, shell) => {
  await shell.seal('a', 'one')
  const aborted = await shell.onFleet('office', 'abort', 'one', '--json')
  t.match(aborted, { status: 0, out: '{"id":"one","aborted":true}\n' })
  t.equal(shell.bench.count('AbortMultipartUpload'), 1)
  t.match(await shell.onFleet('office', 'ls'), { status: 0, out: '' })
  t.ok(existsSync(join(shell.dir('a'), 'one')), 'its bytes are on its host')
  t.same(await shell.spool('a').uploads(), [])
  t.same(readdirSync(shell.dir('a')), ['quarantine'])
  t.match(await shell.onFleet('a', 'abort', '--all'), { status: 2 })
  t.match(await shell.onFleet('a', 'abort', 'one'), { status: 1, err: /ERR_SPOOL_NOT_FOUND/ })
})

fleetTest('an upload that a worker works on is neither resumed nor aborted', async (t, shell) => {
  const stop = new AbortController()
  let started = (): void => {}
  const isStarted = new Promise<void>(resolve => (started = resolve))
  const uploading = shell.spool('a').upload(
    'key',
    async function* () {
      yield Buffer.alloc(SIZE)
      started()
      await new Promise((_, reject) => stop.signal.addEventListener('abort', reject))
    },
    { id: 'active', signal: stop.signal },
  )
  await isStarted
  t.match(await shell.onFleet('b', 'abort', 'active'), { status: 1, err: /ERR_SPOOL_LOCKED/ })
  t.match(await shell.onFleet('b', 'resume', 'active'), { status: 75, err: /ERR_SPOOL_LOCKED/ })
  stop.abort()
  await t.rejects(uploading, { code: 'ERR_SPOOL_ABORTED' })
})

fleetTest('prune removes stale records and the quarantine of a fleet', async (t, shell) => {
  await shell.seal('a', 'one')
  const all = ['prune', '--older-than=0s', '--yes', '--json']
  t.match(await shell.onFleet('a', ...all), { status: 0, out: '' })
  const pruned = await shell.onFleet('a', ...all, '--sealed')
  t.match(JSON.parse(pruned.out), { kind: 'upload', id: 'one' })
  t.same(readdirSync(shell.dir('a')), [])
  t.match(await shell.onFleet('a', 'ls'), { status: 0, out: '' })
})

fleetTest('the wrong name of a fleet changes nothing', async (t, shell) => {
  await shell.seal('a', 'one')
  const before = readdirSync(join(shell.dir('a'), 'one'))
  const commands = [
    ['ls'],
    ['resume', '--all'],
    ['resume', 'one'],
    ['abort', 'one'],
    ['prune', '--older-than=0s', '--sealed', '--yes'],
  ]
  for (const args of commands) await shell.run('a', ...args, '--fleet=another')
  t.same(readdirSync(join(shell.dir('a'), 'one')), before)
  t.match(await shell.onFleet('a', 'resume', 'one'), { status: 0 })
})

t.test('commands on a fleet fail within seconds if Redis does not answer', async t => {
  const dir = t.testdir({})
  const env = { REDIS_URL: 'redis://:some-password@127.0.0.1:1' }
  const commands = [['ls'], ['show', 'id'], ['resume', 'id'], ['abort', 'id'], ['prune']]
  await Promise.all(
    commands.map(async command => {
      const args = [...command, '--fleet=fleet', '--json']
      if (!['ls', 'show'].includes(args[0] ?? '')) args.push('--local=objects')
      const { status, out, err } = await run(dir, args, undefined, env)
      t.equal(status, 1, err)
      t.match(JSON.parse(out), { error: { code: 'ERR_SPOOL_UNREADABLE', resumable: false } })
      t.notMatch(out + err, 'some-password')
    }),
  )
})

t.test('wrong flags of a fleet are usage errors', async t => {
  const dir = t.testdir({})
  for (const flag of [
    '--redis=redis://:some-password@127.0.0.1',
    '--redis=http://127.0.0.1',
    '--fleet=a:b',
    '--fleet=oss-spool',
    '--host=a b',
  ]) {
    const { status, out, err } = await run(dir, ['ls', flag])
    t.match({ status, out }, { status: 2, out: '' }, flag)
    t.notMatch(err, 'some-password')
  }
})

fleetTest(
  'prune --unknown-jobs removes the uploads of jobs that no queue has',
  async (t, shell) => {
    const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    shell.bench.oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
    const source = () => [Buffer.alloc(SIZE)]
    for (const id of ['lost', 'known']) {
      const options: InternalUploadOptions = { id, fingerprint: 'of-a-job' }
      await t.rejects(shell.spool('a').upload(`key-${id}`, source, options))
    }
    await t.rejects(shell.spool('a').upload('key-own', source, { id: 'own' }))
    const connection = shell.connect()
    const queue = new UploadQueue({ connection, name: shell.fleet })
    t.teardown(() => queue.close())
    await queue.queue.add('any', { key: 'key-known', source: 'any' }, { jobId: 'known' })

    t.match(await shell.run('a', 'prune', '--unknown-jobs'), { status: 2, out: '' })
    const entry = { kind: 'upload', id: 'lost', bucket: BUCKET, key: 'key-lost' }
    const all = ['prune', '--unknown-jobs', '--older-than', '0s', '--sealed', '--dry-run', '--json']
    const listed = await shell.onFleet('office', ...all)
    t.equal(listed.status, 0)
    const lines = listed.out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    t.same(
      lines.filter(({ id }) => id === 'lost'),
      [entry],
      'is listed once',
    )
    const pruned = await shell.onFleet('office', 'prune', '--unknown-jobs', '--json')
    t.match(pruned, { status: 0, out: `${JSON.stringify(entry)}\n` })
    t.equal(shell.bench.count('AbortMultipartUpload'), 1)
    const left = await shell.spool('a').uploads()
    t.same(
      left.map(({ id }) => id),
      ['known', 'own'],
    )
  },
)
