/**
 * Jobs of a fleet: jobs per second, and Redis commands per job.
 *
 * Commands are the calls of Redis' own `INFO commandstats`: every command that a client sends, and every command
 * that a script runs. Nothing of the benchmark itself is among them, since it watches the output of the workers
 * and not the queue, and starts to count when all workers are connected and a paused queue holds all jobs.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { UploadQueue } from '../../dist/bullmq/index.js'
import { environmentOf } from '../environment.mjs'
import { MIB, scaled, table } from '../figures.mjs'

const BIN = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url))
const SOURCES = fileURLToPath(new URL('../fleet-sources.mjs', import.meta.url))
const WORKERS = [1, 2, 4]
const LOADS = [
  { name: '64 KiB', size: 65_536, jobs: 400 },
  { name: '64 MiB', size: 64 * MIB, jobs: 48 },
]
/** Seconds for which workers without jobs are counted, after the first load. */
const IDLE_SECONDS = 5
/** ms after it has said that it works for a worker to subscribe to its queues. */
const SETTLING_MS = 1_000

export const title =
  'Fleet: jobs on BullMQ, 1, 2 and 4 workers, each with four concurrent jobs; parts of 8 MiB'

/** Returns what is missing on this machine, if anything. */
export const missing = () =>
  spawnSync('redis-server', ['--version']).error && 'redis-server is not installed'

