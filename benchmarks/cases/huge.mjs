/** A stream that is larger than the disk: disk and memory usage over time. */
import { mib, MIB, rates, spread, table, verdict } from '../figures.mjs'

/** Returns 1 GiB, or less for a smaller stream. */
const boundFor = size => Math.min(1024 * MIB, Math.floor(size / 8))

export const title = 'Huge: 40 GiB through 1 GiB of disk'

export async function run(bench, { size }) {
  const maxSpoolBytes = boundFor(size)
  const spec = { size, partSize: 8 * MIB, parallel: 5, maxSpoolBytes }
  const all = await bench.run('oss-spool', { ...spec, watchMemory: true, watchDisk: true })
  const { memory, disk, parts } = all
  const tenths = Array.from({ length: 10 }, (_, i) => i)
  const most = (samples, i) =>
    Math.max(...samples.slice((samples.length * i) / 10, (samples.length * (i + 1)) / 10))
  const rows = tenths.map(i => [
    `${(i + 1) * 10} %`,
    mib(most(memory, i)).toFixed(0),
    mib(most(disk, i)).toFixed(0),
  ])
  const [early, late] = [most(memory, 2), most(memory, 9)]
  return {
    measured: { [`${mib(size)} MiB through ${mib(maxSpoolBytes)} MiB`]: [all] },
    text: `${table(['time', 'RSS MiB', 'disk MiB'], rows)}

${mib(size)} MiB in ${parts} parts, ${spread(rates(size, [all]))} MB/s`,
    targets: [
      verdict('peak disk usage / bound', Math.max(...disk) / maxSpoolBytes, {
        must: 1.01,
        reach: 1,
        atMost: true,
        digits: 3,
      }),
      verdict('memory at the end / after a third', late / early, {
        must: 1.1,
        reach: 1.05,
        atMost: true,
        digits: 2,
      }),
    ],
  }
}
