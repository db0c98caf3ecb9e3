/**
 * One host's run of a job, with its records in Redis if `redis` is set. Uses the built package, as users do. Runs in the
 * test's own process, or in a child process that the test kills or freezes.
 */
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

async function* rows({ records, partitions, pace }) {
  for (let id = 0; id < records; id++) {
    const text = createHash('sha512').update(String(id)).digest('base64')
    yield { id, of: partitions[id % partitions.length], text }
    if (pace && id % 50 === 49) await sleep(pace)
  }
}

async function openStore(redis) {
  if (redis === undefined) return undefined
  const { port, ...shared } = redis
  const { Redis } = await import('ioredis')
  const { redisCheckpoints } = await import('../../dist/redis/index.js')
  const connection = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
  connection.on('error', () => {}) // the client reconnects
  const checkpoints = redisCheckpoints(connection, shared)
  const close = () => {
    checkpoints.close()
    connection.disconnect()
  }
  return { checkpoints, close }
}

/** Runs the job. Passes each published key, and finally the manifest or the error, to `send`. */
export async function runJob(task, send) {
  const { client, dir, redis, job, every, options, transform } = task
  const store = await openStore(redis)
  const checkpointStore = store && { checkpointStore: store.checkpoints }
  const sink = rotate(new Spool({ client, dir, ...options, ...checkpointStore }), {
    job,
    key: '{job}/{partition}-{seq:03}.jsonl',
    partitionBy: ({ of }) => of,
    format: jsonl,
    every,
    ...(transform && { transform }),
  })
  sink.on('object', ({ key }) => send({ key }))
  try {
    await pipeline(rows(task), sink)
    send({ manifest: await sink.result })
  } catch ({ code, message, hint }) {
    send({ error: { code, message, hint } })
  }
  store?.close()
}
