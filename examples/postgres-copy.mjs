/**
 * Uploads the rows of a query as one CSV, by COPY: `node postgres-copy.mjs "SELECT ..." KEY.csv.gz`. The
 * variables of psql select the database (PGHOST, PGDATABASE, PGUSER, ...). PostgreSQL ends a COPY with an
 * explicit message, so a cut connection is an error, and half a table is never published.
 */
import { Client } from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { createGzip } from 'node:zlib'
import { Spool } from 'oss-spool'
import chain from 'stream-chain'
import { openOss } from './oss.mjs'

const [query, key] = process.argv.slice(2)
const oss = await openOss()
const spool = new Spool({ client: oss.client })
const database = new Client()
database.on('error', () => {}) // after a lost connection, the COPY on it fails too

async function rows() {
  await database.connect()
  const copy = database.query(copyTo(`COPY (${query}) TO STDOUT WITH (FORMAT csv, HEADER)`))
  return chain([copy, createGzip()])
}

console.log(await spool.upload(key, rows, { mime: 'application/gzip' }))
await Promise.all([database.end(), oss.close()])
