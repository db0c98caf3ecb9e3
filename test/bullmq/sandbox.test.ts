/** Sources in processes of their own: a failure of one leaves its worker and the other jobs alone. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { sandboxedSources, type JobSource, type Sources } from '../../src/bullmq/index.js'
import { until } from '../support/command-line.js'
import { sampled } from '../support/long.js'
import { bench } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { urlOf } from '../support/project.js'
import { removeDirectory } from '../support/remove-directory.js'
import { Fleet } from './fleet.js'

/** Modules of sources. They are written to a file, since a sandbox imports its module by path. */
const MODULE = `
import { setTimeout as sleep } from 'node:timers/promises'
const chunk = Buffer.alloc(100_000, 'x')
export async function* good({ chunks }) {
  for (let i = 0; i < chunks; i++) yield Buffer.alloc(100_000, String(i % 10))
}
export async function* exits() { yield chunk; await sleep(50); process.exit(0) }
export async function* throwsInTimer() { setTimeout(() => { throw new Error('timer') }, 20); yield chunk; await sleep(60_000) }
export async function* blocks() { yield chunk; await sleep(50); for (;;); }
export async function* isKilled() { yield chunk; await sleep(50); process.kill(process.pid, 'SIGKILL') }
export async function* eats() { const all = []; for (;;) { all.push(new Array(100_000).fill(Math.random())); yield chunk } }
export async function* fails() { yield chunk; throw Object.assign(new Error('no'), { code: 'E_NO', retryable: true }) }
export async function* prints() { console.log('printed'); yield 'bytes' }
export const environment = () => [JSON.stringify(Object.keys(process.env))]
export async function* waits({ file }) {
  const { existsSync, writeFileSync } = await import('node:fs')
  writeFileSync(file, String(process.pid))
  yield 'begin '
  while (!existsSync(file + '.open')) await sleep(20)
  yield 'end'
}
export async function* hangs({ file }) {
  const { writeFileSync } = await import('node:fs')
  writeFileSync(file, String(process.pid))
  yield chunk
  for (;;);
}
`

async function moduleFile(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'oss-spool-sandbox-')) // `bench` uses `t.testdir`
  t.teardown(() => removeDirectory(directory))
  const file = join(directory, 'sources.mjs')
  await writeFile(file, MODULE)
  return file
}

function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

const call = { offset: 0, signal: new AbortController().signal }

