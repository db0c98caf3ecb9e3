/** What workers are killed at: the ways an upload can go, and the states in which they begin. */
import { pipeline } from 'node:stream/promises'
import type { FaultMatch } from '../../src/emulator/faults/fault.js'
import type { UploadOptions } from '../../src/index.js'
import { failingAfter, streamOf, type Bench } from '../support/oss.js'
import type { Job } from './worker-process.js'
import { contentOf } from './seeded-content.js'
import { PART, UploadFixture } from './upload-fixture.js'

const FIVE_PARTS = 4 * PART + 40_001
const SMALL = 40_003

/** Ranges of the temp file are given back from the third part on. */
const BOUNDED: UploadOptions = { maxSpoolBytes: 2 * PART, parallel: 1 }

export interface Scenario {
  readonly name: string
  readonly size: number
  readonly options?: UploadOptions
  readonly job: Partial<Job> & Pick<Job, 'step'>
  /** What lies there before the worker begins. */
  readonly prepare?: (fixture: UploadFixture) => Promise<void>
  /** Another content that was sealed under this id before, and may be published, too. */
  readonly predecessor?: (fixture: UploadFixture) => Buffer
}

/** From its name to the fixture on which it is about to begin. */
export async function setUp(bench: Bench, scenario: Scenario): Promise<UploadFixture> {
  const fixture = new UploadFixture(bench, scenario.size, scenario.options)
  await scenario.prepare?.(fixture)
  return fixture
}

const other = (fixture: UploadFixture): Buffer => contentOf(-fixture.seed, FIVE_PARTS + 1000)

/** All that a stream needs to end sealed, but not finished. */
async function interrupted(
  fixture: UploadFixture,
  content: Buffer,
  match: FaultMatch,
  at: 'start' | 'done',
): Promise<void> {
  const { oss } = fixture.bench
  const fault = oss.inject({ ...match, key: fixture.key, times: 'always', do: 'reset', at })
  const head = oss.inject({
    operation: 'HeadObject',
    key: fixture.key,
    times: 'always',
    do: 'reset',
  })
  const sink = fixture.spool().createWriteStream(fixture.key, { id: fixture.id })
  await pipeline(streamOf(content), sink).then(
    () => Promise.reject(new Error('it was to fail')),
    () => undefined,
  )
  fault.remove()
  head.remove()
}

/** Sealed; all parts but the third are on OSS. */
const seal = (fixture: UploadFixture, content = fixture.content): Promise<void> =>
  interrupted(fixture, content, { operation: 'UploadPart', partNumber: 3 }, 'start')

/** Complete was sent, and its answer never came. */
const complete = (fixture: UploadFixture, at: 'start' | 'done'): Promise<void> =>
  interrupted(fixture, fixture.content, { operation: 'CompleteMultipartUpload' }, at)

/** Three parts and a bit are in the temp file, and the source failed. */
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

export const SCENARIOS = {
  small: { name: 'a small stream', size: SMALL, job: { step: 'stream' } },
  slow: {
    name: 'a small stream that takes its time',
    size: SMALL,
    job: { step: 'stream', pace: 400 },
  },
  parts: { name: 'a stream of five parts', size: FIVE_PARTS, job: { step: 'stream' } },
  spooling: {
    name: 'a stream that has not ended',
    size: FIVE_PARTS,
    job: { step: 'stream', hold: true },
  },
  resume: {
    name: 'resume of a sealed upload',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: seal,
  },
  unanswered: {
    name: 'resume after a Complete that had no effect',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: fixture => complete(fixture, 'start'),
  },
  answered: {
    name: 'resume after a Complete that had its effect',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: fixture => complete(fixture, 'done'),
  },
  supersede: {
    name: 'new bytes over a sealed upload',
    size: FIVE_PARTS,
    job: { step: 'stream', pace: 50 }, // time to see that the parts there are not its own
    prepare: fixture => seal(fixture, other(fixture)),
    predecessor: other,
  },
  successor: {
    name: 'new bytes over a sealed upload, not ended',
    size: FIVE_PARTS,
    job: { step: 'stream', hold: true },
    prepare: fixture => seal(fixture, other(fixture)),
    predecessor: other,
  },
  offset: {
    name: 'a source that continues where it was cut',
    size: FIVE_PARTS,
    options: { replay: 'offset' },
    job: { step: 'upload' },
    prepare: failSource,
  },
  bounded: {
    name: 'a stream through a disk that holds two of its parts',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'stream' },
  },
  rest: {
    name: 'resume of an upload of which only OSS has most',
    size: FIVE_PARTS,
    options: BOUNDED,
    job: { step: 'resume' },
    prepare: fixture =>
      interrupted(fixture, fixture.content, { operation: 'UploadPart', partNumber: 5 }, 'start'),
  },
  onwards: {
    name: 'a source that continues behind what only OSS has',
    size: FIVE_PARTS,
    options: { ...BOUNDED, replay: 'offset' },
    job: { step: 'upload' },
    prepare: failSource,
  },
  once: {
    name: 'an upload that leaves a receipt',
    size: FIVE_PARTS,
    options: { once: true },
    job: { step: 'upload' },
  },
} satisfies Record<string, Scenario>

/** Whether a later process needs no source from the beginning on. */
export function isSealedBefore({ job }: Scenario): boolean {
  return job.step === 'resume'
}
