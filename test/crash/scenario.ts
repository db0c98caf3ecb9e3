/** What workers are killed at: the ways an upload can go, and the states in which they begin. */
import { pipeline } from 'node:stream/promises'
import type { FaultMatch } from '../../src/emulator/faults/fault.js'
import type { UploadOptions } from '../../src/index.js'
import { failingAfter, streamOf, type Bench } from '../support/oss.js'
import type { Job } from './child.js'
import { contentOf } from './content.js'
import { PART, Site } from './site.js'

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
  readonly prepare?: (site: Site) => Promise<void>
  /** Another content that was sealed under this id before, and may be published, too. */
  readonly predecessor?: (site: Site) => Buffer
}

/** From its name to the site on which it is about to begin. */
export async function setUp(bench: Bench, scenario: Scenario): Promise<Site> {
  const site = new Site(bench, scenario.size, scenario.options)
  await scenario.prepare?.(site)
  return site
}

const other = (site: Site): Buffer => contentOf(-site.seed, FIVE_PARTS + 1000)

/** All that a stream needs to end sealed, but not finished. */
async function interrupted(
  site: Site,
  content: Buffer,
  match: FaultMatch,
  at: 'start' | 'done',
): Promise<void> {
  const { oss } = site.bench
  const fault = oss.inject({ ...match, key: site.key, times: 'always', do: 'reset', at })
  const head = oss.inject({ operation: 'HeadObject', key: site.key, times: 'always', do: 'reset' })
  const sink = site.spool().createWriteStream(site.key, { id: site.id })
  await pipeline(streamOf(content), sink).then(
    () => Promise.reject(new Error('it was to fail')),
    () => undefined,
  )
  fault.remove()
  head.remove()
}

/** Sealed; all parts but the third are on OSS. */
const seal = (site: Site, content = site.content): Promise<void> =>
  interrupted(site, content, { operation: 'UploadPart', partNumber: 3 }, 'start')

/** Complete was sent, and its answer never came. */
const complete = (site: Site, at: 'start' | 'done'): Promise<void> =>
  interrupted(site, site.content, { operation: 'CompleteMultipartUpload' }, at)

/** Three parts and a bit are in the temp file, and the source failed. */
async function failSource(site: Site): Promise<void> {
  const { spool, content } = { spool: site.spool(), content: site.content }
  const part = site.bench.oss.inject({
    operation: 'UploadPart',
    key: site.key,
    nth: 2,
    do: 'delay',
    ms: 0,
  })
  const source = failingAfter(
    content.subarray(0, 3 * PART + 5000),
    new Error('cut'),
    () => part.hits > 0,
  )
  await spool.upload(site.key, () => source, { id: site.id }).catch(() => undefined)
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
    prepare: site => complete(site, 'start'),
  },
  answered: {
    name: 'resume after a Complete that had its effect',
    size: FIVE_PARTS,
    job: { step: 'resume' },
    prepare: site => complete(site, 'done'),
  },
  supersede: {
    name: 'new bytes over a sealed upload',
    size: FIVE_PARTS,
    job: { step: 'stream', pace: 50 }, // time to see that the parts there are not its own
    prepare: site => seal(site, other(site)),
    predecessor: other,
  },
  successor: {
    name: 'new bytes over a sealed upload, not ended',
    size: FIVE_PARTS,
    job: { step: 'stream', hold: true },
    prepare: site => seal(site, other(site)),
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
    prepare: site =>
      interrupted(site, site.content, { operation: 'UploadPart', partNumber: 5 }, 'start'),
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
