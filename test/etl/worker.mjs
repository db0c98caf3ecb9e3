/**
 * Child process for kill.test.ts: runs a job of about twenty objects against an emulator in another process.
 * Uses the built package, as users do, without the test loader.
 */
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, records, pace } = JSON.parse(process.argv[2])

async function* rows() {
  for (let id = 0; id < records; id++) {
    yield { id, text: createHash('sha512').update(String(id)).digest('base64') }
    if (pace && id % 50 === 49) await sleep(pace)
  }
}

const spool = new Spool({ client, dir })
const sink = rotate(spool, {
  job: 'job',
  key: 'rows/{partition}-{seq:03}.jsonl.gz',
  partitionBy: ({ id }) => (id % 3 === 0 ? 'thirds' : 'others'),
  format: jsonl,
  transform: 'gzip',
  every: { records: 100 },
  maxOpen: 2,
  maxEnding: 2,
})
process.stdout.write('ready\n')
await new Promise(resolve => process.stdin.once('data', resolve))
await pipeline(rows(), sink)
process.exit(0)
