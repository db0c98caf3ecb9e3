/** Savings of a resume: half of the parts are on OSS, the other half on this disk. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mib, MIB, median, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const PARTS = 64
const SPEC = { partSize: 8 * MIB, parallel: 5 }

export const title = 'Resume of a sealed upload with half its parts on OSS'

export async function run(bench, { runs, scale }) {
  const parts = 2 * scaled(PARTS / 2, scale, 2)
  const spec = { ...SPEC, size: parts * SPEC.partSize }
  const measured = { 'a full upload': [], 'a resume': [] }
  const spool = await mkdtemp(join(tmpdir(), 'oss-spool-bench-resume-'))
  try {
    for (let i = 0; i < runs; i++) {
      measured['a full upload'].push(await bench.run('oss-spool', spec))
      await bench.ask('refuse', parts / 2 + 1)
      const half = { ...spec, spool, id: `half-${i}`, before: [] }
      const { key } = await bench.run('sealed-half', half)
      await bench.ask('heal')
      measured['a resume'].push(await bench.run('resume', { ...half, key }))
      process.stderr.write('.')
    }
  } finally {
    await rm(spool, { recursive: true, force: true })
  }
  process.stderr.write('\n')
  const times = label => measured[label].map(({ ms }) => ms)
  return {
    measured,
    text: table(
      ['', 's', 'MiB sent'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(
          times(label).map(ms => ms / 1000),
          2,
        ),
        mib(median(all.map(({ sent }) => sent))).toFixed(0),
      ]),
    ),
    targets: [
      verdict('time vs. a full upload', ratio(times('a resume'), times('a full upload')), {
        must: 0.6,
        reach: 0.5,
        atMost: true,
      }),
    ],
  }
}
