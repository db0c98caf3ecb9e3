/** A mistyped option is an error everywhere: it would silently have no effect. */
import t from 'tap'
import {
  sandboxedSources,
  UploadWorker,
  type Sources,
  type UploadWorkerOptions,
} from '../src/bullmq/index.js'
import { startEmulator } from '../src/emulator/index.js'
import { csv, rotate, tap } from '../src/etl/index.js'
import { Spool, type SpoolOptions } from '../src/index.js'
import { fleetRate, redisCheckpoints } from '../src/redis/index.js'

const WRONG = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE', message: /partsize/ }

/** Options with one that is mistyped, hidden from the compiler. */
function mistyped<T extends object>(options: T): T {
  return { ...options, partsize: 5 }
}

const keys = { accessKeyId: 'id', accessKeySecret: 'secret' }
const client = { ...keys, region: 'oss-cn-hangzhou', bucket: 'bucket' }

t.test('an unknown option is a TypeError that names it', async t => {
  const options: SpoolOptions = { client, dir: t.testdir() }
  const spool = new Spool(options)
  const source = (): string[] => ['bytes']
  t.throws(() => new Spool(mistyped(options)), WRONG)
  t.throws(() => new Spool({ ...options, retry: mistyped({}) }), WRONG)
  t.throws(() => new Spool({ ...options, expect: mistyped({}) }), WRONG)
  t.throws(() => spool.createWriteStream('key', mistyped({})), WRONG)
  await t.rejects(spool.upload('key', source, mistyped({})), WRONG)
  await t.rejects(spool.upload('key', source, { retry: mistyped({}) }), WRONG)
  await t.rejects(spool.resume('id', mistyped({})), WRONG)
  await t.rejects(spool.abort('id', mistyped({})), WRONG)
  await t.rejects(spool.uploads(mistyped({})), WRONG)
  await t.rejects(spool.prune(mistyped({})), WRONG)
  const job = { job: 'job', key: '{seq}.txt' }
  t.throws(() => rotate<string>(spool, mistyped(job)), WRONG)
  t.throws(() => rotate<string>(spool, { ...job, every: mistyped({}) }), WRONG)
  t.throws(() => rotate<string>(spool, { ...job, upload: mistyped({}) }), WRONG)
  t.throws(() => rotate<string>(spool, { ...job, commit: mistyped({ ms: 1 }) }), WRONG)
  t.throws(() => rotate<string>(spool, { ...job, deadLetter: mistyped({ key: 'bad' }) }), WRONG)
  t.throws(() => rotate(spool, { ...job, transform: mistyped({ format: 'gzip' as const }) }), WRONG)
  t.throws(() => tap(() => {}, mistyped({})), WRONG)
  await t.rejects(csv(mistyped({})), WRONG)
  const redis = { call: async (): Promise<unknown> => 'OK' }
  t.throws(() => redisCheckpoints(redis, mistyped({})), WRONG)
  t.throws(() => fleetRate(redis, 5_000, mistyped({})), WRONG)
  await t.rejects(sandboxedSources('/sources.mjs', mistyped({})), WRONG)
  await t.rejects(startEmulator(mistyped({})), { name: 'TypeError', message: /partsize/ })
})

t.test('options that are no object are a TypeError', async t => {
  const redis = { call: async (): Promise<unknown> => 'OK' }
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
  for (const value of [null, 5, 'text']) {
    const none = value as unknown as object // hidden from the compiler
    t.throws(() => redisCheckpoints(redis, none), wrong)
    t.throws(() => fleetRate(redis, 5_000, none), wrong)
    t.throws(() => new UploadWorker(none as UploadWorkerOptions<Sources>), wrong)
    await t.rejects(sandboxedSources('/sources.mjs', none), wrong)
    await t.rejects(startEmulator(none), { name: 'TypeError', message: /options/ })
    t.throws(() => rotate<string>(none as Spool, { job: 'job', key: '{seq}.txt' }), wrong)
  }
})

t.test('options of a fleet have their types', async t => {
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
  const redis = { call: async (): Promise<unknown> => 'OK' }
  const prefix: object = { prefix: 5 }
  t.throws(() => fleetRate(redis, 5_000, prefix), wrong)
  for (const execArgv of ['--max-old-space-size=512', [5], null]) {
    const options: object = { execArgv }
    await t.rejects(sandboxedSources('/sources.mjs', options), wrong)
  }
})

t.test('the error proposes the name in the right case', async t => {
  const spool = new Spool({ client, dir: t.testdir() })
  t.throws(() => spool.createWriteStream('key', mistyped({})), { message: /Allowed: "partSize"/ })
})

t.test('an option of resume() is not an option of what is resumed', async t => {
  const spool = new Spool({ client, dir: t.testdir() })
  const options: object = { partSize: 200_000 }
  await t.rejects(spool.resume('id', options), { code: 'ERR_INVALID_ARG_VALUE' })
})

t.test('flags of methods must be booleans', async t => {
  const spool = new Spool({ client, dir: t.testdir() })
  const calls: Record<string, (options: object) => Promise<unknown>> = {
    remote: options => spool.abort('id', options),
    force: options => spool.resume('id', options),
    all: options => spool.uploads(options),
    receipts: options => spool.uploads(options),
    sealed: options => spool.prune(options),
    orphans: options => spool.prune(options),
    dryRun: options => spool.prune(options),
  }
  for (const [name, call] of Object.entries(calls)) {
    const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
    await t.rejects(call({ [name]: 'no' }), wrong, name)
  }
})

t.test('maxRate must be a number, a shared limit, or both', async t => {
  for (const maxRate of [null, 'fast', {}, [null]]) {
    const options: object = { client, dir: t.testdir(), maxRate }
    t.throws(() => new Spool(options as SpoolOptions), { code: 'ERR_INVALID_ARG_TYPE' })
  }
})

t.test('dir must be a string that is not empty', async t => {
  const options: object = { client, dir: 5 }
  t.throws(() => new Spool(options as SpoolOptions), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => new Spool({ client, dir: '' }), { code: 'ERR_INVALID_ARG_VALUE' })
})