export async function run(bench, { scale }) {
  const measured = {}
  for (const { name, size, jobs } of LOADS) {
    measured[name] = []
    for (const workers of WORKERS) {
      const idleSeconds = size === LOADS[0].size ? scaled(IDLE_SECONDS, scale) : 0
      const load = { size, jobs: scaled(jobs, scale), idleSeconds }
      measured[name].push({
        workers,
        ...load,
        ...(await runFleet(bench.places.oss, workers, load)),
      })
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  return { measured, text: textOf(measured), targets: [] }
}

function textOf(measured) {
  const points = Object.entries(measured).flatMap(([name, all]) =>
    all.map(point => ({ name, ...point })),
  )
  const head = [
    'jobs of',
    'workers',
    'jobs',
    'jobs/s',
    'MB/s',
    'a job is active, s',
    'commands/job',
    'commands/GB',
  ]
  const perPoint = points.map(({ name, workers, jobs, size, ms, activeMs, commands }) => {
    const gigabytes = (size * jobs) / 1e9
    return [
      name,
      workers,
      jobs,
      ((jobs / ms) * 1e3).toFixed(1),
      ((gigabytes / ms) * 1e6).toFixed(0),
      (activeMs / 1e3).toFixed(2),
      (sum(commands) / jobs).toFixed(0),
      Number((sum(commands) / gigabytes).toPrecision(3)),
    ]
  })
  const idle = points.filter(({ idleSeconds }) => idleSeconds > 0)
  const perWorker = idle.map(({ workers, added, jobs, idle: counts, idleSeconds }) => [
    workers,
    (sum(added) / jobs).toFixed(1),
    (sum(counts) / idleSeconds / workers).toFixed(1),
  ])
  return [
    table(head, perPoint),
    'Where the commands of a job go, by the name of the command (`evalsha`: scripts of BullMQ, `eval`: of this project;' +
      ' the others are sent directly or by these scripts):',
    breakdown(points),
    'Not among them: the commands with which the producer adds a job, and those of a worker without jobs' +
      ' (heartbeats, and the commands with which BullMQ waits for jobs).',
    table(['workers', 'commands to add a job', 'commands/s of an idle worker'], perWorker),
  ].join('\n\n')
}

/** Table of the commands per job, the most frequent ones first; those of less than one in two jobs are summed up. */
function breakdown(points) {
  const perJob = points.map(
    ({ commands, jobs }) =>
      name =>
        (commands[name] ?? 0) / jobs,
  )
  const names = [...new Set(points.flatMap(({ commands }) => Object.keys(commands)))]
  const most = name => Math.max(...perJob.map(of => of(name)))
  const shown = names.filter(name => most(name) >= 0.5).toSorted((a, b) => most(b) - most(a))
  const others = names.filter(name => !shown.includes(name))
  const rows = shown.map(name => [`\`${name}\``, ...perJob.map(of => of(name).toFixed(1))])
  rows.push([
    'others',
    ...perJob.map(of => others.reduce((total, name) => total + of(name), 0).toFixed(1)),
  ])
  return table(['', ...points.map(({ name, workers }) => `${name}, ${workers} w.`)], rows)
}

const sum = counts => Object.values(counts).reduce((total, count) => total + count, 0)
const mean = values => values.reduce((total, value) => total + value, 0) / values.length

async function runFleet(oss, workers, { size, jobs, idleSeconds }) {
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-bench-fleet-'))
  const port = await freePort()
  const args = ['--port', port, '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly']
  const server = spawn('redis-server', [...args, 'yes'], { stdio: 'ignore' })
  const redis = new Redis({ port, maxRetriesPerRequest: null })
  redis.on('error', () => {}) // it reconnects
  const queue = new UploadQueue({ connection: redis })
  queue.queue.on('error', () => {}) // the queue reconnects too
  const running = []
  try {
    await queue.queue.pause()
    const before = await countsOf(redis)
    for (let i = 0; i < jobs; i++)
      await queue.add({ key: `f/${i}`, source: 'blocks', args: { size } })
    const added = since(before, await countsOf(redis))
    const env = { ...environmentOf(oss), REDIS_URL: `redis://127.0.0.1:${port}` }
    for (let i = 0; i < workers; i++) running.push(startWorker(env, `m${i}`, join(dir, `m${i}`)))
    await Promise.all(running.map(({ ready }) => ready))
    await sleep(SETTLING_MS)
    const start = await countsOf(redis)
    const from = performance.now()
    await queue.queue.resume()
    await completed(running, jobs)
    const ms = performance.now() - from
    await sleep(SETTLING_MS) // the receipts of the last jobs are removed
    const end = await countsOf(redis)
    const activeMs = mean(
      (await queue.queue.getCompleted()).map(
        ({ processedOn, finishedOn }) => finishedOn - processedOn,
      ),
    )
    const idleFrom = await countsOf(redis)
    await sleep(idleSeconds * 1_000)
    const idle = since(idleFrom, await countsOf(redis))
    return { ms, activeMs, commands: since(start, end), added, idle }
  } finally {
    await queue.close()
    redis.disconnect()
    for (const child of [...running.map(worker => worker.child), server]) {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    await rm(dir, { recursive: true, force: true })
  }
}

function startWorker(env, host, spool) {
  const args = [BIN, 'worker', '--sources', SOURCES, '--host', host, '--spool', spool]
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ready = new Promise(resolve => {
    createInterface({ input: child.stderr }).on('line', line => {
      if (line.includes('working on queue')) resolve()
    })
  })
  const results = createInterface({ input: child.stdout })
  const died = once(child, 'exit').then(() => {
    throw new Error(`The worker ${host} died`)
  })
  died.catch(() => {}) // it is killed at the end
  return { child, results, died, ready: Promise.race([ready, died]) }
}

/** Resolves when the workers have printed the results of all jobs. */
async function completed(workers, jobs) {
  let left = jobs
  const done = new Promise(resolve => {
    for (const { results } of workers)
      results.on('line', () => {
        if (--left === 0) resolve()
      })
  })
  await Promise.race([done, ...workers.map(({ died }) => died)])
}

/** Returns how often Redis has executed each command. */
async function countsOf(redis) {
  const counts = (await redis.info('commandstats')).matchAll(/cmdstat_(\S+?):calls=(\d+)/g)
  return new Map(Array.from(counts, ([, name, count]) => [name, Number(count)]))
}

/** Returns the commands executed meanwhile, without our own `info`. */
function since(before, after) {
  const counts = Array.from(after, ([name, count]) => [name, count - (before.get(name) ?? 0)])
  return Object.fromEntries(counts.filter(([name, count]) => name !== 'info' && count > 0))
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
