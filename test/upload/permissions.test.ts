/**
 * Uploads by users that lack one permission of RAM, as described in `docs/security.md`: with all that a policy
 * can refuse, an undisturbed upload needs `oss:PutObject` alone. The rows of the page are the tests of this file.
 */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import type { OperationName } from '../../src/emulator/index.js'
import type { SpoolError, UploadOptions } from '../../src/index.js'
import { bench, bytes, failingAfter, type Bench } from '../support/oss.js'
import { pathOf } from '../support/project.js'

const PART = 102_400
const DATA = bytes(2 * PART + 5)
const SMALL = bytes(1000)
const RESET = { do: 'reset', times: 'always' } as const
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

/** Operations of OSS that each permission of the page permits, by the documentation of OSS. */
const OPERATIONS: Readonly<Record<string, readonly OperationName[]>> = {
  'oss:PutObject': [
    'PutObject',
    'InitiateMultipartUpload',
    'UploadPart',
    'CompleteMultipartUpload',
  ],
  'oss:GetObject': ['HeadObject'],
  'oss:ListParts': ['ListParts'],
  'oss:AbortMultipartUpload': ['AbortMultipartUpload'],
  'oss:ListMultipartUploads': ['ListMultipartUploads'],
}

function refuse(b: Bench, permission: string): void {
  b.oss.inject({ operation: OPERATIONS[permission] ?? [], ...DENIED })
}

/** Runs `test` with a bench whose user lacks `permission`. */
function without(permission: string, name: string, test: (t: Test, b: Bench) => Promise<void>) {
  t.test(`without ${permission}, ${name}`, async t => {
    const b = await bench(t)
    refuse(b, permission)
    await test(t, b)
  })
}

function upload(b: Bench, data: Buffer, options: UploadOptions = {}) {
  return b.another().upload('key', () => [data], { id: 'id', ...options })
}

/** Expects an upload to fail. Resolves with its error. */
async function failing(upload: Promise<unknown>): Promise<SpoolError> {
  return upload.then(
    () => Promise.reject(new Error('The upload did not fail')),
    (reason: unknown) => reason as SpoolError, // whose code is asserted by the callers
  )
}

/** Leaves an unsealed upload with an upload id and a part. */
async function leaveUnsealed(b: Bench): Promise<void> {
  const source = failingAfter(DATA, new Error('cut'), () => b.count('UploadPart') > 0)
  await failing(b.another().upload('key', () => source, { id: 'id' }))
}

