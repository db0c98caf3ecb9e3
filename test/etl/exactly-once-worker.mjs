/**
 * Child process for exactly-once.test.ts: writes the records of one job in chunks whose sizes and times differ in each
 * run. Uses the built package, as users do, without the test loader.
 */
import { createHash } from 'node:crypto'
import { writeSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'

const task = JSON.parse(process.argv[2])
const { client, dir, options, every, records, partitions, seed, changed, swapped } = task

let state = seed
const random = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32

/** Numbers of the records in the order of the source. */
function recordAt(index) {
  // The next record of the same partition.
  const next = swapped + partitions.length
  const id = index === swapped ? next : index === next ? swapped : index
  const hash = createHash('md5').update(String(id)).digest('hex')
  return { id, of: partitions[id % partitions.length], text: id === changed ? 'changed' : hash }
}

async function* chunks() {
  for (let index = 0; index < records;) {
    const size = 1 + Math.floor(random() * 400)
    const end = Math.min(records, index + size)
    yield Array.from({ length: end - index }, (_, i) => recordAt(index + i))
    index = end
    if (random() < 0.05) await sleep(random() * 4)
  }
}

const sink = rotate(new Spool({ client, dir, ...options }), {
  job: 'job',
  key: 'rows/{partition}/{job}-{seq:03}.jsonl.gz',
  partitionBy: ({ of }) => of,
  format: jsonl,
  transform: 'gzip',
  every,
})
const source = Readable.from(chunks(), { highWaterMark: 1 + Math.floor(random() * 4) })
let outcome
try {
  await pipeline(
    source.flatMap(chunk => chunk),
    sink,
  )
  outcome = { manifest: await sink.result }
} catch ({ code, message }) {
  outcome = { error: { code, message } }
}
writeSync(1, JSON.stringify(outcome))
process.exit(0)
