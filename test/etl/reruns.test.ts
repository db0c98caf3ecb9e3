/**
 * Reruns of a job: what each state of an earlier run, and each change of the records, makes of the next run, and how
 * many requests of it change the bucket.
 */
import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { jsonl, rotate, type Manifest, type RotateOptions } from '../../src/etl/index.js'
import { manifestUploadId, objectUploadId } from '../../src/etl/upload-ids.js'
import { SpoolError } from '../../src/index.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'

interface Row {
  readonly of: string
  readonly text: string
}

const JOB: RotateOptions<Row> = {
  job: 'job',
  key: '{partition}',
  partitionBy: ({ of }) => of,
  format: jsonl,
}
const MANIFEST = '_manifest-job.json'
const MANIFEST_ID = manifestUploadId('job')
const idOf = (key: string): string => objectUploadId('job', key)
const B_ID = idOf('B')

const row = (of: string, text = of): Row => ({ of, text })
const ROWS = [row('A'), row('B'), row('C')]
const CHANGED = [row('A'), row('B', 'changed'), row('C')]
const GONE = [row('A'), row('C')]
const B_BYTES = jsonl(row('B'))

const CHANGING = [
  'PutObject',
  'PostObject',
  'InitiateMultipartUpload',
  'UploadPart',
  'CompleteMultipartUpload',
  'AbortMultipartUpload',
  'DeleteObject',
]

function changes(work: Bench, from = 0): number {
  return work.oss.requests.slice(from).filter(({ operation }) => CHANGING.includes(operation ?? ''))
    .length
}

/** Runs the job in a spool of its own. Returns `'ok'` or the code of its failure, and its requests that change something. */
async function rerun(
  work: Bench,
  rows: readonly Row[],
  options: Partial<RotateOptions<Row>> = {},
): Promise<{ code: string; changes: number; error?: SpoolError }> {
  const from = work.oss.requests.length
  try {
    await pipeline(rows, rotate<Row>(work.another(), { ...JOB, ...options }))
    return { code: 'ok', changes: changes(work, from) }
  } catch (error) {
    if (!(error instanceof SpoolError)) throw error
    return { code: error.code, changes: changes(work, from), error }
  }
}

/** Removes the receipt of an upload, and its object. */
async function unpublish(work: Bench, id: string, key: string): Promise<void> {
  await work.spool.forget(id)
  await new OSS(work.oss.clientOptions(BUCKET)).delete(key)
}

