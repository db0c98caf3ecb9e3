/** Jobs of a fleet: jobs per second, and Redis commands per job. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { UploadQueue } from '../../dist/bullmq/index.js'
import { MIB, table } from '../figures.mjs'

const BIN = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url))
const SOURCES = fileURLToPath(new URL('../fleet-sources.mjs', import.meta.url))
const WORKERS = [1, 2, 4]
const LOADS = [
  { name: 'jobs of 64 KiB', size: 65_536, jobs: 600 },
  { name: 'jobs of 64 MiB, parts of 8 MiB', size: 64 * MIB, jobs: 48 },
]

export const title = 'Fleet: jobs on BullMQ, 1, 2 and 4 workers, each with four concurrent jobs'

export async function run(bench) {
  const measured = {}
  const rows = []
  for (const load of LOADS) {
    measured[load.name] = []
    for (const workers of WORKERS) {
      const one = await runFleet(bench.places.oss, workers, load)
      measured[load.name].push({ workers, ...one })
      const { ms, commands, scripts } = one
      const gigabytes = (load.size * load.jobs) / 1e9
      rows.push([
        load.name,
        workers,
        ((load.jobs / ms) * 1e3).toFixed(1),
        ((gigabytes / ms) * 1e6).toFixed(0),
        (scripts / load.jobs).toFixed(0),
        (commands / load.jobs).toFixed(0),
        (commands / gigabytes).toFixed(0),
      ])
    }
  }
  const head = ['', 'workers', 'jobs/s', 'MB/s', 'scripts/job', 'commands/job', 'commands/GB']
  return { measured, text: table(head, rows), targets: [] }
}

async function runFleet(oss, workers, { size, jobs }) {
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
    for (let i = 0; i < jobs; i++)
      await queue.add({ key: `f/${i}`, source: 'blocks', args: { size } })
    const env = {
      ...process.env,
      REDIS_URL: `redis://127.0.0.1:${port}`,
      OSS_ENDPOINT: oss.endpoint,
      OSS_REGION: oss.region.replace(/^oss-/, ''),
      OSS_BUCKET: oss.bucket,
      OSS_ACCESS_KEY_ID: oss.accessKeyId,
      OSS_ACCESS_KEY_SECRET: oss.accessKeySecret,
    }
    const before = await statsOf(redis)
    for (let i = 0; i < workers; i++) {
      const options = [
        '--quiet',
        '--sources',
        SOURCES,
        '--host',
        `m${i}`,
        '--spool',
        join(dir, `m${i}`),
      ]
      running.push(spawn(process.execPath, [BIN, 'worker', ...options], { env, stdio: 'ignore' }))
    }
    const done = () => queue.queue.getCompletedCount()
    while ((await done()) === 0) await sleep(20)
    const [from, first] = [performance.now(), await done()]
    while ((await done()) < jobs) await sleep(50)
    const ms = ((performance.now() - from) * jobs) / (jobs - first)
    const after = await statsOf(redis)
    return {
      ms,
      commands: after.commands - before.commands,
      scripts: after.scripts - before.scripts,
    }
  } finally {
    await queue.close()
    redis.disconnect()
    for (const child of [...running, server]) {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    await rm(dir, { recursive: true, force: true })
  }
}

/** Command counts of Redis, without this case's own commands. A script counts as one call plus one command for each it issues. */
async function statsOf(redis) {
  const counts = (await redis.info('commandstats')).matchAll(/cmdstat_(\S+?):calls=(\d+)/g)
  const all = new Map(Array.from(counts, ([, name, count]) => [name, Number(count)]))
  for (const own of ['zcard', 'info']) all.delete(own)
  const commands = [...all.values()].reduce((sum, count) => sum + count, 0)
  const scripts = (all.get('eval') ?? 0) + (all.get('evalsha') ?? 0)
  return { commands, scripts }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}
