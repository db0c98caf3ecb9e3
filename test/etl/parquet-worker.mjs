/** Child process for parquet.test.ts: runs a Parquet job against an emulator in another process, from the built package. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import { parquet, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, pace } = JSON.parse(process.argv[2])

async function* rows() {
  for (let id = 0; id < 1000; id++) {
    yield { id, text: `text ${(id * 7919) % 1009}` }
    if (pace && id % 20 === 19) await sleep(pace)
  }
}

const sink = rotate(new Spool({ client, dir }), {
  job: 'job',
  key: 'rows/{partition}-{seq:03}.parquet',
  partitionBy: ({ id }) => (id % 3 === 0 ? 'thirds' : 'others'),
  format: await parquet({ schema: { id: 'int32', text: 'string' }, rowGroup: 20 }),
  every: { bytes: 1000 },
  maxOpen: 2,
  maxEnding: 2,
})
await pipeline(rows(), sink)
process.exit(0)
