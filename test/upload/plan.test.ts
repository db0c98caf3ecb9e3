/**
 * The plan cuts a stream at the same bytes in every run, within the limits of OSS. The part cutter cuts according
 * to the plan, independent of how the bytes arrive.
 */
import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import t from 'tap'
import { Crc64 } from '../../src/crc64.js'
import { TempFile } from '../../src/disk/temp-file.js'
import {
  firstPart,
  GIB,
  isSinglePut,
  type CutPart,
  KIB,
  maxPartSizeFor,
  MAX_PART_SIZE,
  MAX_PARTS,
  MIB,
  MIN_PART_SIZE,
  nextPart,
  partsOf,
  createPlan,
  uniformPartSize,
  type Part,
  type Plan,
} from '../../src/upload/model/plan.js'
import { PlanExhaustedError, PartCutter } from '../../src/upload/spooling/part-cutter.js'
import { holds } from '../support/seed.js'

const TB = 1e12
/** 48.8 TiB: 10,000 parts of 5 GiB. */
const LARGEST = MAX_PARTS * MAX_PART_SIZE

const bases = fc.oneof(
  fc.constantFrom(MIN_PART_SIZE, MIN_PART_SIZE + 1, MIB, 8 * MIB, 100 * MIB, GIB, MAX_PART_SIZE),
  fc.integer({ min: MIN_PART_SIZE, max: MAX_PART_SIZE }),
)

/** Returns a description of the first error in `parts`, or `undefined`. */
function fault(parts: readonly Part[], plan: Plan, size: number): string | undefined {
  let end = 0
  for (const [i, part] of parts.entries()) {
    const last = i === parts.length - 1
    if (part.number !== i + 1) return `part ${i + 1} is numbered ${part.number}`
    if (part.start !== end) return `part ${part.number} starts at ${part.start}, not at ${end}`
    if (part.size <= 0 || part.size > MAX_PART_SIZE)
      return `part ${part.number} has ${part.size} bytes`
    if (!last && part.size < plan.base) return `part ${part.number} is smaller than the base`
    end += part.size
  }
  if (end !== size) return `the parts end at ${end} of ${size}`
  return parts.length > MAX_PARTS ? `${parts.length} parts` : undefined
}

t.test('a plan for a known size has equal parts within the limits, up to 48.8 TiB', async t => {
  const sizes = fc.oneof(
    fc.constantFrom(0, 1, MIN_PART_SIZE, MIN_PART_SIZE + 1, LARGEST - 1, LARGEST),
    fc.double({ min: 0, max: Math.log2(LARGEST), noNaN: true }).map(x => Math.floor(2 ** x)),
  )
  await holds(
    t,
    fc.property(bases, sizes, (base, size) => {
      const plan = createPlan(base, size)
      const parts = partsOf(plan, size)
      const sizesOfAllButLast = new Set(parts.slice(0, -1).map(part => part.size))
      return (
        fault(parts, plan, size) === undefined &&
        sizesOfAllButLast.size <= 1 &&
        uniformPartSize(plan, size) === plan.base
      )
    }),
    60,
  )
  t.throws(() => createPlan(8 * MIB, LARGEST + 1), RangeError)
  t.same(createPlan(8 * MIB, 8 * MIB * MAX_PARTS), { version: 1, base: 8 * MIB, cap: 8 * MIB })
  t.same(createPlan(8 * MIB, 8 * MIB * MAX_PARTS + 1).base, 9 * MIB, 'the smallest whole MiB')
})

