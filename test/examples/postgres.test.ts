/** Examples that read from a real PostgreSQL. Skipped with a message if PostgreSQL is not installed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Manifest } from '../../src/etl/index.js'
import { until, type Env, type Run } from '../support/command-line.js'
import { stage } from '../support/example.js'
import { startPostgres } from '../support/postgres.js'

/** Starts a proxy to the server that closes the connection without an error after `limit` bytes from it. */
async function cuttingHost(t: Test, host: string, limit: number): Promise<Env> {
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-cut-'))
  const socket = '.s.PGSQL.5432'
  const proxy = createServer(client => {
    const upstream = connect(join(host, socket))
    let passed = 0
    upstream.on('data', chunk => {
      passed += chunk.length
      if (passed < limit) client.write(chunk)
      else for (const end of [client, upstream]) end.destroy()
    })
    client.pipe(upstream)
    for (const end of [client, upstream]) end.on('error', () => undefined)
  })
  await new Promise<void>(resolve => proxy.listen(join(dir, socket), resolve))
  t.teardown(() => {
    proxy.close()
    rmSync(dir, { recursive: true, force: true })
  })
  return { PGHOST: dir }
}

t.test('examples read from a real PostgreSQL', async t => {
  const postgres = startPostgres(t)
  if (postgres === undefined) return
  const { example, get } = await stage(t, {}, { ...postgres.env, PGDATABASE: 'postgres' })
  const host = postgres.env['PGHOST'] ?? ''

  await t.test(
    'postgres-copy publishes a query as one CSV, and nothing if the query or connection fails',
    async t => {
      const copy = (query: string, key: string, more?: Env): Run =>
        example('postgres-copy.mjs', [query, key], more)
      postgres.sql(
        `CREATE TABLE codes AS SELECT i AS id, md5(i::text) AS code FROM generate_series(1, 20000) i`,
      )
      const query = 'SELECT id, code FROM codes ORDER BY id'
      const endless = 'SELECT i, pg_sleep(0.001) FROM generate_series(1, 1000000) i'
      const running = `FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT i,%'`

      const done = copy(query, 'codes.csv.gz').done
      const wrong = copy('SELECT no_such_column', 'wrong.csv.gz').done
      const silent = copy(query, 'silent.csv.gz', await cuttingHost(t, host, 300_000)).done
      const ended = copy(endless, 'ended.csv.gz').done
      await until(() => postgres.sql(`SELECT count(*) ${running}`) === '1')
      postgres.sql(`SELECT pg_terminate_backend(pid) ${running}`)

      t.match(await done, { status: 0, err: '' })
      const csv = gunzipSync((await get('codes.csv.gz')) ?? '').toString()
      t.ok(csv === `${postgres.sql(`COPY (${query}) TO STDOUT WITH (FORMAT csv, HEADER)`)}\n`)
      t.match(await wrong, { status: 1, err: /no_such_column.* does not exist/ })
      t.match(await silent, { status: 1, err: /ERR_SPOOL_SOURCE_FAILED/ })
      t.match(await ended, { status: 1, err: /ERR_SPOOL_SOURCE_FAILED/ })
      for (const key of ['wrong', 'silent', 'ended']) {
        t.equal(await get(`${key}.csv.gz`), undefined, 'an incomplete result is not published')
      }
    },
  )

  await t.test(
    'postgres-partitions publishes every row and a manifest after a lost connection and a rerun',
    async t => {
      postgres.sql(
        `CREATE TABLE orders AS SELECT i AS id, (ARRAY['east', 'west'])[i % 2 + 1] AS region,
        round(i / 7.0, 2) AS amount, timestamptz '2026-09-30 00:00Z' + i * interval '1 minute' AS created_at
       FROM generate_series(0, 5000) i`,
      )
      const manifestKey = 'orders/_manifest-orders-2026-10.json'
      const partitions = (more?: Env): Run => example('postgres-partitions.mjs', ['2026-10'], more)

      const cut = await partitions(await cuttingHost(t, host, 150_000)).done
      // The driver's or the system's error, whichever comes first.
      t.match(cut, { status: 1, err: /Connection terminated|EPIPE|ECONNRESET/ })
      t.equal(await get(manifestKey), undefined, 'no manifest is published before all objects are')

      t.match(await partitions().done, { status: 0, err: '' })
      const manifest: Manifest = JSON.parse(String(await get(manifestKey)))
      t.equal(manifest.records, 5001 - 24 * 60)
      const days = ['01', '02', '03']
      t.same(
        manifest.objects.map(({ key }) => key).toSorted(),
        ['east', 'west'].flatMap(region =>
          days.map(day => `orders/region=${region}/2026-10-${day}-orders-2026-10-000.jsonl.gz`),
        ),
      )
      for (const { key, records, first, last } of manifest.objects) {
        const lines = gunzipSync((await get(key)) ?? '')
          .toString()
          .trimEnd()
          .split('\n')
        const [, region, day] = /region=(\w+)\/([\d-]{10})/.exec(key) ?? []
        const expected = postgres
          .sql(
            `SET TIME ZONE 'UTC'; SELECT json_build_object('id', id, 'region', region, 'created_at',
          to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'amount', amount::text)
         FROM orders WHERE region = '${region}' AND created_at::date = '${day}' ORDER BY id`,
          )
          .split('\n')
        t.same(
          lines.map(line => JSON.parse(line)),
          expected.map(line => JSON.parse(line)),
        )
        const ids = lines.map(line => JSON.parse(line).id)
        t.same([records, first, last], [lines.length, ids[0], ids.at(-1)])
      }
    },
  )
})
