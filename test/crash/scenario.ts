/** Scenarios in which workers are killed: the courses an upload can take, and the states it can begin in. */
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fault } from '../../src/emulator/index.js'
import type { UploadOptions } from '../../src/index.js'
import { closed } from '../support/closed.js'
import { failingAfter, QUICK, streamOf, type Bench } from '../support/oss.js'
import type { Expected } from './recovery.js'
import type { DiskPlan, Job, WorkerOutcome } from './worker-process.js'
import { contentOf } from './seeded-content.js'
import { PART, UploadFixture } from './upload-fixture.js'

const FIVE_PARTS = 4 * PART + 40_001
const SMALL = 40_003

/** Options of a worker that does not use those of its fixture. */
const ORDINARY: UploadOptions = { partSize: PART, retry: QUICK, timeout: 20_000 }

/** Frees ranges of the temp file from the third part on. */
const BOUNDED: UploadOptions = { maxSpoolBytes: 2 * PART, parallel: 1 }

/** Where streams are committed: within a part, at the end of one, and after several. */
const COMMITS = [1000, 2 * PART, 3 * PART + 77]
/** Bytes of a stream that was only committed. */
const PREFIX = 2 * PART + 11

export interface Scenario {
  readonly name: string
  readonly size: number
  readonly options?: UploadOptions
  readonly job: Partial<Job> & Pick<Job, 'step'>
  /** Creates the state in which the worker begins. */
  readonly prepare?: (fixture: UploadFixture) => Promise<void>
  /** Content of an earlier sealed or committed upload with this id, which may be published, too. */
  readonly predecessor?: (fixture: UploadFixture) => Buffer
}

/** Creates a fixture and brings it into the scenario's initial state. */
export async function setUp(bench: Bench, scenario: Scenario): Promise<UploadFixture> {
  const fixture = new UploadFixture(bench, scenario.size, scenario.options)
  await scenario.prepare?.(fixture)
  return fixture
}

/**
 * Returns the number of disk operations of a scenario.
 *
 * @throws if its worker fails, since the operations would not be those of an upload
 */
export async function countOperations(
  bench: Bench,
  scenario: Scenario,
  plan: Omit<DiskPlan, 'root'> = {},
): Promise<number> {
  const probe = await setUp(bench, scenario)
  const child = probe.startWorker(scenario.job, { ...plan, root: probe.dir })
  const { operations = 0, error } = await child.ended
  if (error !== undefined) throw new Error(`${scenario.name}: ${error.code}: ${error.message}`)
  return operations
}

const other = (fixture: UploadFixture): Buffer => contentOf(-fixture.seed, FIVE_PARTS + 1000)

/** Runs a stream that seals its upload but cannot finish it. */
async function interrupted(fixture: UploadFixture, content: Buffer, failure: Fault): Promise<void> {
  const { oss } = fixture.bench
  const fault = oss.inject({ ...failure, key: fixture.key, times: 'always' })
  const head = oss.inject({
    operation: 'HeadObject',
    key: fixture.key,
    times: 'always',
    do: 'reset',
  })
  const sink = fixture.spool().createWriteStream(fixture.key, { id: fixture.id })
  await pipeline(streamOf(content), sink).then(
    () => Promise.reject(new Error('the upload succeeded although it was to fail')),
    () => undefined,
  )
  await closed(sink)
  fault.remove()
  head.remove()
}

/** Leaves a sealed upload with all parts except the third on OSS. */
const seal = (fixture: UploadFixture, content = fixture.content): Promise<void> =>
  interrupted(fixture, content, { operation: 'UploadPart', partNumber: 3, do: 'reset' })

/** Leaves an upload whose Complete was sent and never answered. */
const complete = (fixture: UploadFixture, at: 'start' | 'done'): Promise<void> =>
  interrupted(fixture, fixture.content, {
    operation: 'CompleteMultipartUpload',
    do: 'reset',
    at,
  })

/** Leaves a sealed upload with all parts on OSS, whose Complete was refused. */
const refuseComplete = (fixture: UploadFixture, content: Buffer): Promise<void> =>
  interrupted(fixture, content, {
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
  })

/** Leaves an upload whose source failed after a little more than three parts. */
async function failSource(fixture: UploadFixture): Promise<void> {
  const { spool, content } = { spool: fixture.spool(), content: fixture.content }
  const part = fixture.bench.oss.inject({
    operation: 'UploadPart',
    key: fixture.key,
    nth: 2,
    do: 'delay',
    ms: 0,
  })
  const source = failingAfter(
    content.subarray(0, 3 * PART + 5000),
    new Error('cut'),
    () => part.hits > 0,
  )
  await spool.upload(fixture.key, () => source, { id: fixture.id }).catch(() => undefined)
  part.remove()
}

/** Leaves a stream that was committed when its process was killed. */
async function commitOnly(fixture: UploadFixture): Promise<void> {
  const seed = -fixture.seed
  const child = fixture.startWorker({ step: 'stream', seed, commits: [PREFIX], hold: true })
  await child.waitFor('committed')
  // A kill during its Initiate may leave an orphan, which is the subject of other scenarios.
  while ((await fixture.checkpoint())?.upload.uploadId === undefined) await sleep(5)
  await child.kill()
}

