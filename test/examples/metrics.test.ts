/** The metrics example, run unchanged. Its output is valid Prometheus text, and its counts are right. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { pathOf } from '../support/project.js'

const EXAMPLE = pathOf('examples/metrics.mjs')
const MIB = 1024 * 1024

t.test('the metrics example counts two uploads and one throttled request', async t => {
  const dir = t.testdir({})
  const { stdout, stderr, status } = spawnSync(process.execPath, [EXAMPLE], {
    cwd: dir,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  t.equal(status, 0, stderr)
  const series = new Map<string, number>()
  for (const line of stdout.split('\n').slice(0, -1)) {
    if (/^# TYPE oss_spool_[a-z_]+_total counter$/.test(line)) continue
    const [, name, value] =
      /^(oss_spool_[a-z_]+(?:\{[a-zA-Z_="',-]*\})?) ([\d.e+-]+)$/.exec(line) ?? []
    t.ok(name, `the line is valid Prometheus text: ${line}`)
    series.set(name ?? '', Number(value))
  }
  t.equal(series.get('oss_spool_uploads_started_total{resumed="false"}'), 2)
  t.equal(series.get('oss_spool_uploads_published_total'), 2)
  t.equal(series.get('oss_spool_parts_sent_total'), 4, 'three parts and a small object')
  t.equal(series.get('oss_spool_part_failures_total'), 1)
  t.equal(series.get('oss_spool_sent_bytes_total'), 20 * MIB + 12)
  t.equal(series.get('oss_spool_spooled_bytes_total'), 20 * MIB + 12)
  const throttled = 'oss_spool_retries_total{operation="UploadPart",reason="throttled"}'
  t.equal(series.get(throttled), 1)
  t.ok((series.get('oss_spool_checkpoint_writes_total') ?? 0) >= 4)
  t.ok(readFileSync(EXAMPLE, 'utf8').split('\n').length <= 61, 'the example has at most 60 lines')
})
