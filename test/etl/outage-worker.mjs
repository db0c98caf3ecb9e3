/**
 * Child process for publish-queue.test.ts: a job whose records wait until OSS accepts its objects, and which has
 * nothing else to do. Uses the built package, as users do.
 */
import { pipeline } from 'node:stream/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const { client, dir, records } = JSON.parse(process.argv[2])

const spool = new Spool({ client, dir, partSize: 102_400, retry: { attempts: 1 } })
const sink = rotate(spool, {
  job: 'job',
  key: 'logs/{job}-{seq}',
  format: jsonl,
  every: { records: 1 },
  maxEnding: 2,
  upload: { parallel: 1, maxSpoolBytes: 210_000 },
  commit: { records: 1, onUploadFailure: () => process.stdout.write('failed\n') },
})
function* texts() {
  for (let id = 0; id < records; id++) yield String(id).repeat(100_000)
}
await pipeline(texts, sink)