export const SCENARIOS = {
  small: { name: 'a small stream', size: SMALL, job: { step: 'stream' } },
  slow: {
    name: 'a slow small stream',
    size: SMALL,
    job: { step: 'stream', pace: 400 },
  },
  published: {
    name: 'a small stream that an earlier run has published',
    size: SMALL,
    job: { step: 'stream' },
    prepare: async fixture => {
      const { key, id, content } = fixture
      await pipeline(streamOf(content), fixture.spool().createWriteStream(key, { id }))
    },
  },
  parts: { name: 'a stream of five parts', size: FIVE_PARTS, job: { step: 'stream' } },
  spooling: {
    name: 'a stream without an end',
    size: FIVE_PARTS,
    job: { step: 'stream', hold: true },
  },
  resume: {
    name: 'resuming a sealed upload',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: seal,
  },
  unanswered: {
    name: 'resuming after a Complete that had no effect',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: fixture => complete(fixture, 'start'),
  },
  answered: {
    name: 'resuming after a Complete that took effect',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: fixture => complete(fixture, 'done'),
  },
  supersede: {
    name: 'replacing a sealed upload',
    size: FIVE_PARTS,
    job: { step: 'stream', pace: 50 }, // enough time to see that the existing parts are not its own
    prepare: fixture => seal(fixture, other(fixture)),
    predecessor: other,
  },
  successor: {
    name: 'replacing a sealed upload by a stream without an end',
    size: FIVE_PARTS,
    job: { step: 'stream', hold: true },
    prepare: fixture => seal(fixture, other(fixture)),
    predecessor: other,
  },
  supersedeFreed: {
    name: 'replacing a sealed upload whose first parts are freed',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'stream', options: { ...ORDINARY, parallel: 3 } },
    prepare: fixture => refuseComplete(fixture, other(fixture)),
    predecessor: other,
  },
  offset: {
    name: 'a source that continues at an offset',
    size: FIVE_PARTS,
    options: { replay: 'offset' },
    job: { step: 'upload' },
    prepare: failSource,
  },
  bounded: {
    name: 'a stream through a spool bounded to two parts',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'stream' },
  },
  rest: {
    name: 'resuming an upload whose first parts are freed',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'resume' },
    prepare: fixture =>
      interrupted(fixture, fixture.content, {
        operation: 'UploadPart',
        partNumber: 5,
        do: 'reset',
      }),
  },
  onwards: {
    name: 'a source that continues after freed parts',
    size: FIVE_PARTS,
    options: { ...BOUNDED, replay: 'offset' },
    job: { step: 'upload' },
    prepare: failSource,
  },
  previous: {
    name: 'resuming a sealed upload after a later stream failed',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: async fixture => {
      await seal(fixture)
      const sink = fixture.spool().createWriteStream(fixture.key, { id: fixture.id })
      const source = failingAfter(other(fixture).subarray(0, SMALL), new Error('cut'))
      await pipeline(source, sink).catch(() => undefined)
      await closed(sink)
    },
  },
  once: {
    name: 'an upload that leaves a receipt',
    size: FIVE_PARTS,
    options: { once: true },
    job: { step: 'upload' },
  },
  commits: {
    name: 'a stream with commits',
    size: FIVE_PARTS,
    job: { step: 'stream', commits: COMMITS, pace: 10 },
  },
  commitsWithoutEnd: {
    name: 'a stream with commits and without an end',
    size: FIVE_PARTS,
    job: { step: 'stream', commits: COMMITS, hold: true },
  },
  commitsBounded: {
    name: 'a stream with commits through a spool bounded to two parts',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'stream', commits: COMMITS, pace: 10 },
  },
  commitsSupersede: {
    name: 'replacing a sealed upload by a stream with commits',
    size: FIVE_PARTS,
    job: { step: 'stream', commits: COMMITS, pace: 30 },
    prepare: fixture => seal(fixture, other(fixture)),
    predecessor: other,
  },
  commitsSupersedeFreed: {
    name: 'replacing a sealed upload whose first parts are freed by a stream with commits',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'stream', commits: COMMITS, pace: 10, options: { ...ORDINARY, parallel: 3 } },
    prepare: fixture => refuseComplete(fixture, other(fixture)),
    predecessor: other,
  },
  supersedeCommitted: {
    name: 'replacing a committed stream by another one with commits',
    size: FIVE_PARTS,
    job: { step: 'stream', commits: COMMITS, pace: 10 },
    prepare: commitOnly,
    predecessor: fixture => contentOf(-fixture.seed, PREFIX),
  },
  replaceCommitted: {
    name: 'replacing a committed stream by one without commits',
    size: FIVE_PARTS,
    job: { step: 'stream' },
    prepare: commitOnly,
    predecessor: fixture => contentOf(-fixture.seed, PREFIX),
  },
} satisfies Record<string, Scenario>

/** Returns what must hold after the worker of a scenario has exited. */
export function expectedAfter(
  { job, predecessor }: Scenario,
  fixture: UploadFixture,
  { sealed, committed, result }: WorkerOutcome,
): Expected {
  const { content } = fixture
  const prefixes = (job.commits ?? [])
    .filter(length => length >= (committed ?? 0))
    .map(length => content.subarray(0, length))
  // A committed stream has replaced its predecessor.
  const old = predecessor === undefined || committed !== undefined ? [] : [predecessor(fixture)]
  return {
    partial: [...old, ...prefixes],
    // The upload or its predecessor can be finished without its source.
    sealed: sealed || committed !== undefined || job.step === 'resume' || predecessor !== undefined,
    finished: result !== undefined,
    superseding: predecessor !== undefined,
  }
}