t.test('a plan for a bounded spool has no part larger than the bound allows', async t => {
  await holds(
    t,
    fc.property(
      bases,
      fc.integer({ min: 1, max: 1000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.boolean(),
      (base, parallel, bound, length, known) => {
        // From the smallest bound to one larger than all parts together.
        const least = MIN_PART_SIZE * (parallel + 1)
        const maxSpoolBytes = Math.floor(least * ((2 * LARGEST) / least) ** bound)
        const most = maxPartSizeFor(maxSpoolBytes, parallel)
        const size = Math.floor((most * MAX_PARTS) ** length)
        const plan = createPlan(base, known ? size : undefined, most)
        const parts = partsOf(plan, known ? size : Math.min(size, capacityOf(plan)))
        return (
          most >= MIN_PART_SIZE &&
          most * (parallel + 1) <= maxSpoolBytes &&
          parts.every(part => part.size <= most) &&
          fault(parts, plan, known ? size : Math.min(size, capacityOf(plan))) === undefined
        )
      },
    ),
    60,
  )
  t.throws(() => createPlan(MIB, MIB * MAX_PARTS + 1, MIB), RangeError)
  t.equal(createPlan(8 * MIB, MIB * MAX_PARTS, MIB).base, MIB)
})

/** Returns the size of the largest stream that a plan for an unknown length can store. */
function capacityOf(plan: Plan): number {
  let part = firstPart(plan)
  while (part.number < MAX_PARTS) part = nextPart(plan, part)
  return part.start + part.size
}

t.test(
  'a plan for an unknown length stores 30 TB with the default base and 20 TB with the smallest',
  async t => {
    for (const [base, size] of [
      [8 * MIB, 30 * TB],
      [MIN_PART_SIZE, 20 * TB],
      [MAX_PART_SIZE, LARGEST],
    ] as const) {
      const plan = createPlan(base)
      const parts = partsOf(plan, size)
      t.equal(fault(parts, plan, size), undefined, `${size} bytes from ${base}`)
      t.ok(parts.length <= MAX_PARTS, `${parts.length} parts`)
    }
  },
)

t.test('parts of a plan for an unknown length never shrink and never exceed 5 GiB', async t => {
  await holds(
    t,
    fc.property(bases, base => {
      let part = firstPart(createPlan(base))
      for (let i = 1; i < MAX_PARTS; i++) {
        const next = nextPart(createPlan(base), part)
        if (next.size < part.size || next.size > MAX_PART_SIZE) return false
        part = next
      }
      return part.number === MAX_PARTS
    }),
    20,
  )
})

t.test('part boundaries do not depend on the final length of the stream', async t => {
  await holds(
    t,
    fc.property(
      fc.integer({ min: MIN_PART_SIZE, max: 16 * MIB }),
      fc.integer({ min: 0, max: TB }),
      fc.integer({ min: 0, max: TB }),
      (base, one, other) => {
        const plan = createPlan(base)
        const [short, long] = [
          partsOf(plan, Math.min(one, other)),
          partsOf(plan, Math.max(one, other)),
        ]
        const whole = short.slice(0, -1) // the last one is cut by the end
        return whole.every(
          (part, i) => part.size === long[i]?.size && part.start === long[i]?.start,
        )
      },
    ),
    60,
  )
})

t.test('uniformPartSize() returns a size only for plans with equal parts', async t => {
  await holds(
    t,
    fc.property(
      fc.integer({ min: MIN_PART_SIZE, max: 64 * MIB }),
      fc.integer({ min: -2, max: 3 }),
      fc.integer({ min: -1, max: 1 }),
      (base, parts, bytes) => {
        const plan = createPlan(base)
        const size = base * (501 + parts) + bytes // parts grow after the first 501
        const uniform = uniformPartSize(plan, size)
        const sizes = new Set(
          partsOf(plan, size)
            .slice(0, -1)
            .map(part => part.size),
        )
        if (uniform === undefined) return size > base * 501
        return uniform === base && sizes.size === 1 && sizes.has(base)
      },
    ),
    100,
  )
})

t.test('plans of existing checkpoints keep their part boundaries', async t => {
  // A change of these values requires a new plan version. Keep the old rule for old checkpoints.
  const cuts = (plan: Plan, size: number): string =>
    createHash('sha256')
      .update(
        partsOf(plan, size)
          .map(part => part.start)
          .join(),
      )
      .digest('hex')
      .slice(0, 16)
  t.equal(cuts(createPlan(8 * MIB), TB), FROZEN[0])
  t.equal(cuts(createPlan(MIN_PART_SIZE), TB), FROZEN[1])
  t.equal(cuts(createPlan(8 * MIB, TB), TB), FROZEN[2])
})
const FROZEN = ['3f45aebcbf8269b2', '2cd979457c0629fe', '3f7c8f2ab0d4a326']

t.test(
  'isSinglePut() is true for streams that fit into the first part and into memory',
  async t => {
    const plan = createPlan(MIB)
    t.ok(isSinglePut(plan, 0))
    t.ok(isSinglePut(plan, MIB))
    t.notOk(isSinglePut(plan, MIB + 1))
    t.notOk(isSinglePut(createPlan(GIB), 17 * MIB))
    t.same(partsOf(plan, 0), [])
  },
)

t.test('PartCutter', async t => {
  const plan: Plan = { version: 1, base: 1000, cap: 1000 } // quick to fill
  const data = Buffer.from(Array.from({ length: 5500 }, (_, i) => (i * 7 + (i >> 8)) % 256))
  const crc = new Crc64()
  const crcOf = (bytes: Uint8Array): bigint => {
    crc.reset()
    crc.update(bytes)
    return crc.digest()
  }
  const cutter = async (
    expect = {},
    of = plan,
  ): Promise<{ file: TempFile; cutter: PartCutter; cut: CutPart[] }> => {
    const cut: CutPart[] = []
    const file = TempFile.create(t.testdir({}))
    return { file, cut, cutter: new PartCutter(file, of, expect, part => cut.push(part)) }
  }

  t.test('a part cutter cuts parts according to the plan, independent of the chunks', async t => {
    await holds(
      t,
      fc.asyncProperty(
        fc.nat(data.length),
        fc.array(fc.array(fc.nat(1500), { maxLength: 4 }), { maxLength: 6 }),
        async (size, batches) => {
          const { file, cutter: s, cut } = await cutter()
          let at = 0
          const take = (n: number): Uint8Array => data.subarray(at, (at = Math.min(size, at + n)))
          for (const batch of batches) await s.write(batch.map(take))
          await s.write([take(size)])
          const end = s.end()
          await file.close()
          const expected = partsOf(plan, size).map(part => ({
            ...part,
            crc64: crcOf(data.subarray(part.start, part.start + part.size)),
          }))
          return (
            isDeepStrictEqual(cut, expected) &&
            isDeepStrictEqual(end, {
              size,
              crc64: crcOf(data.subarray(0, size)),
              crcs: expected.map(part => String(part.crc64)),
            })
          )
        },
      ),
      40,
    )
  })

  t.test('a part cutter reports a part only after its bytes are in the temp file', async t => {
    const file = TempFile.create(t.testdir({}))
    const sizes: number[] = []
    const s = new PartCutter(file, plan, {}, part => {
      t.ok(file.size >= part.start + part.size)
      sizes.push(part.size)
    })
    await s.write([data.subarray(0, 2500)])
    t.same(sizes, [1000, 1000])
    s.end()
    t.same(sizes, [1000, 1000, 500])
    await file.close()
  })

  t.test('a part cutter computes the digests that `expect` requires', async t => {
    const { file, cutter: s } = await cutter({ md5: 'x', sha256: 'x' })
    await s.write([data.subarray(0, 1700), data.subarray(1700)])
    const { md5, sha256 } = s.end()
    t.equal(md5, createHash('md5').update(data).digest('hex'))
    t.equal(sha256, createHash('sha256').update(data).digest('hex'))
    await file.close()
  })

  t.test('replay() keeps the parts whose CRC64 matches and truncates the rest', async t => {
    const first = await cutter()
    await first.cutter.write([data.subarray(0, 4700)])
    const { path } = first.file
    const crcs = first.cut.map(part => part.crc64)
    t.equal(crcs.length, 4)
    await first.file.close()
    const directory = path.slice(0, path.lastIndexOf('/'))
    for (const [known, verified] of [
      [crcs, 4000],
      [[...crcs.slice(0, 2), 5n, ...crcs.slice(3)], 2000],
      [[], 0],
    ] as const) {
      const file = await TempFile.open(directory, first.file.name)
      const cut: CutPart[] = []
      const s = new PartCutter(file, plan, { sha256: 'x' }, part => cut.push(part))
      t.equal(await s.replay(known), verified)
      t.equal(file.size, verified)
      t.equal(cut.length, verified / 1000)
      await s.write([data.subarray(verified, 5000)])
      const end = s.end()
      t.equal(end.crc64, crcOf(data.subarray(0, 5000)))
      t.equal(end.sha256, createHash('sha256').update(data.subarray(0, 5000)).digest('hex'))
      t.same(await file.read(0, 5000), data.subarray(0, 5000))
      await file.truncate(4700)
      await file.close()
    }
  })

  t.test(
    'a part cutter rejects a stream of more than 10,000 parts instead of truncating it',
    async t => {
      const { file, cutter: s } = await cutter({}, { version: 1, base: 1, cap: 1 })
      await s.write([Buffer.alloc(MAX_PARTS)])
      await t.rejects(s.write([Buffer.alloc(1)]), PlanExhaustedError)
      await file.close()
    },
  )
})

t.equal(MIN_PART_SIZE, 100 * KIB)
