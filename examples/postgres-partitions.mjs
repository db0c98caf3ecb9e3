/**
 * Writes a month of the table `orders` as JSON Lines by region and day, with a manifest: `node
 * postgres-partitions.mjs 2026-10`. The rows are read through a cursor, so memory does not grow with them.
 * A rerun after any failure sends only the missing objects: the rows are ordered, so the same job creates
 * the same objects. The variables of psql select the database (PGHOST, ...).
 */
import { Client } from 'pg'
import Cursor from 'pg-cursor'
import { Spool } from 'oss-spool'
import { runChain } from 'oss-spool/chain'
import { jsonl, rotate } from 'oss-spool/etl'
import { openOss } from './oss.mjs'

const [month] = process.argv.slice(2)
const oss = await openOss()
const spool = new Spool({ client: oss.client })
const database = new Client({ options: '-c TimeZone=UTC' }) // so that days in the query equal days in the keys
database.on('error', () => {}) // after a lost connection, the query on it fails too
await database.connect()

const query = `SELECT id, region, created_at, amount FROM orders
  WHERE created_at >= $1::timestamptz AND created_at < $1::timestamptz + interval '1 month'
  ORDER BY created_at, id`

// Not pg-query-stream: it waits forever when the connection is lost.
async function* rows() {
  const cursor = database.query(new Cursor(query, [`${month}-01`]))
  for (;;) {
    const batch = await cursor.read(1000)
    if (batch.length === 0) return
    yield* batch
  }
}

const objects = rotate(spool, {
  job: `orders-${month}`,
  key: 'orders/region={partition}/{yyyy}-{MM}-{dd}-{job}-{seq:03}.jsonl.gz',
  partitionBy: order => order.region,
  time: order => order.created_at,
  every: { bytes: 256 * 1024 * 1024 },
  format: jsonl,
  transform: 'gzip',
  recordId: order => order.id, // the manifest has the ids of the first and last record
})
console.log(await runChain([rows, objects]))
await Promise.all([database.end(), oss.close()])
