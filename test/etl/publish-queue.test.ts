/**
 * `rotate({ commit: { onUploadFailure } })`: records do not wait for OSS, ended objects wait on the disk and
 * are published once OSS accepts them. Also keys by the time of arrival.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { rotate, type RotateOptions, type RotateStream } from '../../src/etl/index.js'
import type { UploadResult } from '../../src/index.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { until } from '../support/command-line.js'
import { pathOf } from '../support/project.js'

const WORKER = pathOf('test/etl/outage-worker.mjs')

const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const PUTS = { operation: 'PutObject', ...DENIED } as const

interface Job {
  readonly sink: RotateStream<string>
  readonly failures: unknown[]
  readonly results: UploadResult[]
}

/** Opens a job with one object per ten lines, whose errors are expected. */
function open(b: Bench, options: Partial<RotateOptions<string>> = {}): Job {
  const failures: unknown[] = []
  const results: UploadResult[] = []
  const sink = rotate<string>(b.spool, {
    job: 'job',
    key: 'logs/{job}-{seq}',
    every: { records: 10 },
    maxEnding: 2,
    ...options,
    commit: { ms: 10, onUploadFailure: error => failures.push(error), ...options.commit },
  })
  sink.on('error', () => {})
  sink.on('object', (_object, result) => results.push(result))
  return { sink, failures, results }
}

const line = (id: number): string => `line ${id}\n`
const lines = (count: number): string[] => Array.from({ length: count }, (_, id) => line(id))

/** Returns the lines of all objects, in the order of their numbers. */
async function stored(b: Bench, count: number, prefix = 'logs/job-'): Promise<string> {
  const contents: string[] = []
  for (let i = 0; i < count; i++) contents.push(String((await b.get(`${prefix}${i}`)) ?? ''))
  return contents.join('')
}

async function resumeAll(b: Bench): Promise<void> {
  for (const { id, resumable } of await b.another().uploads()) {
    if (resumable) await b.another().resume(id)
  }
}

t.test('objects that OSS refused are published once it accepts them', async t => {
  const b = await bench(t)
  const denied = b.oss.inject(PUTS)
  const { sink, failures, results } = open(b)
  for (const each of lines(200)) sink.write(each)
  await sink.commit()
  await until(() => failures.length > 0)
  t.match(failures[0], { code: 'ERR_SPOOL_DENIED', resumable: true })
  t.equal(results.length, 0)
  denied.remove()
  await until(() => results.length === 20)
  t.notOk(sink.destroyed, 'the job goes on')
  sink.end(line(200))
  t.same(await sink.result, {
    job: 'job',
    records: 201,
    size: lines(201).join('').length,
    objects: [],
  })
  t.equal(results.length, 21)
  t.equal(await stored(b, 21), lines(201).join(''))
  t.same(await b.another().uploads(), [])
})

t.test('a job whose objects are left on the disk fails at its end', async t => {
  const b = await bench(t)
  const denied = b.oss.inject(PUTS)
  const { sink, failures } = open(b)
  await t.rejects(pipeline(lines(205), sink), { code: 'ERR_SPOOL_DENIED', resumable: true })
  await t.rejects(sink.result, { code: 'ERR_SPOOL_DENIED' })
  t.ok(failures.length > 0)
  t.ok(failures.length < 25, 'the end does not retry each object')
  denied.remove()
  await resumeAll(b)
  t.equal(await stored(b, 21), lines(205).join(''))
})

t.test('more objects than are sent concurrently wait on the disk', async t => {
  const b = await bench(t)
  b.oss.inject({ do: 'delay', ms: 20, operation: 'PutObject', times: 'always' })
  const { sink, failures, results } = open(b, { maxEnding: 1 })
  await pipeline(lines(300), sink)
  t.same(failures, [])
  t.equal(results.length, 30)
  t.equal(await stored(b, 30), lines(300).join(''))
  t.same(await b.another().uploads(), [])
})

