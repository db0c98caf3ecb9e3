/**
 * A process is killed while it moves an upload to another key, at every request and at every disk operation, and
 * by power cuts. The next process goes on where the record says: at the new place as soon as the move is durable.
 */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { FaultPoint } from '../../src/emulator/index.js'
import type { OperationName } from '../../src/emulator/operations/operation-name.js'
import { sampled } from '../support/long.js'
import { bench, type Bench } from '../support/oss.js'
import { DiskImage, type Loss, type TraceEntry } from './disk-image.js'
import { runCases, type Case } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { check } from './recovery.js'
import { SCENARIOS } from './scenario.js'
import { UploadFixture } from './upload-fixture.js'
import type { DiskPlan, WorkerProcess } from './worker-process.js'

setLongTimeout(t)

const { size } = SCENARIOS.resume

/** A state of an upload that is then moved. */
interface Start {
  readonly name: string
  readonly prepare: (fixture: UploadFixture) => Promise<void>
  readonly content: (fixture: UploadFixture) => Buffer
  /** Its object may be at the old place, too. */
  readonly published?: true
}

const whole = (fixture: UploadFixture): Buffer => fixture.content
const STARTS: readonly Start[] = [
  { name: 'sealed', prepare: SCENARIOS.resume.prepare, content: whole },
  { name: 'published', prepare: SCENARIOS.answered.prepare, content: whole, published: true },
  {
    name: 'committed',
    prepare: SCENARIOS.supersedeCommitted.prepare,
    content: fixture => SCENARIOS.supersedeCommitted.predecessor(fixture),
  },
  {
    name: 'sealed with a later unsealed stream',
    prepare: SCENARIOS.previous.prepare,
    content: whole,
  },
  { name: 'moved before', prepare: moveBefore, content: whole },
]

