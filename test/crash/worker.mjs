/**
 * The process that gets killed: does one step against an emulator in another process and says how
 * it went, one JSON line each. It runs what was built, as users do, without the tests' loader.
 */
import { createCipheriv, createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

const CHUNK = 30_011

const job = JSON.parse(process.argv[2])
const { step, client, dir, key, id, options } = job
const spool = new Spool({ client, dir, ...(await checkpoints()), ...options })

// Written synchronously: what was said before a SIGKILL arrives.
const say = line => writeSync(1, `${JSON.stringify(line)}\n`)

if (job.wait) {
  say({ ready: true })
  await new Promise(resolve => process.stdin.once('data', resolve))
}
say({ started: true })
const failed = await attempt()
if (job.next) {
  process.emit('oss-spool-test:next') // what fails from here on is none of this upload's steps
  // After a failure the process must be able to go on with other uploads.
  const next = () => spool.upload(`${key}-next`, () => source(0), { id: `${id}-next` })
  // When the one failure is still to come, it comes here.
  const { sent } = await next().catch(error => (failed ? Promise.reject(error) : next()))
  say({ next: sent })
}
process.exit(0)

async function checkpoints() {
  if (!job.redis) return {}
  const { port, ...shared } = job.redis
  const { Redis } = await import('ioredis')
  const { redisCheckpoints } = await import('../../dist/redis/index.js')
  const redis = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
  redis.on('error', () => {}) // it connects again
  return { checkpointStore: redisCheckpoints(redis, shared) }
}

async function attempt() {
  try {
    say({ result: await run() })
    return false
  } catch ({ code, message, resumable }) {
    say({ error: { code, message, resumable } })
    return true
  }
}

async function run() {
  if (step === 'resume') return spool.resume(id)
  if (step === 'upload') return spool.upload(key, ({ offset }) => source(offset), { id })
  const sink = spool.createWriteStream(key, { id })
  let phase = 'spooling'
  sink.on('progress', progress => {
    if (progress.phase === phase) return
    phase = progress.phase
    say({ phase })
  })
  await pipeline(source(0), sink)
  return sink.result
}

/** The bytes of `test/crash/seeded-content.ts`; with `job.hold` they have no end. */
function source(offset) {
  const name = createHash('sha256').update(String(job.seed)).digest()
  const content = createCipheriv('aes-256-ctr', name, Buffer.alloc(16)).update(
    Buffer.alloc(job.size),
  )
  say({ offset })
  return Readable.from(
    (async function* () {
      for (let i = offset; i < content.length; i += CHUNK) {
        if (job.pace) await new Promise(resolve => setTimeout(resolve, job.pace))
        yield content.subarray(i, i + CHUNK)
      }
      if (job.hold) await new Promise(resolve => setTimeout(resolve, 600_000))
    })(),
    { objectMode: false },
  )
}
