/**
 * A stream with three commits is killed at each disk operation, or loses its power there. What another process
 * publishes is the whole, or exactly a committed prefix, at least as long as that of the last commit that
 * resolved (rule 13).
 */
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { LONG, sampled } from '../support/long.js'
import { bench, type Bench } from '../support/oss.js'
import { DiskImage, type Loss, type TraceEntry } from './disk-image.js'
import { runCases } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { check } from './recovery.js'
import { countOperations, SCENARIOS, setUp, type Scenario } from './scenario.js'
import { contentOf } from './seeded-content.js'
import { PART, type UploadFixture } from './upload-fixture.js'
import type { WorkerOutcome } from './worker-process.js'

setLongTimeout(t)

/** Within a part, at the end of one, and after several. */
const COMMITS = [1000, 2 * PART, 3 * PART + 77]
/** Length of a committed predecessor. */
const PREFIX = 2 * PART + 11
const ONE_IN = 23
const LOSSES: readonly Loss[] = ['all', 'data', 'names']

/** The stream is killed after a commit, and another one of its id takes its place. */
const COMMITTED: Scenario = {
  ...SCENARIOS.supersede,
  name: 'replacing a committed stream',
  prepare: async fixture => {
    const { seed } = fixture
    const child = fixture.startWorker({
      step: 'stream',
      seed: -seed,
      commits: [PREFIX],
      hold: true,
    })
    await child.waitFor('committed')
    await child.kill()
  },
  predecessor: ({ seed }) => contentOf(-seed, PREFIX),
}

const CASES: readonly Scenario[] = [
  COMMITTED,
  SCENARIOS.parts,
  SCENARIOS.bounded,
  SCENARIOS.supersede,
  SCENARIOS.supersedeFreed,
].map(scenario => ({
  ...scenario,
  name: `commits in ${scenario.name}`,
  job: { ...scenario.job, commits: COMMITS },
}))

for (const scenario of CASES) {
  t.test(`${scenario.name}: survives a kill at each disk operation`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario)
    const cases = Array.from({ length: operations }, (_, i) => ({
      name: `killed before disk operation ${i + 1}`,
      run: async () => {
        const fixture = await setUp(b, scenario)
        const plan = { root: fixture.dir, at: i + 1, do: 'kill', when: 'before' } as const
        const outcome = await fixture.startWorker(scenario.job, plan).ended
        return recovered(scenario, fixture, outcome)
      },
    }))
    await runCases(t, LONG ? cases : sampled(t, cases, ONE_IN))
  })

  t.test(`${scenario.name}: survives a power cut after each disk operation`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario)
    const cases = Array.from({ length: operations }, (_, i) => {
      const losses = LONG ? LOSSES : [LOSSES[i % LOSSES.length]!]
      return losses.map(loss => ({
        name: `power cut after operation ${i + 1}, loss of ${loss}`,
        run: () => lose(b, scenario, i + 1, loss),
      }))
    }).flat()
    await runCases(t, LONG ? cases : sampled(t, cases, ONE_IN))
  })
}

async function lose(b: Bench, scenario: Scenario, at: number, loss: Loss): Promise<string> {
  const fixture = await setUp(b, scenario)
  const root = dirname(fixture.dir)
  await mkdir(root, { recursive: true })
  const image = new DiskImage(root)
  const trace = `${root}.trace`
  const plan = { root, at, do: 'kill', when: 'after', trace } as const
  const outcome = await fixture.startWorker(scenario.job, plan).ended
  for (const line of readFileSync(trace, 'utf8').trim().split('\n')) {
    image.play(JSON.parse(line) as TraceEntry) // written by `preload.mjs`
  }
  image.restore(loss)
  return recovered(scenario, fixture, outcome)
}

/** Finishes the upload in another process and checks what is published. */
async function recovered(
  scenario: Scenario,
  fixture: UploadFixture,
  outcome: WorkerOutcome,
): Promise<string> {
  const { content } = fixture
  const { committed = -1, result } = outcome
  try {
    const whole = (await fixture.get())?.equals(content) === true
    check(result === undefined || whole, '`finish` means that the object is published')
    const [status] = await fixture.spool().uploads()
    const old = scenario.predecessor?.(fixture)
    if (status?.resumable === true) await fixture.spool().resume(fixture.id)
    const object = await fixture.get()
    const lengths = [...COMMITS, content.length].filter(length => length >= committed)
    const length = lengths.find(each => object?.equals(content.subarray(0, each)) === true)
    const isOld = committed < 0 && old !== undefined && object?.equals(old) === true
    const isNothing = committed < 0 && old === undefined && object === undefined
    check(
      length !== undefined || isOld || isNothing,
      `${object?.length} bytes are published, ${committed} were committed`,
    )
    return `${length ?? (isOld ? 'its predecessor' : 'nothing')} of ${committed}`
  } catch (cause) {
    throw new Error(`${inspect(outcome)} ${inspect(await fixture.checkpoint())}`, { cause })
  }
}
