/**
 * Counts the events of uploads on Node's diagnostics channels, and prints them in Prometheus' text format. In a
 * service, call `metrics()` once at startup and serve its text at `/metrics`. This script makes two uploads to a
 * local OSS that first answers 503.
 */
import { subscribe } from 'node:diagnostics_channel'
import { Readable } from 'node:stream'
import { Spool } from 'oss-spool'
import { startEmulator } from 'oss-spool/emulator'

/** Subscribes, and returns a function that formats the counters. */
function metrics() {
  const counters = new Map()
  const count = (name, labels, by = 1) => {
    const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`)
    const series = pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`
    counters.set(series, (counters.get(series) ?? 0) + by)
  }
  const on = (event, listener) => subscribe(`oss-spool:${event}`, listener)
  on('upload:start', ({ resumed }) => count('oss_spool_uploads_started_total', { resumed }))
  on('upload:sealed', ({ size }) => count('oss_spool_spooled_bytes_total', {}, size))
  on('upload:published', ({ elapsed }) => {
    count('oss_spool_uploads_published_total', {})
    count('oss_spool_upload_seconds_total', {}, elapsed / 1000)
  })
  on('upload:failed', ({ code }) => count('oss_spool_uploads_failed_total', { code }))
  on('part:sent', ({ size, elapsed }) => {
    count('oss_spool_parts_sent_total', {})
    count('oss_spool_sent_bytes_total', {}, size)
    count('oss_spool_part_seconds_total', {}, elapsed / 1000)
  })
  on('part:failed', () => count('oss_spool_part_failures_total', {}))
  on('part:found', ({ size }) => count('oss_spool_skipped_bytes_total', {}, size))
  on('retry', ({ operation, reason }) => count('oss_spool_retries_total', { operation, reason }))
  on('checkpoint', ({ elapsed }) => {
    count('oss_spool_checkpoint_writes_total', {})
    count('oss_spool_checkpoint_seconds_total', {}, elapsed / 1000)
  })
  return () => {
    const lines = [...counters].map(([series, value]) => `${series} ${value}\n`)
    const names = [...counters.keys()].map(series => series.replace(/\{.*/, ''))
    return (
      [...new Set(names)]
        .map(name => `# TYPE ${name} counter\n`)
        .toSorted()
        .join('') + lines.toSorted().join('')
    )
  }
}

const text = metrics()
const oss = await startEmulator({ buckets: ['metrics'], credentials: 'random' })
oss.inject({ operation: 'UploadPart', do: 'answer', status: 503, code: 'ServiceUnavailable' })
const spool = new Spool({ client: oss.clientOptions('metrics'), dir: './spool' })
const size = 20 * 1024 * 1024
await spool.upload('large.bin', () => Readable.from([Buffer.alloc(size)]))
await spool.upload('small.txt', () => Readable.from(['a few bytes\n']))
await oss.close()
process.stdout.write(text())
