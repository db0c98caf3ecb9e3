/**
 * A stream with as many parts as a terabyte. Its parts are small, and the spool holds only one in twenty.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { combineCrc64, crc64 } from '../../src/crc64.js'
import { partsOf, createPlan } from '../../src/upload/model/plan.js'
import { setLongTimeout } from '../crash/long-timeout.js'
import { bench, bytes } from '../support/oss.js'
import { long } from '../support/long.js'

setLongTimeout(t)

const PART = 102_400

void long(t, 'a bounded spool uploads a stream with as many parts as 1 TB', async t => {
  const parts = partsOf(createPlan(8 * 2 ** 20), 1e12).length
  t.equal(parts, 3210)
  const b = await bench(t, { emulator: { discard: true, verify: 'crc64' } })
  const chunk = bytes(PART) // chunks and parts are not aligned, because the first chunk has only one byte
  const size = parts * PART
  const source = Readable.from(
    (function* () {
      yield chunk.subarray(0, 1)
      for (let i = 1; i < parts; i++) yield chunk
      yield chunk.subarray(1)
    })(),
    { objectMode: false },
  )
  const options = { size, parallel: 8, maxSpoolBytes: 16 * 2 ** 20 }
  const sink = b.spool.createWriteStream('k', options)
  await pipeline(source, sink)
  const result = await sink.result
  let whole = crc64(chunk.subarray(0, 1))
  const crc = crc64(chunk)
  for (let i = 1; i < parts; i++) whole = combineCrc64(whole, crc, PART)
  whole = combineCrc64(whole, crc64(chunk.subarray(1)), PART - 1)
  t.match(result, { size, parts, sent: size, crc64: String(whole) })
})
