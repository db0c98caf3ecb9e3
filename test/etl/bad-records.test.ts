/** Bad records: named, skipped by `onBadRecord`, or written to the dead letter object. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import {
  csv,
  jsonl,
  rotate,
  type BadRecord,
  type Manifest,
  type ManifestObject,
  type RotateOptions,
} from '../../src/etl/index.js'
import { deadLetterLine } from '../../src/etl/dead-letter.js'
import { SpoolError } from '../../src/index.js'
import { bench, type Bench } from '../support/oss.js'

interface Row {
  readonly id: number
  readonly of: string
}

interface DeadLetter {
  readonly number: number
  readonly partition?: string
  readonly reason: string
  readonly record: unknown
}

const rows = (count: number): Row[] =>
  Array.from({ length: count }, (_, id) => ({ id, of: 'ABC'[id % 3] ?? '' }))
/** Every fifth row is bad, the first one included. */
const isBad = ({ id }: Row): boolean => id % 5 === 0
const failure = Object.assign(new Error('five'), { code: 'E_FIVE' })
const refuseFives = (row: Row): Row => {
  if (isBad(row)) throw failure
  return row
}

const base = {
  job: 'job',
  key: '{job}/{partition}-{seq}',
  partitionBy: ({ of }: Row) => of,
  format: jsonl,
} satisfies Partial<RotateOptions<Row>>

/** Options with which each function of the job refuses some of the rows. */
const refusing: Readonly<Record<string, Partial<RotateOptions<Row>>>> = {
  format: { format: row => jsonl(refuseFives(row)) },
  partitionBy: { partitionBy: row => refuseFives(row).of },
  time: { key: '{job}/{partition}/{yyyy}-{seq}', time: row => refuseFives(row).id },
  recordId: { recordId: row => refuseFives(row).id },
  cutBefore: { cutBefore: row => refuseFives(row).id === 7 },
  'an object format': {
    format: {
      createEncoder: () => ({ add: row => jsonl(refuseFives(row)), end: () => undefined }),
    },
  },
}

async function linesOf(work: Bench, key: string): Promise<unknown[]> {
  const text = String((await work.get(key)) ?? '')
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as unknown)
}

const lettersOf = async (work: Bench, key: string): Promise<DeadLetter[]> =>
  (await linesOf(work, key)) as DeadLetter[] // written by the job

async function rowsOf(work: Bench, { objects }: Manifest): Promise<unknown[]> {
  return (await Promise.all(objects.map(({ key }) => linesOf(work, key)))).flat()
}

for (const [name, options] of Object.entries(refusing)) {
  const slug = name.replaceAll(' ', '-')

  t.test(`an error of ${name} names the record, with its cause and code`, async t => {
    const work = await bench(t)
    const sink = rotate<Row>(work.spool, { ...base, ...options })
    const records = rows(20).map(row => ({ ...row, id: row.id + 1 })) // the fifth one is bad
    const error: unknown = await pipeline(records, sink).catch((reason: unknown) => reason)
    t.match(error, { code: 'E_FIVE', cause: failure })
    t.match(String(error), /Record 4\b/)
    if (name !== 'partitionBy') t.match(String(error), /"B"/, 'names the partition')
    t.equal(work.count('PutObject'), 0)
  })

  t.test(`records that ${name} refuses are written to the dead letter object`, async t => {
    const work = await bench(t)
    const events: ManifestObject[] = []
    const run = async (): Promise<Manifest> => {
      const sink = rotate<Row>(work.spool, {
        ...base,
        ...options,
        job: slug,
        deadLetter: { key: '{job}/bad.jsonl' },
      })
      sink.on('object', object => events.push(object))
      await pipeline(rows(21), sink)
      return sink.result
    }
    const manifest = await run()
    // Nothing is cut before the first record of an object.
    const isRefused = (row: Row): boolean => isBad(row) && (row.id > 0 || name !== 'cutBefore')
    const bad = rows(21).filter(isRefused)
    const count = bad.length
    const deadLetter = { records: count, first: bad[0]?.id, last: 20 }
    t.match(manifest, { records: 21 - count, skipped: count, deadLetter })
    t.ok(manifest.objects.every(({ records }) => records > 0))
    t.same(new Set(await rowsOf(work, manifest)), new Set(rows(21).filter(row => !isRefused(row))))
    const key = manifest.deadLetter?.key ?? ''
    t.equal(key, `${slug}/bad.jsonl`)
    t.same(
      await lettersOf(work, key),
      bad.map(record => ({
        number: record.id,
        ...(name === 'partitionBy' ? {} : { partition: record.of }),
        reason: 'five',
        record,
      })),
    )
    t.same(new Set(events), new Set([...manifest.objects, manifest.deadLetter]))
    const stored = work.oss.requests.filter(({ operation }) => operation === 'PutObject')
    t.match(stored.at(-1)?.key, '_manifest', 'the manifest is the last object')
    t.same(JSON.parse(String(await work.get(`_manifest-${slug}.json`))), manifest)

    const requests = stored.length
    t.same(await run(), manifest, 'a rerun agrees')
    t.equal(work.count('PutObject'), requests, 'and sends nothing')
  })
}

