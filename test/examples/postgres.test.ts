/** The examples that read a database, from a real PostgreSQL; skipped, and said, where there is none. */
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { get, server, start, until, type Env, type Run } from '../support/command-line.js'
import { BUCKET } from '../support/oss.js'
import { startPostgres } from '../support/postgres.js'

const EXAMPLES = fileURLToPath(new URL('../../examples/', import.meta.url))

t.test('from a real PostgreSQL', async t => {
  const postgres = startPostgres(t)
  if (postgres === undefined) return
  const dir = t.testdir({})
  const { oss, env: place } = await server(t, dir)
  const env: Env = { ...place, ...postgres.env, OSS_BUCKET: BUCKET, PGDATABASE: 'postgres' }
  const example = (name: string, ...args: string[]): Run =>
    start(dir, args, undefined, env, join(EXAMPLES, name))

  await t.test('postgres-copy: a query as one CSV, or nothing', async t => {
    postgres.sql(
      `CREATE TABLE codes AS SELECT i AS id, md5(i::text) AS code FROM generate_series(1, 20000) i`,
    )
    const query = 'SELECT id, code FROM codes ORDER BY id'
    t.match(await example('postgres-copy.mjs', query, 'codes.csv.gz').done, { status: 0, err: '' })
    const csv = gunzipSync((await get(oss, 'codes.csv.gz')) ?? '').toString()
    t.ok(csv === `${postgres.sql(`COPY (${query}) TO STDOUT WITH (FORMAT csv, HEADER)`)}\n`)

    const endless = 'SELECT i, pg_sleep(0.001) FROM generate_series(1, 1000000) i'
    const cut = example('postgres-copy.mjs', endless, 'cut.csv.gz')
    const running = `FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT i%'`
    await until(() => postgres.sql(`SELECT count(*) ${running}`) === '1')
    postgres.sql(`SELECT pg_terminate_backend(pid) ${running}`)
    t.match(await cut.done, { status: 1, err: /ERR_SPOOL_SOURCE_FAILED/ })
    t.equal(await get(oss, 'cut.csv.gz'), undefined, 'half a table is not published')

    const wrong = await example('postgres-copy.mjs', 'SELECT no_such_column', 'wrong.csv.gz').done
    t.match(wrong, { status: 1, err: /no_such_column.* does not exist/ })
    t.equal(await get(oss, 'wrong.csv.gz'), undefined)
  })
})
