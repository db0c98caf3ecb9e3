/**
 * The process that is killed: it pipes the source into OSS, as any program would, and knows nothing
 * of its fate. What it is to do comes as a message of the demo, without which it does not outlive.
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

/** Keeps what passes in a file of the demo's, to compare with what arrives in the end. */
function copyTo(path) {
  const copy = openSync(path, 'wx')
  return async function* (chunks) {
    for await (const chunk of chunks) {
      writeSync(copy, chunk) // with the kernel before the sink has it, so no kill can lose it
      yield chunk
    }
  }
}
