/**
 * The checksum that verifies all bytes. No other test would notice an error that affects both sides equally,
 * so these tests compare it with published vectors and another implementation, and combining with hashing the
 * whole.
 */
import { readFile } from 'node:fs/promises'
import { createCRC64 } from 'hash-wasm'
import t from 'tap'
import { combineCrc64, crc64, Crc64, EMPTY_CRC64 } from '../src/crc64.js'
import { randomOf } from './support/seed.js'
import { pathOf } from './support/project.js'

const hasher = new Crc64()

function crcOf(...chunks: readonly Uint8Array[]): bigint {
  hasher.reset()
  for (const chunk of chunks) hasher.update(chunk)
  return hasher.digest()
}

const text = (value: string): Uint8Array => Buffer.from(value)

t.test('Crc64 matches the values of OSS', async t => {
  t.equal(crcOf(), 0n)
  t.equal(EMPTY_CRC64, 0n)
  t.equal(crcOf(text('')), 0n)
  t.equal(crcOf(text('a')), 3675645893302102789n)
  t.equal(crcOf(text('123456789')), 11051210869376104954n)
  t.not(crcOf(Buffer.alloc(1)), crcOf(Buffer.alloc(2)), 'zero bytes change the CRC')
})

t.test('Crc64 does not depend on chunk boundaries and starts anew after reset()', async t => {
  const random = randomOf(t)
  const bytes = Buffer.from(Array.from({ length: 5000 }, () => random() * 256))
  const whole = crcOf(bytes)
  for (let i = 0; i < 50; i++) {
    const [a = 0, b = 0] = [random(), random()]
      .map(x => Math.floor(x * 5001))
      .toSorted((x, y) => x - y)
    t.equal(
      crcOf(bytes.subarray(0, a), bytes.subarray(a, b), bytes.subarray(b)),
      whole,
      `${a} ${b}`,
    )
  }
})

t.test(
  'crc64() matches another implementation around the elimination threshold and the ends of pieces',
  async t => {
    const random = randomOf(t)
    const bytes = Buffer.from(Array.from({ length: 200_000 }, () => random() * 256))
    const other = await createCRC64()
    const edges = [8, 4096, 2 ** 16, 2 ** 16 + 4096, 2 * 2 ** 16, 3 * 2 ** 16 - 24]
    const lengths = edges.flatMap(edge => Array.from({ length: 60 }, (_, i) => edge - 30 + i))
    const wrong = lengths.filter(length => {
      const some = bytes.subarray(3, 3 + Math.max(0, length))
      const expected = BigInt(`0x${other.init().update(some).digest('hex')}`)
      return crc64(some) !== expected
    })
    t.same(wrong, [])
  },
)

t.test('crc64-wasm.ts matches the output of its generator', async t => {
  const { generate } = (await import(pathOf('scripts/crc64-wasm.mjs'))) as {
    readonly generate: () => Promise<string>
  }
  t.equal(await readFile(pathOf('src/crc64-wasm.ts'), 'utf8'), await generate())
})

t.test('Crc64 instances do not affect each other', async t => {
  const other = new Crc64()
  hasher.reset()
  hasher.update(text('1234'))
  other.update(text('a'))
  hasher.update(text('56789'))
  t.equal(hasher.digest(), 11051210869376104954n)
  t.equal(other.digest(), 3675645893302102789n)
})

t.test('combineCrc64() returns the CRC of the whole at random positions', async t => {
  const random = randomOf(t)
  const bytes = Buffer.from(Array.from({ length: 3000 }, () => random() * 256))
  const wrong: string[] = []
  for (let i = 0; i < 300; i++) {
    const length = Math.floor(random() * 3001)
    const cut = Math.floor(random() * (length + 1))
    const [first, second] = [bytes.subarray(0, cut), bytes.subarray(cut, length)]
    const combined = combineCrc64(crcOf(first), crcOf(second), second.length)
    if (combined !== crcOf(bytes.subarray(0, length))) wrong.push(`cut ${cut} of ${length}`)
  }
  t.same(wrong, [])
})

t.test('combineCrc64() accepts empty and single-byte sequences', async t => {
  const [nothing, a, b, ab] = ['', 'a', 'b', 'ab'].map(text).map(x => crcOf(x)) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ] // four values
  t.equal(combineCrc64(nothing, nothing, 0), 0n)
  t.equal(combineCrc64(a, nothing, 0), a)
  t.equal(combineCrc64(nothing, a, 1), a)
  t.equal(combineCrc64(a, b, 1), ab)
})

t.test('combineCrc64() combines parts of equal length one after the other', async t => {
  const parts = Array.from({ length: 9 }, (_, i) => Buffer.alloc(i === 8 ? 7 : 1000, i + 1))
  const whole = parts.reduce(
    (crc, part) => combineCrc64(crc, crcOf(part), part.length),
    EMPTY_CRC64,
  )
  t.equal(whole, crcOf(...parts))
})

t.test('combineCrc64() is associative for lengths beyond 2^32', async t => {
  const random = randomOf(t)
  const value = (): bigint => BigInt(Math.floor(random() * 2 ** 52)) * 4093n
  const length = (): number => Math.floor(random() * 2 ** 44)
  const wrong: string[] = []
  for (let i = 0; i < 100; i++) {
    const [a, b, c, m, n] = [value(), value(), value(), length(), length()]
    const left = combineCrc64(combineCrc64(a, b, m), c, n)
    const right = combineCrc64(a, combineCrc64(b, c, n), m + n)
    if (left !== right) wrong.push(`${a} ${b} ${c} ${m} ${n}`)
  }
  t.same(wrong, [])
  // Compare one step with 2^13 steps over the same zero bytes; steps of this length are checked above.
  let stepwise = crcOf(text('a'))
  for (let i = 0; i < 2 ** 13; i++) stepwise = combineCrc64(stepwise, EMPTY_CRC64, 2 ** 20)
  t.equal(combineCrc64(crcOf(text('a')), EMPTY_CRC64, 2 ** 33), stepwise)
})
