/** Cost of one durable checkpoint by the number of parts, compared with lowdb's own adapter, which does not sync. */
import { median, table } from '../figures.mjs'

const PARTS = [1, 100, 1_000, 10_000]
const LABELS = { ours: 'oss-spool, synced', lowdb: "`ali-oss`'s checkpoint in lowdb's `JSONFile`" }

export const title = 'Checkpoints: one write, by the number of parts'

export async function run(bench, { runs }) {
  const cases = PARTS.map(parts => [parts, { subject: 'checkpoint', size: 0, before: [], parts }])
  const measured = await bench.compare(Object.fromEntries(cases), runs)
  const cell = (parts, of, digits) => median(measured[parts].map(of)).toFixed(digits)
  return {
    measured,
    text: table(
      ['', ...PARTS.flatMap(parts => [`${parts} parts: ms`, 'KiB'])],
      Object.entries(LABELS).map(([name, label]) => [
        label,
        ...PARTS.flatMap(parts => [
          cell(parts, one => one[name].ms, 2),
          cell(parts, one => one[name].bytes / 1024, 1),
        ]),
      ]),
    ),
    targets: [],
  }
}
