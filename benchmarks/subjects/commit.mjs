/** This project's sink, committed at a fixed rate while the stream flows. Counts commits, syncs and their time. */
import * as fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { pipeline } from 'node:stream/promises'

export const where = 'oss'

/** Completed syncs of files and directories, and their total time in ms. */
const syncs = { count: 0, ms: 0 }
const names = ['fsync', 'fdatasync']
for (const name of names) {
  const original = fs.default[name]
  fs.default[name] = (file, callback) => {
    const start = performance.now()
    original(file, error => {
      syncs.count++
      syncs.ms += performance.now() - start
      callback(error)
    })
  }
}
syncBuiltinESMExports()
// Loaded afterwards: it takes the functions when it is loaded.
const { Spool } = await import('../../dist/index.js')

export async function run({ places, dir, key, source, partSize, parallel, everyMs, callers }) {
  const spool = new Spool({ client: places.oss, dir, partSize, parallel })
  const sink = spool.createWriteStream(key)
  const before = { ...syncs }
  const latencies = []
  const commit = async () => {
    const start = performance.now()
    await sink.commit()
    latencies.push(performance.now() - start)
  }
  const timer = everyMs === undefined ? undefined : setInterval(() => void commit(), everyMs)
  if (callers === undefined) {
    source.once('end', () => clearInterval(timer)) // commits after it would wait for the seal
    await pipeline(source, sink)
  } else {
    const records = recordsOf(source)
    const call = async () => {
      for await (const record of { [Symbol.asyncIterator]: () => shared(records) }) {
        sink.write(record)
        await commit()
      }
    }
    await Promise.all(Array.from({ length: callers }, call))
    sink.end()
    await sink.result
  }
  latencies.sort((a, b) => a - b)
  return {
    commits: latencies.length,
    syncs: syncs.count - before.count,
    syncMs: syncs.ms - before.ms,
    latency: latencies[latencies.length >> 1],
    latencyP99: latencies[Math.floor(latencies.length * 0.99)],
  }
}

const RECORD = 1024

async function* recordsOf(source) {
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += RECORD) yield chunk.subarray(at, at + RECORD)
  }
}

/** An iterator that several loops share: none of them closes it. */
const shared = iterator => ({ next: () => iterator.next() })