t.test('an object whose key is taken stays on the disk, and the others are published', async t => {
  const b = await bench(t)
  await pipeline(Readable.from(['other']), b.spool.createWriteStream('logs/job-3'))
  const { sink, failures } = open(b)
  await t.rejects(pipeline(lines(100), sink), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  t.match(failures, [{ code: 'ERR_SPOOL_OBJECT_EXISTS' }])
  const expected = [...lines(30), 'other', ...lines(100).slice(40)]
  t.equal(await stored(b, 10), expected.join(''))
  t.match(await b.another().uploads(), [{ key: 'logs/job-3', resumable: true }])
})

t.test('an upload that another process has published meanwhile is done', async t => {
  const b = await bench(t)
  const denied = b.oss.inject(PUTS)
  const { sink, failures, results } = open(b)
  for (const each of lines(40)) sink.write(each)
  await sink.commit()
  // Two are sent and fail; the others are closed at once.
  await until(() => failures.length >= 2)
  denied.remove()
  for (const { id } of await b.another().uploads()) {
    await b
      .another()
      .resume(id)
      .catch(() => {}) // the job may have resumed it by now
  }
  sink.end()
  await sink.result
  t.ok(results.length <= 4)
  t.equal(await stored(b, 4), lines(40).join(''))
})

t.test('a destroyed job keeps its sealed objects', async t => {
  const b = await bench(t)
  const hung = b.oss.inject({ do: 'delay', ms: 60_000, operation: 'PutObject', times: 'always' })
  const { sink, results } = open(b)
  for (const each of lines(100)) sink.write(each)
  await sink.commit()
  sink.destroy()
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  t.same(results, [])
  hung.remove()
  await resumeAll(b)
  t.equal(await stored(b, 10), lines(100).join(''))
})

t.test('maxSpoolBytes also limits the bytes of objects that wait', async t => {
  for (const isDefault of [false, true]) {
    const limit = { maxSpoolBytes: 1_000_000 }
    const b = await bench(t, { spool: { parallel: 1, ...(isDefault ? limit : {}) } })
    const denied = b.oss.inject(PUTS)
    const chunk = 'x'.repeat(99_999) + '\n'
    const { sink, results } = open(b, {
      every: { records: 1 },
      upload: isDefault ? {} : limit,
    })
    let written = 0
    const writing = pipeline(
      Readable.from(
        (function* () {
          for (; written < 60; written++) yield chunk
        })(),
      ),
      sink,
    )
    await until(async () => (await b.another().uploads()).length >= 10)
    t.ok(written < 60, 'records wait')
    denied.remove()
    await writing
    t.equal(results.length, 60)
  }
})

t.test('a process whose records wait for OSS stays alive until they are published', async t => {
  const b = await bench(t)
  const denied = b.oss.inject(PUTS)
  const records = 6
  const client = b.oss.clientOptions(BUCKET)
  const options = { client, dir: b.dir, records }
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const child = spawn(process.execPath, [WORKER, JSON.stringify(options)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  // Three objects fill the spool. A fourth failure is one after a pause.
  let failures = 0
  createInterface({ input: child.stdout }).on('line', () => {
    if (++failures === 4) denied.remove()
  })
  t.same(await closed, [0, null])
  t.ok(failures >= 4)
  t.equal(b.count('PutObject'), records)
})

t.test('{seq} counts on when the date of arrival changes', async t => {
  const b = await bench(t)
  const start = Date.now()
  const { sink, results } = open(b, {
    key: '{yyyy}{MM}{dd}{HH}{mm}{ss}/{job}-{seq}',
    time: 'arrival',
  })
  for (const each of lines(20)) sink.write(each)
  await sink.commit()
  await until(() => Date.now() >= start + 1100)
  sink.end(line(20))
  await sink.result
  const keys = results.map(({ key }) => key).toSorted()
  t.equal(new Set(keys.map(key => key.replace(/\d+\//, ''))).size, 3, 'no number is repeated')
  t.notSame(keys[0]?.slice(0, 14), keys[2]?.slice(0, 14))
  for (const key of keys) t.match(key, /^20\d{12}\/job-\d$/)
})

t.test('a number whose key is taken by another partition is skipped', async t => {
  const b = await bench(t)
  const { sink, results } = open(b, {
    key: '{job}/{partition}{seq}',
    partitionBy: each => each.split(' ')[0] ?? '',
    every: { records: 1 },
  })
  for (let i = 0; i < 12; i++) sink.write('a x\n')
  sink.write('a1 y\n')
  sink.end()
  await sink.result
  t.equal(new Set(results.map(({ key }) => key)).size, 13)
  t.equal(String(await b.get('job/a12')), 'a1 y\n')
})

t.test('a transform can have a level', async t => {
  const b = await bench(t)
  const text = lines(5000).join('')
  const sizes: number[] = []
  for (const level of [1, 9]) {
    const { sink, results } = open(b, {
      job: `level${level}`,
      transform: { format: 'gzip', level },
    })
    sink.end(text)
    await sink.result
    t.equal(String(gunzipSync((await b.get(`logs/level${level}-0`)) ?? '')), text)
    sizes.push(results[0]?.size ?? 0)
  }
  t.not(sizes[0], sizes[1])
})

t.test('options of an unstoppable job are checked', async t => {
  const b = await bench(t)
  const base = { job: 'job', key: '{job}-{seq}', commit: { ms: 1 } }
  const bad: readonly [object, string][] = [
    [{ commit: { ms: 1, onUploadFailure: 'continue' } }, 'ERR_INVALID_ARG_TYPE'],
    [{ commit: undefined, time: 'arrival', key: '{yyyy}' }, 'ERR_INVALID_ARG_VALUE'],
    [{ time: 'now', key: '{job}{yyyy}{seq}' }, 'ERR_INVALID_ARG_TYPE'],
    [{ time: 'arrival' }, 'ERR_INVALID_ARG_VALUE'],
    [{ transform: { format: 'gzip', level: 10 } }, 'ERR_OUT_OF_RANGE'],
    [{ transform: { format: 'bzip2' } }, 'ERR_INVALID_ARG_VALUE'],
    [{ transform: { format: 'gzip', levels: 3 } }, 'ERR_INVALID_ARG_VALUE'],
    [{ transform: {} }, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [options, code] of bad) {
    t.throws(
      () => rotate<string>(b.spool, { ...base, ...options }),
      { code },
      JSON.stringify(options),
    )
  }
})