t.test('a rerun with other bad records is refused', async t => {
  const work = await bench(t)
  const run = async (limit: number): Promise<unknown> => {
    const format = (row: Row): string => {
      if (row.id > limit) throw new Error('too large')
      return jsonl(row)
    }
    const deadLetter = { key: 'bad-{job}' }
    return pipeline(rows(9), rotate<Row>(work.spool, { ...base, format, deadLetter }))
  }
  await run(5)
  const requests = work.count('PutObject')
  for (const limit of [4, 6, 100]) {
    await t.rejects(run(limit), { code: 'ERR_SPOOL_EXPECTATION' }, String(limit))
  }
  t.equal(work.count('PutObject'), requests)
})

t.test('an object starts with its first good record', async t => {
  const work = await bench(t)
  const format = await csv<Row>({ columns: ['id', 'of'] })
  const sink = rotate<Row>(work.spool, {
    ...base,
    key: '{seq}',
    partitionBy: undefined as never,
    format: (row, isFirst) => format(refuseFives(row), isFirst),
    every: { records: 4 },
    onBadRecord: () => 'skip',
  })
  await pipeline(rows(11), sink)
  const { objects, skipped, deadLetter } = await sink.result
  t.same([skipped, deadLetter], [3, undefined])
  t.same(
    objects.map(({ records, first, last }) => [records, first, last]),
    [
      [4, 1, 4],
      [4, 6, 9],
    ],
  )
  t.equal(String(await work.get('1')), 'id,of\n6,A\n7,B\n8,C\n9,A\n')
})

t.test('a job with only bad records publishes no other object', async t => {
  const work = await bench(t)
  const format = (): never => {
    throw failure
  }
  const deadLetter = { key: 'bad-{job}' }
  const sink = rotate<Row>(work.spool, { ...base, format, deadLetter })
  await pipeline(rows(3), sink)
  t.match(await sink.result, { records: 0, objects: [], skipped: 3, deadLetter: { records: 3 } })
  t.equal(work.count('PutObject'), 2)
  const none = rotate<Row>(work.spool, { ...base, job: 'none', deadLetter })
  await pipeline(rows(3), none)
  const manifest = await none.result
  t.equal(manifest.skipped, 0)
  t.notOk('deadLetter' in manifest)
})

t.test('onBadRecord gets the error and the record, and decides', async t => {
  const work = await bench(t)
  const seen: [Error, BadRecord<Row>][] = []
  const options = { ...base, format: (row: Row) => jsonl(refuseFives(row)) }
  const run = async (job: string, onBadRecord: () => unknown): Promise<Manifest> => {
    const sink = rotate<Row>(work.spool, {
      ...options,
      job,
      onBadRecord: (...bad) => {
        seen.push(bad)
        return onBadRecord() as 'skip' // any value on purpose
      },
    })
    await pipeline(rows(7), sink)
    return sink.result
  }
  t.equal((await run('skip', () => 'skip')).skipped, 2)
  t.same(seen, [
    [failure, { record: { id: 0, of: 'A' }, number: 0, partition: 'A' }],
    [failure, { record: { id: 5, of: 'C' }, number: 5, partition: 'C' }],
  ])
  const own = new Error('enough')
  const fail = (error: Error) => (): never => {
    throw error
  }
  await t.rejects(run('own', fail(own)), own)
  await t.rejects(run('same', fail(failure)), { message: /Record 0 .*five/, cause: failure })
  const wrong: readonly (() => unknown)[] = [
    () => undefined,
    () => true,
    () => 'Skip',
    () => ({}),
    () => Promise.resolve('skip'),
    () => Promise.reject(own),
  ]
  for (const [i, verdict] of wrong.entries()) {
    const expected = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
    await t.rejects(run(`wrong-${i}`, verdict), expected)
  }
})

