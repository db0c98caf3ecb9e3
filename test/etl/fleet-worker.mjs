/**
 * Child process for the tests that kill jobs: one host that runs a job, with its records in Redis if `redis` is set.
 * Uses the built package, as users do, without the test loader.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, redis, job, records, partitions, every, pace, options, transform } =
  JSON.parse(process.argv[2])

// Written synchronously, so that messages sent before a SIGKILL arrive.
const send = message => writeSync(1, `${JSON.stringify(message)}\n`)

async function* rows() {
  for (let id = 0; id < records; id++) {
    const text = createHash('sha512').update(String(id)).digest('base64')
    yield { id, of: partitions[id % partitions.length], text }
    if (pace && id % 50 === 49) await sleep(pace)
  }
}

async function checkpointStore() {
  if (redis === undefined) return undefined
  const { port, ...shared } = redis
  const { Redis } = await import('ioredis')
  const { redisCheckpoints } = await import('../../dist/redis/index.js')
  const connection = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
  connection.on('error', () => {}) // the client reconnects
  return redisCheckpoints(connection, shared)
}

const store = await checkpointStore()
const spool = new Spool({ client, dir, ...options, ...(store && { checkpointStore: store }) })
const sink = rotate(spool, {
  job,
  key: '{job}/{partition}-{seq:03}.jsonl',
  partitionBy: ({ of }) => of,
  format: jsonl,
  every,
  ...(transform && { transform }),
})
sink.on('object', ({ key }) => send({ key }))
try {
  await pipeline(rows(), sink)
  send({ manifest: await sink.result })
} catch ({ code, message, hint }) {
  send({ error: { code, message, hint } })
}
process.exit(0)
