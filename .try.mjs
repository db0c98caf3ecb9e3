import { pipeline } from 'node:stream/promises'
import { Spool } from 'oss-spool'
import { startEmulator } from 'oss-spool/emulator'
import { rotate, jsonl, csv, tap } from 'oss-spool/etl'
import { mkdtempSync } from 'node:fs'
const oss = await startEmulator({ buckets: ['exports'] })
const dir = mkdtempSync('/tmp/hc-')
const spool = new Spool({ client: oss.clientOptions('exports'), dir })
const N = +process.argv[2] || 1000
function* rows() { for (let i = 0; i < N; i++) yield { id: i, country: ['DE', 'FR', 'CN'][i % 3], at: 1.7e12 + i * 60000, text: 'hello'.repeat(i % 7) } }
for (const go of [1, 2]) {
  const t = performance.now()
  const sink = rotate(spool, { job: 'j', key: 'o/{yyyy}-{MM}/{partition}-{seq:03}.gz', format: process.argv[3] === 'csv' ? await csv() : jsonl, time: r => r.at, partitionBy: r => r.country, transform: 'gzip', every: { bytes: 4e6 } })
  const sent = oss.requests.length
  await pipeline(rows, sink)
  const m = await sink.result
  console.log(m.objects.length, m.records, m.size, oss.requests.length - sent, Math.round(performance.now() - t))
}
await oss.close()
