/**
 * Child process for open-objects.test.ts: a job with more partitions than open objects, half of which have
 * records that fill a batch each few. Uses the built package, as users do, without the test loader.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, records } = JSON.parse(process.argv[2])

async function* rows() {
  for (let id = 0; id < records; id++) {
    const hash = createHash('sha512').update(String(id))
    const text = hash.copy().digest('base64')
    const of = hash.digest()[0] % 8
    yield { id, of, text: text.repeat(of % 2 === 0 ? 200 : 1) }
    if (id % 10 === 9) await sleep(2)
  }
}

const spool = new Spool({ client, dir, partSize: 102_400 })
const sink = rotate(spool, {
  job: 'job',
  key: 'rows/{partition}-{seq:03}.jsonl.gz',
  partitionBy: ({ of }) => of,
  format: jsonl,
  transform: 'gzip',
  maxOpen: 6,
  maxOpenFiles: 2,
})
process.stdout.write('ready\n')
await new Promise(resolve => process.stdin.once('data', resolve))
await pipeline(rows(), sink)
process.exit(0)
