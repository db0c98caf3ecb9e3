/** The example of flights by origin and month, on a few rows. Its objects are compared with the file row by row. */
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import type { Manifest } from '../../src/etl/index.js'
import { stage } from '../support/example.js'
import { pathOf } from '../support/project.js'

const { PARQUET, rowGroups } = await import(pathOf('examples/demo/flights.mjs'))

/** A row of the parquet file. */
interface Flight {
  readonly date: Date
  readonly origin: string
  readonly destination: string
  readonly distance: bigint
  readonly delay: bigint
}

const ROWS = 120

t.test(
  'flights-by-origin writes each flight once into its origin’s object, and a rerun sends nothing',
  async t => {
    const { example, get, oss } = await stage(t)
    const first = await example('flights-by-origin.mjs', [String(ROWS)]).done
    t.equal(first.status, 0, first.err)
    t.match(first.err, `${ROWS} flights`)
    const manifest: Manifest = JSON.parse(
      String(await get(`flights/_manifest-flights-${ROWS}.json`)),
    )
    t.equal(manifest.records, ROWS)
    const found: string[] = []
    for (const { key, records } of manifest.objects) {
      const lines = gunzipSync((await get(key)) ?? '')
        .toString()
        .split('\n')
      const isPlaced = lines.slice(0, -1).every(line => {
        const { from, departure } = JSON.parse(line)
        return key.endsWith(`/origin=${from}/${departure.slice(0, 7)}-000.jsonl.gz`)
      })
      if (!isPlaced || lines.length !== records + 1)
        t.fail(`${key} has records of another object, or too many`)
      found.push(...lines.slice(0, -1))
    }
    const groups: AsyncIterable<Flight[]> = rowGroups(PARQUET, ROWS)
    const expected: string[] = []
    for await (const group of groups) {
      for (const { date, origin, destination, distance, delay } of group) {
        const rest = { miles: Number(distance), late: Number(delay) }
        expected.push(JSON.stringify({ departure: date, from: origin, to: destination, ...rest }))
      }
    }
    t.same(found.toSorted(), expected.toSorted())

    oss.requests.length = 0
    const again = await example('flights-by-origin.mjs', [String(ROWS)]).done
    t.equal(again.status, 0, again.err)
    t.same(oss.requests, [])
  },
)
