/**
 * The process that is killed. It pipes the source into OSS like any other program. The demo sends the job
 * as a message; if the demo exits, so does this process.
 */
import { createReadStream, openSync, writeSync } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { Spool } from 'oss-spool'
import { flightsAsCsv } from './flights.mjs'

process.once('disconnect', () => process.exit(1))
process.once('message', job => void upload(job))

async function upload({ client, dir, key, file, witness, options }) {
  const sink = new Spool({ client, dir }).createWriteStream(key, options)
  if (file === undefined) await pipeline(flightsAsCsv(), createGzip(), copyTo(witness), sink)
  else await pipeline(createReadStream(file), sink)
  process.exit(0)
}

/** Copies the chunks to a file, to be compared with the object at the end. */
function copyTo(path) {
  const copy = openSync(path, 'wx')
  return async function* (chunks) {
    for await (const chunk of chunks) {
      writeSync(copy, chunk) // in the kernel before the sink gets it, so a kill cannot lose it
      yield chunk
    }
  }
}