/** Leaves a sealed upload with an upload id. */
async function leaveSealed(b: Bench): Promise<void> {
  const fault = b.oss.inject({ operation: 'UploadPart', partNumber: 2, ...RESET })
  t.match(await failing(upload(b, DATA)), { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
  fault.remove()
}

// --- the policies of the page ---------------------------------------------------------------------

const page = readFileSync(pathOf('docs/security.md'), 'utf8')
const [minimal, full] = [...page.matchAll(/```json\n(\{\n {2}"Version"[^]*?)\n```/g)].map(
  ([, json = '']) =>
    new Set<string>(
      JSON.parse(json).Statement.flatMap(({ Action }: { Action: string[] }) => Action),
    ),
)

t.test('the full policy and the table have the same permissions', t => {
  const rows = [...page.matchAll(/^\| `(oss:\w+)`/gm)].map(([, permission = '']) => permission)
  t.same([...(full ?? [])].toSorted(), rows.toSorted())
  for (const permission of Object.keys(OPERATIONS)) t.ok(rows.includes(permission), permission)
  for (const permission of minimal ?? []) t.ok(full?.has(permission), permission)
  t.end()
})

t.test('the minimal policy suffices for undisturbed uploads', async t => {
  const b = await bench(t)
  for (const permission of Object.keys(OPERATIONS)) {
    if (minimal?.has(permission) !== true) refuse(b, permission)
  }
  for (const data of [SMALL, DATA]) {
    t.match(await upload(b, data), { size: data.length })
    t.same(await b.another().uploads(), [])
  }
})

// --- the rows of the table ------------------------------------------------------------------------

without('oss:PutObject', 'nothing is uploaded, and every byte is kept', async (t, b) => {
  for (const data of [SMALL, DATA]) {
    const options = { id: `id-${data.length}` }
    t.match(await failing(upload(b, data, options)), { code: 'ERR_SPOOL_DENIED', resumable: true })
    b.oss.clearFaults()
    t.match(await b.another().resume(options.id), { size: data.length })
    refuse(b, 'oss:PutObject')
  }
})

without('oss:GetObject', 'a lost reply to Complete needs --force', async (t, b) => {
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' })
  t.match(await failing(upload(b, DATA)), { code: 'ERR_SPOOL_DENIED', resumable: true })
  t.match(await failing(b.another().resume('id')), { code: 'ERR_SPOOL_DENIED', resumable: true })
  t.match(await b.another().resume('id', { force: true }), { size: DATA.length })
})

without('oss:GetObject', 'a key that is taken is reported as usual', async (t, b) => {
  await upload(b, SMALL)
  for (const data of [SMALL, DATA]) {
    const error = await failing(upload(b, data, { overwrite: false }))
    t.match(error, { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false })
  }
})

without('oss:ListParts', 'an upload id of an earlier run needs --force', async (t, b) => {
  await leaveSealed(b)
  t.match(await failing(b.another().resume('id')), { code: 'ERR_SPOOL_DENIED', resumable: true })
  t.match(await b.another().resume('id', { force: true }), { size: DATA.length, skipped: 0 })
})

without(
  'oss:ListParts',
  'a stream is sealed, but not published, over one that died',
  async (t, b) => {
    await leaveUnsealed(b)
    t.match(await failing(upload(b, DATA)), { code: 'ERR_SPOOL_DENIED', resumable: true })
    t.match(await b.another().resume('id', { force: true }), { size: DATA.length })
  },
)

without('oss:ListParts', 'freed parts wait for the permission', async (t, b) => {
  b.oss.clearFaults()
  const denied = b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  const sink = b
    .another({ maxSpoolBytes: 2 * PART, parallel: 1 })
    .createWriteStream('key', { id: 'id' })
  sink.on('error', () => {})
  sink.end(bytes(8 * PART))
  t.match(await failing(sink.result), { code: 'ERR_SPOOL_DENIED', resumable: true })
  denied.remove()
  refuse(b, 'oss:ListParts')
  const forced = b.another().resume('id', { force: true })
  t.match(await failing(forced), { code: 'ERR_SPOOL_DENIED', resumable: true })
  b.oss.clearFaults()
  t.match(await b.another().resume('id'), { size: 8 * PART })
})

without('oss:AbortMultipartUpload', 'uploads cannot be discarded', async (t, b) => {
  await leaveUnsealed(b)
  t.match(await failing(b.another().abort('id')), { code: 'ERR_SPOOL_DENIED' })
  t.match(await b.another().prune({ olderThan: 0 }), [
    { id: 'id', error: { code: 'ERR_SPOOL_DENIED' } },
  ])
  t.match(await b.another().uploads(), [{ id: 'id' }])
})

without('oss:AbortMultipartUpload', 'upload ids that are not needed stay', async (t, b) => {
  await leaveUnsealed(b)
  t.match(await upload(b, DATA, { meta: { run: 'b' } }), { size: DATA.length })
  t.match(b.warnings.at(-1)?.message, /could not be aborted yet/)
  b.oss.clearFaults()
  await b.another().prune({ olderThan: 0 })
  t.equal(b.count('AbortMultipartUpload'), 1, 'prune() aborts it once that is permitted')
})

without('oss:AbortMultipartUpload', 'an unanswered Complete stops other content', async (t, b) => {
  const faults = (['CompleteMultipartUpload', 'HeadObject'] as const).map(operation =>
    b.oss.inject({ operation, at: 'start', ...RESET }),
  )
  await failing(upload(b, DATA))
  for (const fault of faults) fault.remove()
  const error = await failing(upload(b, SMALL, { maxAge: 0 }))
  t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
  t.match(await b.another().resume('id', { force: true }), { size: SMALL.length })
})

without('oss:ListMultipartUploads', 'orphans of a lost Initiate stay', async (t, b) => {
  b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done' })
  t.match(await upload(b, DATA), { size: DATA.length })
  t.match(await failing(b.another().abort('id')), { code: 'ERR_SPOOL_DENIED' })
  b.oss.clearFaults()
  t.match(await b.another().prune({ olderThan: 0, orphans: true }), [{ kind: 'orphan' }])
})