t.test('onBadRecord may write a corrected record to the sink', async t => {
  const work = await bench(t)
  const sink = rotate<Row>(work.spool, {
    ...base,
    key: '{seq}',
    partitionBy: undefined as never,
    format: row => jsonl(refuseFives(row)),
    onBadRecord: (_error, { record }) => {
      sink.write({ ...record, id: record.id + 1 })
      return 'skip'
    },
  })
  for (const row of rows(2)) sink.write(row)
  while ((await linesOf(work, '0')).length === 0) {
    if (sink.writableLength === 0 && !sink.writableEnded) sink.end()
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  const { records, skipped } = await sink.result
  t.same([records, skipped], [2, 1])
  t.same(await linesOf(work, '0'), [
    { id: 1, of: 'B' },
    { id: 1, of: 'A' },
  ])
})

t.test('functions of a job must return synchronously, and what they promise to return', async t => {
  const rejected = (): Promise<never> => Promise.reject(failure) // must not end the process
  const wrong: Readonly<Record<string, object>> = {
    format: { format: rejected },
    'format, nothing': { format: () => undefined },
    partitionBy: { partitionBy: rejected },
    time: { key: '{partition}/{yyyy}', time: rejected },
    cutBefore: { cutBefore: rejected },
    recordId: { recordId: rejected },
    'recordId, NaN': { recordId: () => Number.NaN },
  }
  const work = await bench(t)
  for (const [name, options] of Object.entries(wrong)) {
    const all = { ...base, ...options, job: name.replaceAll(/\W+/g, '-') }
    const expected = { code: 'ERR_INVALID_ARG_TYPE', message: /Record \d/ }
    await t.rejects(pipeline(rows(9), rotate<Row>(work.spool, all)), expected, name)
  }
  await new Promise(resolve => setImmediate(resolve))
})

t.test('a record whose key is invalid is a bad record', async t => {
  const work = await bench(t)
  const values = ['ok', 'x'.repeat(2000), '\ud800', '../up', 'list.json', 'dead.jsonl', 'a/b']
  const options = {
    job: 'job',
    key: '{partition:path}',
    manifest: 'list.json',
    format: (text: string) => `${text}\n`,
    partitionBy: (text: string) => text,
  }
  const sink = rotate<string>(work.spool, { ...options, deadLetter: { key: 'dead.jsonl' } })
  await pipeline(Readable.from(values), sink)
  const { objects, deadLetter } = await sink.result
  t.same(
    objects.map(({ key }) => key),
    ['ok', 'a/b'],
  )
  const letters = await lettersOf(work, deadLetter?.key ?? '')
  t.same(
    letters.map(({ record }) => record),
    values.slice(1, 6),
  )
  t.match(letters[3]?.reason, 'list.json')
  const strict = rotate<string>(work.spool, { ...options, job: 'strict', manifest: 'other.json' })
  const error: unknown = await pipeline(['x'.repeat(2000)], strict).catch(
    (reason: unknown) => reason,
  )
  t.type(error, SpoolError)
  t.match(error, { code: 'ERR_SPOOL_INVALID_KEY', message: /Record 0 /, resumable: false })
  t.ok(String(error).length < 3000, 'a long partition is not shown as a whole')
})

t.test('skipped records are durable after commit()', async t => {
  for (const onUploadFailure of [undefined, () => {}]) {
    const work = await bench(t)
    const commit = { records: 1000, ...(onUploadFailure && { onUploadFailure }) }
    const sink = rotate<Row>(work.spool, {
      ...base,
      format: row => jsonl(refuseFives(row)),
      deadLetter: { key: '{job}/bad.jsonl' },
      commit,
    })
    sink.on('error', () => {})
    for (const row of rows(8)) sink.write(row)
    await sink.commit()
    for (const row of rows(11).slice(8)) sink.write(row)
    const closed = new Promise(resolve => sink.once('close', resolve))
    sink.destroy(new Error('cut'))
    await closed
    const again = work.another()
    for (const { id, resumable } of await again.uploads()) if (resumable) await again.resume(id)
    const numbers = (await lettersOf(work, 'job/bad.jsonl')).map(({ number }) => number)
    t.same(numbers, [0, 5])

    const next = rotate<Row>(work.another(), {
      ...base,
      job: 'next',
      format: row => jsonl(refuseFives(row)),
      deadLetter: { key: '{job}/bad.jsonl' },
      commit,
    })
    await pipeline(rows(11), next)
    const { records, skipped } = await next.result
    t.same([records, skipped], [8, 3])
    t.equal((await lettersOf(work, 'next/bad.jsonl')).length, 3)
  }
})

t.test('a dead letter object of another job is not replaced', async t => {
  const work = await bench(t)
  const run = (job: string, key: string): Promise<void> => {
    const format = (row: Row): string => jsonl(refuseFives(row))
    return pipeline(rows(6), rotate<Row>(work.spool, { ...base, job, format, deadLetter: { key } }))
  }
  await run('first', 'bad.jsonl')
  const before = await work.get('bad.jsonl')
  const taken = {
    code: 'ERR_SPOOL_OBJECT_EXISTS',
    hint: /Add {job} to the option "deadLetter.key"/,
  }
  await t.rejects(run('second', 'bad.jsonl'), taken)
  t.same(await work.get('bad.jsonl'), before)
  t.equal(await work.get('_manifest-second.json'), undefined)
  await run('third', '{job}-bad.jsonl')
})

t.test('a record that fails the job is not counted by a commit', async t => {
  const work = await bench(t)
  const commits: number[] = []
  const sink = rotate<Row>(work.spool, {
    ...base,
    format: row => {
      if (row.id === 3) throw failure
      return `${JSON.stringify(row)}${' '.repeat(100_000)}\n` // each record waits for its batch
    },
    commit: { ms: 1 },
  })
  sink.on('commit', records => commits.push(records))
  await t.rejects(pipeline(rows(9), sink), { cause: failure, message: /Record 3 / })
  t.ok(
    commits.every(records => records <= 3),
    commits.join(),
  )
})

t.test('invalid options for bad records are refused', async t => {
  const work = await bench(t)
  const wrong: readonly [code: string, options: object][] = [
    ['ERR_INVALID_ARG_TYPE', { onBadRecord: 'skip' }],
    ['ERR_INVALID_ARG_TYPE', { deadLetter: 'key' }],
    ['ERR_INVALID_ARG_TYPE', { deadLetter: {} }],
    ['ERR_INVALID_ARG_VALUE', { deadLetter: { key: 'a', gzip: true } }],
    ['ERR_INVALID_ARG_VALUE', { deadLetter: { key: '{seq}' } }],
    ['ERR_SPOOL_INVALID_KEY', { deadLetter: { key: '/a' } }],
    ['ERR_INVALID_ARG_VALUE', { deadLetter: { key: 'a' }, manifest: 'a' }],
    ['ERR_INVALID_ARG_VALUE', { deadLetter: { key: 'a' }, successMarker: 'a' }],
  ]
  for (const [code, options] of wrong) {
    const all = { ...base, ...options }
    t.throws(() => rotate<Row>(work.spool, all), { code }, JSON.stringify(options))
  }
  const options = { ...base, commit: { ms: 1 }, deadLetter: { key: '{job}/_manifest-{job}.json' } }
  t.doesNotThrow(() => rotate<Row>(work.spool, options), 'a committed job has no manifest')
})

t.test('a dead letter has any record as JSON', t => {
  const letter = (record: unknown): unknown => {
    const line = deadLetterLine({ record, number: 1, partition: 'p' }, new Error('"why"\n'))
    t.equal(line.indexOf('\n'), line.length - 1)
    const { record: json, ...rest } = JSON.parse(line) as DeadLetter
    t.same(rest, { number: 1, partition: 'p', reason: '"why"\n' })
    return json
  }
  const cycle: Record<string, unknown> = { a: 1 }
  cycle['self'] = cycle
  const throwing = {
    get a(): never {
      throw failure
    },
  }
  t.same(letter({ a: [1, null] }), { a: [1, null] })
  t.same(letter('text\n'), 'text\n')
  t.same(letter(Buffer.from('é\n')), 'é\n')
  t.same(letter(Uint8Array.of(255, 0)), { base64: '/wA=' })
  t.same(letter({ big: 2n ** 64n }), { big: '18446744073709551616' })
  t.same(letter('\ud800'), '\ud800')
  for (const record of [undefined, () => {}, Symbol('s'), cycle, throwing]) {
    t.match(letter(record), { inspected: String })
  }
  const hostile = new Proxy(
    {},
    {
      get: () => {
        throw failure
      },
      ownKeys: () => {
        throw failure
      },
    },
  )
  t.match(letter(hostile), { inspected: String })
  const own = { toJSON: () => undefined }
  t.match(letter(own), { inspected: String })
  t.end()
})

t.test('errors that are not Error become the reason as text', async t => {
  const work = await bench(t)
  const thrown: readonly unknown[] = ['text', 7, null, undefined, { code: 'x' }]
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: index => {
      throw thrown[index]
    },
    deadLetter: { key: 'bad-{job}' },
  })
  await pipeline(Readable.from([...thrown.keys()]), sink)
  const letters = await lettersOf(work, 'bad-job')
  t.equal(letters.length, thrown.length)
  t.ok(letters.every(({ reason }) => typeof reason === 'string' && reason !== ''))
})

t.test('many bad records wait for the disk, as others do', async t => {
  const work = await bench(t)
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: id => {
      if (id % 2 === 0) throw failure
      return `${id}\n`
    },
    deadLetter: { key: 'bad-{job}' },
  })
  const records = Array.from({ length: 5000 }, (_, id) => id)
  await pipeline(Readable.from(records), sink)
  t.match(await sink.result, { records: 2500, skipped: 2500 })
  const numbers = (await lettersOf(work, 'bad-job')).map(({ number }) => number)
  t.same(
    numbers,
    records.filter(id => id % 2 === 0),
  )
})
