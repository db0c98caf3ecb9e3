/**
 * Requests of a killed process that take effect later. Its Complete is still on its way when another run
 * publishes newer content; the newer content must stay (rule 8).
 */
import t, { type Test } from 'tap'
import type { FaultAction, FaultHandle } from '../../src/emulator/index.js'
import type { RequestRecord } from '../../src/emulator/request-log.js'
import type { UploadOptions } from '../../src/index.js'
import { LONG, sampled } from '../support/long.js'
import { bench, type Bench } from '../support/oss.js'
import { SLOWEST } from '../support/slowest.js'
import { setLongTimeout } from './long-timeout.js'
import { contentOf } from './seeded-content.js'
import { SCENARIOS } from './scenario.js'
import { UploadFixture } from './upload-fixture.js'
import type { WorkerProcess } from './worker-process.js'

setLongTimeout(t)
t.jobs = 4 // they mostly wait
const PARALLEL = { buffered: true }

/** A run that publishes newer content under the same id. */
interface Newer {
  readonly name: string
  readonly options?: UploadOptions
  readonly size?: number
  readonly seed?: number
}

const { size } = SCENARIOS.parts

const METADATA: Newer = { name: 'other metadata', options: { meta: { run: 'newer' } } }
const FEW_BYTES: Newer = { name: 'few bytes', size: 40_003, seed: -1 }

/** Runs that cannot use the upload id of the killed one. */
const NEWER: readonly Newer[] = [
  METADATA,
  { name: 'another content type', options: { mime: 'text/csv' } },
  FEW_BYTES,
  {
    name: 'other metadata and a bounded spool',
    options: { meta: { run: 'newer' }, maxSpoolBytes: 204_800, parallel: 1 },
  },
]

/** A run that can use the upload id of the killed one. */
const SAME_OPTIONS: Newer = { name: 'other bytes and the same options', size: size + 1, seed: -2 }

interface Interrupted {
  readonly fixture: UploadFixture
  /** The Complete of the killed process. */
  readonly late: RequestRecord
  /** Lets it take effect. */
  readonly land: () => Promise<void>
}

/** Kills a process whose Complete has been received by OSS, and has no effect yet. */
async function interrupt(t: Test, b: Bench): Promise<Interrupted> {
  const fixture = new UploadFixture(b, size)
  const operation = 'CompleteMultipartUpload'
  const fault = b.oss.inject({ operation, key: fixture.key, do: 'hang', at: 'received' })
  t.teardown(() => fault.remove())
  const child = fixture.startWorker({ step: 'stream' })
  await fault.hit()
  await child.kill()
  const late = b.oss.requests.find(
    request => request.operation === operation && request.key === fixture.key,
  )!
  const land = async (): Promise<void> => {
    fault.remove()
    const deadline = Date.now() + SLOWEST
    while (late.status === undefined && Date.now() < deadline) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    if (late.status === undefined) throw new Error('The late Complete has no effect')
  }
  return { fixture, late, land }
}

/** Starts the newer run in its own process. */
function startNewer({ fixture }: Interrupted, newer: Newer): WorkerProcess {
  const { size = fixture.size, seed = fixture.seed } = newer
  const options = { ...fixture.options, ...newer.options }
  return fixture.startWorker({ step: 'stream', size, seed, options })
}

/** Asserts that the object is the newer one. */
async function isNewer(t: Test, { fixture }: Interrupted, newer: Newer): Promise<void> {
  const { size = fixture.size, seed = fixture.seed } = newer
  const object = await fixture.get()
  t.ok(object?.equals(contentOf(seed, size)), 'the object has the newer bytes')
  const { res, meta } = await fixture.oss.head(fixture.key)
  const { mime, meta: expected } = newer.options ?? {}
  // The client's declarations lack the type of the headers.
  const headers = res.headers as Readonly<Record<string, string>>
  if (mime !== undefined) t.equal(headers['content-type'], mime)
  if (expected !== undefined) t.match(meta, expected)
}

for (const newer of [...sampled(t, NEWER, 4), SAME_OPTIONS]) {
  if (LONG)
    t.test(
      `a late Complete does not replace a newer object with ${newer.name}`,
      PARALLEL,
      async t => {
        const b = await bench(t)
        const old = await interrupt(t, b)
        const { error } = await startNewer(old, newer).finished()
        t.equal(error, undefined)
        await old.land()
        await isNewer(t, old, newer)
        t.same(await old.fixture.files(), [])
        t.same(await old.fixture.uploadIds(), [])
      },
    )

  t.test(
    `a Complete that lands with the newer one does not replace it: ${newer.name}`,
    PARALLEL,
    async t => {
      const b = await bench(t)
      const old = await interrupt(t, b)
      const operation = ['CompleteMultipartUpload', 'PutObject'] as const
      const reply = b.oss.inject({ operation, key: old.fixture.key, do: 'hang', at: 'done' })
      const child = startNewer(old, newer)
      await Promise.race([reply.hit(), child.ended])
      await old.land()
      reply.remove()
      const { error } = await child.finished()
      t.equal(error, undefined)
      await isNewer(t, old, newer)
      t.same(await old.fixture.files(), [])
      t.same(await old.fixture.uploadIds(), [])
    },
  )
}

/** Failures of an abort, and the newer runs to try with each unless all are tried. */
const REFUSALS = [
  {
    name: 'refused',
    code: 'ERR_SPOOL_DENIED',
    failure: { do: 'answer', status: 403, code: 'AccessDenied' },
    some: [METADATA],
  },
  {
    name: 'unanswered',
    code: 'ERR_SPOOL_UPLOAD_FAILED',
    failure: { do: 'reset' },
    some: [FEW_BYTES],
  },
] as const

function refuseAbort(b: Bench, { key }: UploadFixture, failure: FaultAction): FaultHandle {
  return b.oss.inject({ operation: 'AbortMultipartUpload', key, times: 'always', ...failure })
}

for (const { name, code, failure, some } of sampled(t, REFUSALS, 2)) {
  for (const newer of LONG ? NEWER : some) {
    t.test(
      `an abort of the old upload id that is ${name} fails ${newer.name}`,
      PARALLEL,
      async t => {
        const b = await bench(t)
        const old = await interrupt(t, b)
        const { fixture } = old
        const refusal = refuseAbort(b, fixture, failure)
        const failed = await startNewer(old, newer).finished()
        t.match(failed.error, { code, resumable: true })
        t.equal(await fixture.get(), undefined, 'nothing is published')
        const again = await fixture.startWorker({ step: 'resume' }).finished()
        t.match(again.error, { code, resumable: true }, 'nor without force')

        const { error } = await fixture.startWorker({ step: 'resume', force: true }).finished()
        t.equal(error, undefined, 'force publishes')
        await isNewer(t, old, newer)
        refusal.remove()
        await old.land()
      },
    )

    t.test(
      `resume() publishes ${newer.name} once an abort is no longer ${name}`,
      PARALLEL,
      async t => {
        const b = await bench(t)
        const old = await interrupt(t, b)
        const { fixture } = old
        const refusal = refuseAbort(b, fixture, failure)
        await startNewer(old, newer).finished()
        refusal.remove()
        const { error } = await fixture.startWorker({ step: 'resume' }).finished()
        t.equal(error, undefined)
        await old.land()
        await isNewer(t, old, newer)
        t.same(await fixture.files(), [])
        t.same(await fixture.uploadIds(), [])
      },
    )
  }
}
