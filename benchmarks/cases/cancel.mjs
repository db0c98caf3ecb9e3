/** Time until a cancelled upload has released its resources. */
import { MIB, median, spread, table, verdict } from '../figures.mjs'

const SPEC = { size: 256 * MIB, partSize: 8 * MIB, parallel: 5, before: [] }
const LINK = { latency: 30, totalBandwidth: 20e6 }

export const title = 'Cancel: an upload with 5 parts on a link of 20 MB/s, aborted by its signal'

export async function run(bench, { runs }) {
  await bench.ask('link', LINK)
  const { cancel } = await bench.compare({ cancel: { subject: 'cancel', ...SPEC } }, runs)
  const of = name => cancel.map(one => one[name])
  return {
    measured: { cancel },
    text: table(
      ['event', 'ms'],
      [
        ['`pipeline()` rejects', spread(of('settled'))],
        ['all files and sockets are closed, the record is written', spread(of('closed'))],
      ],
    ),
    targets: [
      verdict('ms until all is released', median(of('closed')), {
        must: 100,
        reach: 50,
        atMost: true,
        digits: 0,
      }),
    ],
  }
}
