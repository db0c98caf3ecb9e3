/** Speed of the emulator: requests of 100 KiB from `ali-oss`, compared with a server that costs next to nothing. */
import { median, scaled, spread, table } from '../figures.mjs'

const REQUESTS = 1000
const BYTES = 100 * 1024
const ROUNDS = 2
const SERVERS = {
  storing: 'emulator',
  oss: 'emulator with `discard`',
  discarding: 'a server that costs next to nothing',
}
const SUBJECTS = { UploadPart: 'part-loop-memory', PutObject: 'put-loop-memory' }

export const title = 'Emulator: 1,000 requests of 100 KiB from `ali-oss`, 5 concurrently'

export async function run(bench, { runs, scale }) {
  const requests = scaled(REQUESTS, scale)
  const size = requests * BYTES
  const spec = { size, partSize: BYTES, parallel: 5, before: [scaled(requests, 0.25) * BYTES] }
  const cases = Object.entries(SUBJECTS).flatMap(([operation, subject]) =>
    Object.entries(SERVERS).map(([server, name]) => [
      `${operation}: ${name}`,
      { subject, ...spec, server },
    ]),
  )
  const measured = await bench.compare(Object.fromEntries(cases), Math.min(runs, ROUNDS))
  const perRequest = (all, field) =>
    ((median(all.map(one => one[field])) / requests) * 1000).toFixed(2)
  return {
    measured,
    text: table(
      ['', 'requests/s', 'server CPU ms per request', 'client CPU ms per request'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(all.map(({ ms }) => requests / (ms / 1000))),
        perRequest(all, 'server'),
        perRequest(all, 'cpu'),
      ]),
    ),
    targets: [],
  }
}