/** Leaves a sealed upload that was moved to a key where OSS refused it. */
async function moveBefore(fixture: UploadFixture): Promise<void> {
  await SCENARIOS.resume.prepare(fixture)
  const key = `${fixture.key}/between`
  const { oss } = fixture.bench
  const fault = oss.inject({
    key,
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  await fixture
    .spool()
    .resume(fixture.id, { to: { key } })
    .catch(() => undefined)
  fault.remove()
  check((await fixture.checkpoint())?.key === key, 'the upload was moved')
}

const newKey = (fixture: UploadFixture): string => `${fixture.key}/new`

async function setUp(b: Bench, start: Start): Promise<UploadFixture> {
  const fixture = new UploadFixture(b, size)
  await start.prepare(fixture)
  return fixture
}

function startMove(fixture: UploadFixture, disk?: DiskPlan): WorkerProcess {
  return fixture.startWorker({ step: 'resume', to: { key: newKey(fixture) } }, disk)
}

/** Finishes the upload in a new process, and checks that it is at its new place and left nothing behind. */
async function recover(fixture: UploadFixture, start: Start): Promise<string> {
  const { id, key, bench: b } = fixture
  const target = newKey(fixture)
  const content = start.content(fixture)
  const spool = fixture.spool()
  await spool.uploads() // sweeps
  const found = await fixture.checkpoint()
  const isMoved = found?.key === target
  if (isMoved && found.upload.phase !== 'published') {
    const other = spool.upload(target, () => [Buffer.alloc(1)], { id: `${id}-other` })
    const code = await other.then(
      () => undefined,
      (error: unknown) => Object(error).code,
    )
    check(code === 'ERR_SPOOL_ID_IN_USE', `no other upload publishes there: ${code}`)
  }
  if (found !== undefined) {
    // The command is repeated if it had no effect.
    await spool.resume(id, isMoved ? {} : { to: { key: target } })
  }
  check((await b.get(target))?.equals(content) === true, 'the object is at the new place')
  const old = await b.get(key)
  check(
    start.published === true ? old?.equals(content) === true : old === undefined,
    'the old place is as it was',
  )
  const { lost = [], movedFrom = [] } = (await fixture.checkpoint()) ?? {}
  const left = lost.length + movedFrom.reduce((sum, place) => sum + place.lost.length, 0)
  const { uploads } = await fixture.oss.listUploads({ prefix: key, 'max-uploads': 1000 }, {})
  check(
    uploads.length <= left,
    `${uploads.length} upload ids are left, ${left} Initiates were lost`,
  )
  // The client's declarations require a query that OSS does not, and lack the list of parts.
  const list = fixture.oss.listParts.bind(fixture.oss) as unknown as (
    key: string,
    uploadId: string,
  ) => Promise<{ parts?: object | object[] }>
  for (const { name, uploadId } of uploads) {
    const { parts = [] } = await list(name, uploadId)
    check([parts].flat().length === 0, 'an orphan has no parts')
  }
  if (left === 0) {
    const files = await fixture.files()
    check(files.length === 0, `no file is left: ${files.join(', ')}`)
  }
  return found === undefined ? 'was finished' : isMoved ? 'went on' : 'was repeated'
}

const MOMENTS: Readonly<Partial<Record<OperationName, readonly Exclude<FaultPoint, 'reply'>[]>>> = {
  InitiateMultipartUpload: ['start', 'done'],
  UploadPart: ['start', 'received', 'done'],
  CompleteMultipartUpload: ['start', 'received', 'done'],
  AbortMultipartUpload: ['start', 'done'],
  HeadObject: ['start', 'done'],
}

async function killedAtRequests(t: Test): Promise<void> {
  const b = await bench(t)
  const cases: Case[] = STARTS.flatMap(start =>
    Object.entries(MOMENTS).flatMap(([name, moments]) => {
      const operation = name as OperationName // the keys of MOMENTS
      if (operation === 'HeadObject' && start.published !== true) return []
      return moments.map(at => ({
        name: `${start.name}, ${operation} ${at}`,
        run: async () => {
          const fixture = await setUp(b, start)
          const isOld = ['AbortMultipartUpload', 'HeadObject'].includes(operation)
          const key = isOld ? fixture.key : newKey(fixture)
          const fault = b.oss.inject({ operation, key, do: 'hang', at })
          const child = startMove(fixture)
          await Promise.race([fault.hit(), child.ended, sleep(20_000, undefined, { ref: false })])
          await child.kill()
          fault.remove()
          check(fault.hits > 0, 'the fault was hit')
          return recover(fixture, start)
        },
      }))
    }),
  )
  await runCases(t, sampled(t, cases, 20))
}

async function countOperations(b: Bench, start: Start): Promise<number> {
  const fixture = await setUp(b, start)
  const { operations = 0, error } = await startMove(fixture, { root: fixture.dir }).ended
  check(error === undefined, `${start.name}: ${error?.code}: ${error?.message}`)
  return operations
}

async function killedAtOperations(t: Test): Promise<void> {
  const b = await bench(t)
  for (const start of sampled(t, STARTS, 5)) {
    const operations = await countOperations(b, start)
    t.ok(operations > 10, `${start.name}: has ${operations} disk operations`)
    const moments = Array.from({ length: operations }, (_, i) => i + 1).flatMap(at =>
      (['before', 'after'] as const).map(when => ({ at, when })),
    )
    const cases = sampled(t, moments, 36, 16).map(({ at, when }) => ({
      name: `${start.name}, ${when} disk operation ${at}`,
      run: async () => {
        const fixture = await setUp(b, start)
        await startMove(fixture, { root: fixture.dir, at, do: 'kill', when }).ended
        return recover(fixture, start)
      },
    }))
    await runCases(t, cases)
  }
}

const LOSSES: readonly Loss[] = ['all', 'data', 'names']

async function losePower(t: Test): Promise<void> {
  const b = await bench(t)
  for (const start of sampled(t, STARTS, 5)) {
    const operations = await countOperations(b, start)
    const moments = Array.from({ length: operations }, (_, i) => i + 1).flatMap(at =>
      LOSSES.map(loss => ({ at, loss })),
    )
    const cases = sampled(t, moments, 54, 24).map(({ at, loss }) => ({
      name: `${start.name}, power cut after operation ${at}, loss of ${loss}`,
      run: async () => {
        const fixture = await setUp(b, start)
        const root = dirname(fixture.dir)
        await mkdir(root, { recursive: true })
        const image = new DiskImage(root)
        const trace = `${root}.trace`
        await startMove(fixture, { root, at, do: 'kill', when: 'after', trace }).ended
        const entries = readFileSync(trace, 'utf8').trim().split('\n')
        // Every line was written by `preload.mjs`.
        for (const line of entries) image.play(JSON.parse(line) as TraceEntry)
        image.restore(loss)
        return recover(fixture, start)
      },
    }))
    await runCases(t, cases)
  }
}

/** Kinds of interruptions. `npm test` tries one of them, because the other tests of crashes try all with other calls. */
const INTERRUPTIONS = [
  ['killed at any request is completed by another process', killedAtRequests],
  ['killed at any disk operation is completed by another process', killedAtOperations],
  ['cut off from power after each disk operation is completed', losePower],
] as const

for (const [name, body] of sampled(t, INTERRUPTIONS, 3)) t.test(`a move ${name}`, body)