async function read(sources: Sources, name: string, args: unknown = {}): Promise<Buffer> {
  const source = sources[name]
  if (source === undefined) throw new Error(`no source ${name}`)
  // The types of the module are not known here.
  const stream = (await source(args as never, call)) as AsyncIterable<Buffer>
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

t.test('a sandboxed source gives its bytes, however many', async t => {
  const sources = await sandboxedSources(await moduleFile(t))
  const all = await read(sources, 'good', { chunks: 500 })
  t.equal(all.length, 50_000_000)
  for (let i = 0; i < 500; i++) {
    if (all[i * 100_000] !== 48 + (i % 10)) t.fail(`chunk ${i} is wrong`)
  }
  t.equal(String(await read(sources, 'prints')), 'bytes')
})

t.test('a process that ends before its source is a retryable failure', async t => {
  const execArgv = ['--max-old-space-size=40']
  const sources = await sandboxedSources(pathToFileURL(await moduleFile(t)), { execArgv })
  for (const name of sampled(t, ['exits', 'throwsInTimer', 'isKilled', 'eats'], 2)) {
    await t.rejects(
      read(sources, name),
      { code: 'ERR_SOURCE_PROCESS_ENDED', retryable: true },
      name,
    )
  }
  await t.rejects(read(sources, 'fails'), { message: 'no', code: 'E_NO', retryable: true })
})

t.test('signals that are meant for the worker do not end its sandboxed sources', async t => {
  const file = await moduleFile(t)
  const { waits } = (await sandboxedSources(file)) as Record<string, JobSource<object>>
  const pidFile = join(dirname(file), 'pid')
  const start = async (signal: AbortSignal) => {
    const stream = (await waits?.({ file: pidFile }, { offset: 0, signal })) as Readable
    await once(stream, 'readable')
    return { stream, pid: Number(readFileSync(pidFile, 'utf8')) }
  }
  const interrupted = await start(new AbortController().signal)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.kill(interrupted.pid, signal)
  await writeFile(`${pidFile}.open`, '')
  t.equal(await text(interrupted.stream), 'begin end')
  await rm(`${pidFile}.open`)

  const stop = new AbortController()
  const aborted = await start(stop.signal)
  stop.abort()
  await t.rejects(text(aborted.stream))
  await until(() => isGone(aborted.pid))
  t.pass('its worker stopped it')
})

t.test('a sandboxed source does not see the credentials of OSS', async t => {
  process.env['OSS_ACCESS_KEY_SECRET'] = 'secret'
  t.teardown(() => delete process.env['OSS_ACCESS_KEY_SECRET'])
  const sources = await sandboxedSources(await moduleFile(t))
  const names: string[] = JSON.parse(String(await read(sources, 'environment')))
  t.ok(names.includes('PATH'))
  t.notOk(names.includes('OSS_ACCESS_KEY_SECRET'))
})

t.test('a module that cannot be imported is an error before any job', async t => {
  await t.rejects(sandboxedSources(join(t.testdir({}), 'missing.mjs')), {
    code: 'ERR_MODULE_NOT_FOUND',
  })
})

const server = await startRedis(t)
if (server !== undefined) {
  t.test('a source that blocks fails by its limit, and other jobs go on meanwhile', async t => {
    const b = await bench(t)
    // The arguments of each source of the module are objects.
    const sources = (await sandboxedSources(await moduleFile(t))) as Record<
      string,
      JobSource<object>
    >
    const fleet = new Fleet(t, b, server, sources, { attempts: 1 })
    fleet.machine('a')
    const bad = ['blocks', 'exits', 'throwsInTimer', 'isKilled']
    const jobs = await Promise.all(
      bad.map(async source => {
        // Only this one needs a limit, which the start of another process may exceed on a busy machine.
        const limit = source === 'blocks' ? { sourceIdleTimeout: 3_000 } : {}
        return (await fleet.queue.add({ key: source, source, args: {}, ...limit })).job
      }),
    )
    const { job: good } = await fleet.queue.add({
      key: 'good',
      source: 'good',
      args: { chunks: 20 },
    })
    const done = await fleet.reaches(good.id, 'completed')
    t.match(done.returnvalue, { size: 2_000_000 })
    for (const { id } of jobs) {
      const failed = await fleet.reaches(id, 'failed')
      t.match(failed.failedReason, /^ERR_SPOOL_SOURCE_FAILED/)
    }
    for (const key of bad) t.equal(await b.get(key), undefined, key)
  })
}

t.test('the process of a source ends with its worker, even if it blocks', async t => {
  const file = await moduleFile(t)
  const pidFile = join(dirname(file), 'pid')
  const program = `
    const { sandboxedSources } = await import(${JSON.stringify(urlOf('dist/bullmq/index.js').href)})
    const { hangs } = await sandboxedSources(${JSON.stringify(file)})
    const stream = await hangs({ file: ${JSON.stringify(pidFile)} }, { offset: 0, signal: new AbortController().signal })
    for await (const chunk of stream) console.log(chunk.length)`
  const main = join(dirname(file), 'main.mjs')
  await writeFile(main, program)
  const worker = spawn(process.execPath, [main], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(worker.stdout, 'data')
  const pid = Number(readFileSync(pidFile, 'utf8'))
  worker.kill('SIGKILL')
  await until(() => isGone(pid))
  t.ok(pid > 0)
})
