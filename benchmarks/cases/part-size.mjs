/** Part size and parts in flight, for links of several speeds and latencies. */
import { MIB, table, verdict } from '../figures.mjs'

const PART_SIZES = [100 * 1024, MIB, 4 * MIB, 8 * MIB, 16 * MIB, 64 * MIB, 256 * MIB]
const PARALLEL = [1, 5, 16, 32, 'auto']
/** The number of parts in flight that `auto` may reach, and how many times the bytes it gets, since it starts with 5. */
const AUTO = { most: 32, times: 4 }
const LATENCIES = [0, 20, 100]
const LINKS = [10, 100, 1000]
/** Longest time of a part, in s; longer ones add no information. */
const LONGEST_PART = 1
/** Bytes of a cell, as the time in s that the link takes for them. */
const CELL_SECONDS = 0.3

export const title = 'Part size × parts in flight × latency × link, MB/s'

export const nameOf = bytes => (bytes < MIB ? `${bytes / 1024} KiB` : `${bytes / MIB} MiB`)

export async function run(bench, { scale }) {
  const measured = []
  for (const link of LINKS) {
    for (const latency of LATENCIES) {
      await bench.ask('link', { latency, totalBandwidth: link * 1e6 })
      const cells = cellsOf(link, latency, scale)
      const warmUp = { partSize: MIB, parallel: 5, size: link * 1e6 * CELL_SECONDS }
      const spec = { cells: [warmUp, ...cells], size: MIB, before: [] }
      const [, ...rates] = (await bench.run('matrix', spec)).rates
      for (const [i, cell] of cells.entries()) {
        measured.push({ link, latency, ...cell, rate: rates[i] })
      }
      process.stderr.write('.')
    }
  }
  process.stderr.write('\n')
  return {
    measured,
    text: `${LINKS.map(link => tableOf(measured, link)).join('\n\n')}

\`auto\` sends ${AUTO.times} times the bytes of the others, since it starts with 5 parts in flight.`,
    targets: targets(measured),
  }
}

function cellsOf(link, latency, scale) {
  const cells = []
  for (const partSize of PART_SIZES) {
    if (partSize / (link * 1e6) > LONGEST_PART) continue
    for (const parallel of PARALLEL) {
      const rounds = latency === 0 ? Infinity : (800 / latency) * scale
      const most = Math.min(100, Math.ceil((link * 1e6 * CELL_SECONDS * scale) / partSize))
      const inFlight = parallel === 'auto' ? AUTO.most : parallel
      const parts = Math.max(2, Math.min(most, Math.ceil(rounds * inFlight)))
      const times = parallel === 'auto' ? AUTO.times : 1
      cells.push({ partSize, parallel, size: parts * partSize * times })
    }
  }
  return cells
}

function tableOf(measured, link) {
  const rows = PART_SIZES.flatMap(partSize => {
    const of = (parallel, latency) =>
      measured.find(
        m =>
          m.link === link &&
          m.latency === latency &&
          m.partSize === partSize &&
          m.parallel === parallel,
      )?.rate
    if (of(1, 0) === undefined) return []
    const cells = LATENCIES.flatMap(latency =>
      PARALLEL.map(parallel => of(parallel, latency).toPrecision(2)),
    )
    return [[nameOf(partSize), ...cells.map(text => String(Number(text)))]]
  })
  const head = LATENCIES.flatMap(latency => PARALLEL.map(p => `${latency} ms × ${p}`))
  return `A link of ${link} MB/s:\n\n${table(['', ...head], rows)}`
}

/** Compares the default, 8 MiB × auto, with the best setting, on the worst link. */
function targets(measured) {
  const shares = LINKS.flatMap(link =>
    LATENCIES.map(latency => {
      const here = measured.filter(m => m.link === link && m.latency === latency)
      const byDefault = here.find(m => m.partSize === 8 * MIB && m.parallel === 'auto')
      return byDefault.rate / Math.max(...here.map(({ rate }) => rate))
    }),
  )
  return [
    verdict('the default vs. the best setting, on the worst link', Math.min(...shares), {
      must: 0.25,
      reach: 0.5,
    }),
  ]
}