/** Uploads an object while OSS fails, so that it stays sealed. */
async function seal(work: Bench, id: string, key: string, content: string): Promise<void> {
  const refused = work.oss.inject({
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const options = { id, once: true, overwrite: false }
  await t.rejects(work.spool.upload(key, () => Readable.from([content]), options))
  refused.remove()
}

const objectStates: Record<string, (work: Bench) => Promise<void>> = {
  receipt: async () => {},
  sealed: async work => {
    await unpublish(work, B_ID, 'B')
    await seal(work, B_ID, 'B', B_BYTES)
  },
  unfinished: async work => {
    await unpublish(work, B_ID, 'B')
    const source = async function* () {
      yield B_BYTES
      throw new Error('the source failed')
    }
    await t.rejects(work.spool.upload('B', () => source(), { id: B_ID, once: true }))
  },
  missing: work => unpublish(work, B_ID, 'B'),
}

const manifestStates: Record<string, (work: Bench, manifest: string) => Promise<void>> = {
  none: work => unpublish(work, MANIFEST_ID, MANIFEST),
  sealed: async (work, manifest) => {
    await unpublish(work, MANIFEST_ID, MANIFEST)
    await seal(work, MANIFEST_ID, MANIFEST, manifest)
  },
  unanswered: async (work, manifest) => {
    await unpublish(work, MANIFEST_ID, MANIFEST)
    const lost = work.oss.inject({
      do: 'reset',
      at: 'done',
      operation: 'PutObject',
      times: 'always',
    })
    const hidden = work.oss.inject({
      do: 'answer',
      status: 503,
      operation: 'HeadObject',
      times: 'always',
    })
    const options = { id: MANIFEST_ID, once: true, overwrite: false, mime: 'application/json' }
    await t.rejects(work.spool.upload(MANIFEST, () => Readable.from([manifest]), options))
    lost.remove()
    hidden.remove()
  },
  receipt: async () => {},
}

const PHASES: Record<string, string | undefined> = {
  receipt: 'receipt',
  sealed: 'sealed',
  unanswered: 'completing',
  unfinished: 'spooling',
}

/** State of object B and of the manifest, then the outcome of a rerun whose object B is the same, changed or gone. */
const refused = ['ERR_SPOOL_EXPECTATION', 0] as const
const table: [object: string, manifest: string, ...outcomes: (readonly [string, number])[]][] = [
  ['receipt', 'none', ['ok', 1], refused, refused],
  ['sealed', 'none', ['ok', 2], refused, refused],
  ['unfinished', 'none', ['ok', 2], ['ok', 2], ['ok', 1]],
  ['missing', 'none', ['ok', 2], ['ok', 2], ['ok', 1]],
  ['receipt', 'sealed', ['ok', 1], refused, refused],
  ['sealed', 'sealed', refused, refused, refused],
  ['unfinished', 'sealed', refused, refused, refused],
  ['missing', 'sealed', refused, refused, refused],
  ['receipt', 'unanswered', ['ok', 0], refused, refused],
  ['sealed', 'unanswered', refused, refused, refused],
  ['unfinished', 'unanswered', refused, refused, refused],
  ['missing', 'unanswered', refused, refused, refused],
  ['receipt', 'receipt', ['ok', 0], refused, refused],
  ['sealed', 'receipt', refused, refused, refused],
  ['unfinished', 'receipt', refused, refused, refused],
  ['missing', 'receipt', refused, refused, refused],
]

/** Prepares the spool of an earlier run. Returns its manifest. */
async function prepare(t: Test, object: string, manifest: string): Promise<Bench> {
  const work = await bench(t)
  t.equal((await rerun(work, ROWS)).code, 'ok')
  const text = String(await work.get(MANIFEST))
  await objectStates[object]?.(work)
  await manifestStates[manifest]?.(work, text)
  const phases = new Map(
    (await work.spool.uploads({ receipts: true })).map(({ id, phase }) => [id, phase]),
  )
  t.equal(phases.get(B_ID), PHASES[object])
  t.equal(phases.get(MANIFEST_ID), PHASES[manifest])
  return work
}

// Any third of the rows has each state of the object, and each of the manifest.
for (const [object, manifest, ...outcomes] of sampled(t, table, 3)) {
  void t.test(`object: ${object}, manifest: ${manifest}`, async t => {
    for (const [i, change] of ['same', 'changed', 'gone'].entries()) {
      const work = await prepare(t, object, manifest)
      const before = await work.get(MANIFEST)
      const rows = [ROWS, CHANGED, GONE][i] ?? []
      const { error, ...outcome } = await rerun(work, rows)
      t.same(outcome, { code: outcomes[i]?.[0], changes: outcomes[i]?.[1] }, `records: ${change}`)
      if (error !== undefined) {
        t.equal(error.resumable, false)
        t.same(await work.get(MANIFEST), before, 'the manifest is as before')
        continue
      }
      const { objects } = JSON.parse(String(await work.get(MANIFEST))) as Manifest
      t.same(
        objects.map(({ key }) => key),
        [...new Set(rows.map(({ of }) => of))],
      )
      const again = await rerun(work, rows)
      t.same(again, { code: 'ok', changes: 0 }, 'the next run sends nothing')
    }
  })
}

const changedSources: Record<string, readonly Row[]> = {
  'with one record more': [...ROWS, row('C')],
  'with a new partition': [...ROWS, row('D')],
  'with a new partition first': [row('D'), ...ROWS],
  'with one record less': [row('A'), row('B')],
  'without records': [],
  'in another order': [row('B'), row('A'), row('C')],
  'with changed content': CHANGED,
}

for (const [change, rows] of sampled(t, Object.entries(changedSources), 3)) {
  void t.test(`a finished job is refused ${change}, and changes nothing`, async t => {
    for (const manifest of ['sealed', 'unanswered', 'receipt']) {
      const work = await prepare(t, 'receipt', manifest)
      t.match(await rerun(work, rows), { code: 'ERR_SPOOL_EXPECTATION', changes: 0 }, manifest)
      const expected = { sealed: 1, unanswered: 0, receipt: 0 }[manifest]
      t.same(await rerun(work, ROWS), { code: 'ok', changes: expected }, 'the same records agree')
    }
  })
}

void t.test('the error names a few keys that are left over, and their number', async t => {
  const work = await bench(t)
  const rows = Array.from({ length: 12 }, (_, i) => row(`p${i + 10}`))
  t.equal((await rerun(work, rows)).code, 'ok')
  await unpublish(work, MANIFEST_ID, MANIFEST)
  const { error } = await rerun(work, rows.slice(0, 2))
  t.match(error?.message, /10 objects .* p12, p13, p14, p15, p16 and 5 more/)
})

void t.test('the hint of a sealed object that is left over can be followed', async t => {
  const work = await prepare(t, 'sealed', 'none')
  const { error } = await rerun(work, GONE)
  t.match(error?.hint, `spool.abort('${B_ID}')`)
  await work.spool.abort(B_ID)
  t.same(await rerun(work, GONE), { code: 'ok', changes: 1 })
})

void t.test('the hint of a sealed object of a finished job can be followed', async t => {
  const work = await prepare(t, 'sealed', 'none')
  await work.spool.resume(B_ID)
  t.equal((await rerun(work, ROWS)).code, 'ok')
  const manifest = String(await work.get(MANIFEST))
  // As after a crash between the publication of an object and the save of its receipt.
  const checkpoint = join(work.dir, B_ID, 'checkpoint.json')
  const receipt = readFileSync(checkpoint)
  t.match(await rerun(work, ROWS), { code: 'ok', changes: 0 })
  t.same(readFileSync(checkpoint), receipt, 'a comparison changes no receipt')
  await work.spool.forget(B_ID)
  await seal(work, B_ID, 'B', B_BYTES)
  const { error } = await rerun(work, ROWS)
  t.match(error, { code: 'ERR_SPOOL_EXPECTATION', hint: `spool.resume('${B_ID}')` })
  t.equal(String(await work.get(MANIFEST)), manifest)
})

void t.test('a job ignores the uploads of jobs whose names begin like its own', async t => {
  const work = await bench(t)
  const [, ...others] = ['job', 'job-b', 'job-manifest', 'job.b'].map(job => ({
    job,
    key: `{job}/{partition}`,
    manifest: `{job}.json`,
  }))
  for (const options of others) t.equal((await rerun(work, ROWS, options)).code, 'ok')
  await seal(work, 'job-other', 'other', 'not of the job')
  t.same(await rerun(work, ROWS), { code: 'ok', changes: 4 })
  for (const options of others) {
    t.same(await rerun(work, ROWS, options), { code: 'ok', changes: 0 }, options.job)
  }
})

void t.test('an object that another process writes fails the job', async t => {
  const work = await prepare(t, 'receipt', 'none')
  await unpublish(work, B_ID, 'B')
  let close = (): void => {}
  const closed = new Promise<void>(resolve => (close = resolve))
  const source = async function* () {
    yield B_BYTES
    await closed
  }
  const other = work.another({ start: 'sealed' }) // sends nothing meanwhile
  const uploading = other.upload('B', () => source(), { id: B_ID, once: true })
  while ((await work.spool.uploads()).length === 0) await sleep(5)
  t.match(await rerun(work, GONE), { code: 'ERR_SPOOL_LOCKED', changes: 0 })
  t.match(await rerun(work, ROWS), { code: 'ERR_SPOOL_LOCKED', changes: 0 })
  close()
  await uploading
  t.same(await rerun(work, ROWS), { code: 'ok', changes: 1 })
})

void t.test('a job that waits for several locks at once fails and ends', async t => {
  const work = await bench(t)
  const other = work.another({ start: 'sealed' }) // sends nothing meanwhile
  let close = (): void => {}
  const closed = new Promise<void>(resolve => (close = resolve))
  const source = async function* () {
    yield B_BYTES
    await closed
  }
  const keys = ['A', 'B', 'C', 'D', 'E', 'F']
  const uploading = keys.map(key =>
    other.upload(key, () => source(), { id: idOf(key), once: true }),
  )
  while ((await work.spool.uploads()).length < keys.length) await sleep(5)
  const records = keys.map(key => row(key))
  t.match(await rerun(work, records), { code: 'ERR_SPOOL_LOCKED', changes: 0 })
  close()
  await Promise.all(uploading)
})

void t.test(
  'a job that another process finishes meanwhile fails, and agrees when it is run again',
  async t => {
    const work = await bench(t)
    const options: RotateOptions<Row> = { ...JOB, every: { records: 1 }, key: '{partition}-{seq}' }
    const source = async function* () {
      yield* ROWS
      while (work.count('PutObject') < 3 || (await work.spool.uploads()).length > 0) await sleep(5)
      const other = { ...options, recordId: ({ of }: Row) => of }
      t.match(await rerun(work, ROWS, other), { code: 'ok', changes: 1 })
    }
    const failure = { code: 'ERR_SPOOL_LOCKED', resumable: false }
    await t.rejects(pipeline(source(), rotate<Row>(work.spool, options)), failure)
    t.match(await rerun(work, ROWS, options), { code: 'ERR_SPOOL_EXPECTATION', changes: 0 })
    t.match(await rerun(work, ROWS, { ...options, recordId: ({ of }) => of }), { code: 'ok' })
  },
)

void t.test('a record that cannot be read fails only the run that needs it', async t => {
  const later = (text: string): string => text.replace('"format":1', '"format":9')
  const work = await prepare(t, 'receipt', 'none')
  const checkpoint = join(work.dir, B_ID, 'checkpoint.json')
  const text = readFileSync(checkpoint, 'utf8')
  writeFileSync(checkpoint, later(text))
  t.match(await rerun(work, ROWS), { code: 'ERR_SPOOL_UNREADABLE', changes: 0 })
  t.match(await rerun(work, GONE), { code: 'ok', changes: 1 }, 'it may be of another job')
  t.match(
    work.warnings.filter(({ id }) => id === B_ID),
    [{ cause: { code: 'ERR_SPOOL_UNREADABLE' } }],
  )

  const manifest = join(work.dir, MANIFEST_ID, 'checkpoint.json')
  writeFileSync(manifest, later(readFileSync(manifest, 'utf8')))
  const before = work.oss.requests.length
  t.match(await rerun(work, [...GONE, row('D')]), { code: 'ERR_SPOOL_UNREADABLE', changes: 0 })
  t.equal(work.oss.requests.length, before, 'found before the first upload')
})

void t.test('damaged, foreign and empty directories do not stop a job', async t => {
  const work = await prepare(t, 'receipt', 'none')
  cpSync(join(work.dir, B_ID), join(work.dir, 'job-copied'), { recursive: true })
  mkdirSync(join(work.dir, 'job-empty'))
  mkdirSync(join(work.dir, 'job-foreign'))
  writeFileSync(join(work.dir, 'job-foreign', 'photo.jpg'), '')
  mkdirSync(join(work.dir, 'job-open'))
  chmodSync(join(work.dir, 'job-open'), 0o777)
  cpSync(join(work.dir, idOf('C')), join(work.dir, idOf('D')), { recursive: true })
  t.match(await rerun(work, ROWS), { code: 'ok', changes: 1 })
})

void t.test('a failed run releases what it compared before the next one begins', async t => {
  const work = await prepare(t, 'sealed', 'none')
  const failing = async function* () {
    yield* ROWS
    throw new Error('the source failed')
  }
  await t.rejects(pipeline(failing(), rotate<Row>(work.spool, JOB)), {
    message: 'the source failed',
  })
  await pipeline(ROWS, rotate<Row>(work.spool, JOB))
  t.ok(await work.get(MANIFEST))
})

void t.test(
  "a spool with replay: 'offset' by default does not shorten an unfinished object",
  async t => {
    const work = await bench(t, { spool: { replay: 'offset', start: 'eager' } })
    const rows = Array.from({ length: 3000 }, (_, i) => row('A', `${i}`.repeat(40)))
    const failing = async function* () {
      yield* rows.slice(0, 2500)
      while (work.count('UploadPart') === 0) await sleep(5)
      throw new Error('the source failed')
    }
    await t.rejects(pipeline(failing(), rotate<Row>(work.another(), JOB)))
    t.match(await rerun(work, rows), { code: 'ok' })
    t.equal(String(await work.get('A')), rows.map(jsonl).join(''))
  },
)
