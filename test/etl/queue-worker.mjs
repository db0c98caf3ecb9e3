/**
 * Child process for commit-kill.test.ts: a consumer of a queue. Messages arrive as lines on standard input; the
 * ids of messages that are durable leave as lines on standard output. Uses the built package, as users do.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, job, acknowledge, transform } = JSON.parse(process.argv[2])

const spool = new Spool({ client, dir, partSize: 102_400 })
const sink = rotate(spool, {
  job,
  key: 'queue/{job}/{partition}-{seq:03}',
  partitionBy: ({ id }) => id % 3,
  format: jsonl,
  commit: { ms: 20, records: 40 },
  every: { records: 150 },
  maxEnding: 2,
  ...(transform === 'none' ? {} : { transform }),
})
sink.on('error', error => console.error(error))

/** Ids in the order of delivery. */
const delivered = []
let acknowledged = 0
const acknowledgeUpTo = count => {
  if (count <= acknowledged) return
  process.stdout.write(`${JSON.stringify(delivered.slice(acknowledged, count))}\n`)
  acknowledged = count
}
if (acknowledge === 'event') sink.on('commit', acknowledgeUpTo)

process.stdout.write('ready\n')
for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line)
  delivered.push(message.id)
  if (!sink.write(message)) await once(sink, 'drain')
  const count = delivered.length
  if (acknowledge === 'call' && count % 7 === 0) {
    void sink.commit().then(
      () => acknowledgeUpTo(count),
      () => {},
    )
  }
  if (count % 25 === 0) await sleep(1)
}
sink.end()
await sink.result
acknowledgeUpTo(delivered.length)
process.exit(0)
