/**
 * The process that gets killed. Runs one step against an emulator in another process and reports on stdout, as
 * lines of JSON. Uses the built package, as users do, without the tests' loader.
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

// Written synchronously, so that messages sent before a SIGKILL arrive.
const send = message => writeSync(1, `${JSON.stringify(message)}\n`)

spool.on('warning', ({ message }) => send({ warning: message }))

const maintenance = {
  abort: () => spool.abort(id),
  forget: () => spool.forget(id),
  prune: async () => {
    const pruned = await spool.prune({ olderThan: 0, sealed: true, orphans: true })
    for (const { error } of pruned) if (error) throw error
  },
  uploads: () => spool.uploads(),
}

if (job.wait) {
  send({ ready: true })
  await new Promise(resolve => process.stdin.once('data', resolve))
}
send({ started: true })
const failed = await attempt()
if (job.next) {
  process.emit('oss-spool-test:next') // failures from here on do not count as operations of this upload
  // After a failure, the process must still be able to run other uploads.
  const next = () => spool.upload(`${key}-next`, () => source(0), { id: `${id}-next` })
  // If the one failure has not happened yet, it happens here.
  const { sent } = await next().catch(error => (failed ? Promise.reject(error) : next()))
  send({ next: sent })
}
await new Promise(setImmediate) // warnings are emitted on the next tick
process.exit(0)

async function checkpoints() {
  if (!job.redis) return {}
  const { port, ...shared } = job.redis
  const { Redis } = await import('ioredis')
  const { redisCheckpoints } = await import('../../dist/redis/index.js')
  const redis = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
  redis.on('error', () => {}) // the client reconnects
  return { checkpointStore: redisCheckpoints(redis, shared) }
}

async function attempt() {
  try {
    const result = await run()
    send(result === undefined ? { done: true } : { result })
    return false
  } catch ({ name, code, message, resumable }) {
    send({ error: { name, code, message, resumable } })
    return true
  }
}

async function run() {
  if (step === 'resume') return spool.resume(id, { force: job.force === true, to: job.to })
  if (step in maintenance) return void (await maintenance[step]())
  if (step === 'upload') return spool.upload(key, ({ offset }) => source(offset), { id })
  const sink = spool.createWriteStream(key, { id })
  let phase = 'spooling'
  sink.on('progress', progress => {
    if (progress.phase === phase) return
    phase = progress.phase
    send({ phase })
  })
  if (job.commits) await writeAndCommit(sink, job.commits)
  else await pipeline(source(0), sink)
  return sink.result
}

/** Writes the content and commits it at each offset, without waiting for the commits. */
async function writeAndCommit(sink, offsets) {
  sink.on('error', () => {}) // the result rejects with it
  let written = 0
  for (const offset of [...offsets, job.size]) {
    for await (const chunk of chunks(written, offset)) {
      const error = await new Promise(resolve => sink.write(chunk, resolve))
      if (error) return
    }
    written = offset
    if (offset < job.size) {
      const committed = () => send({ committed: offset })
      sink.commit().then(committed, () => {})
    }
  }
  if (job.hold) await new Promise(resolve => setTimeout(resolve, 600_000))
  sink.end()
}

/** Streams the content of `test/crash/seeded-content.ts`. With `job.hold`, the stream never ends. */
function source(offset) {
  send({ offset })
  return Readable.from(
    (async function* () {
      yield* chunks(offset, job.size)
      if (job.hold) await new Promise(resolve => setTimeout(resolve, 600_000))
    })(),
    { objectMode: false },
  )
}

async function* chunks(from, to) {
  const content = contentOfJob().subarray(0, to)
  for (let i = from; i < to; i += CHUNK) {
    if (job.pace) await new Promise(resolve => setTimeout(resolve, job.pace))
    yield content.subarray(i, i + CHUNK)
  }
}

function contentOfJob() {
  const name = createHash('sha256').update(String(job.seed)).digest()
  return createCipheriv('aes-256-ctr', name, Buffer.alloc(16)).update(Buffer.alloc(job.size))
}
