/**
 * A sealed upload, some of whose parts are only on OSS, is superseded by another stream on a slow disk. At every
 * moment one of both can be finished, since nothing is sent under the old upload id before it is durable that
 * the old upload is superseded (rules 4 and 6).
 */
import { inspect } from 'node:util'
import t from 'tap'
import { bench, type Bench } from '../support/oss.js'
import { LONG, sampled } from '../support/long.js'
import { runCases } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { check, recover } from './recovery.js'
import { countOperations, expectedAfter, SCENARIOS, setUp } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'
import type { DiskPlan, WorkerOutcome, WorkerProcess } from './worker-process.js'

setLongTimeout(t)

/** Delay of each sync, in ms: much longer than it takes to send a part. */
const DELAY = LONG ? 400 : 150

/** Kills between two operations, since parts are sent while a sync takes its time. */
const MOMENTS = [0, 0.25, 0.5, 0.9]

const scenario = SCENARIOS.supersedeFreed

t.test('either of two streams can be finished after a kill at any step on a slow disk', async t => {
  const b = await bench(t)
  const operations = await countOperations(b, scenario)
  const moments = Array.from({ length: operations }, (_, i) => i + 1).flatMap(at =>
    MOMENTS.map(part => ({ at, after: part * DELAY })),
  )
  const cases = sampled(t, moments, 37, 4).map(({ at, after }) => ({
    name: `killed ${after} ms after disk operation ${at} began`,
    run: () => killed(at, after),
  }))
  await runCases(t, cases)

  async function killed(at: number, after: number): Promise<string> {
    const { fixture, child } = await start(b, { at, do: 'kill', when: 'before', after })
    const outcome = await child.ended
    try {
      checkRequests(fixture, outcome)
      const { resumed } = await recover(fixture, expectedAfter(scenario, fixture, outcome))
      return `recovered, resumed ${resumed}`
    } catch (cause) {
      throw new Error(inspect(outcome), { cause })
    }
  }
})

t.test('no part is sent under the old upload id before it is durably superseded', async t => {
  const b = await bench(t)
  const { fixture, child } = await start(b)
  const outcome = await child.ended
  t.match(outcome, { result: { size: fixture.size }, superseded: Number })
  t.doesNotThrow(() => checkRequests(fixture, outcome))
  t.same(await fixture.get(), fixture.content)
})

/** Starts the worker on the state that its predecessor left, with a slow disk. */
async function start(
  b: Bench,
  plan: Omit<DiskPlan, 'root'> = {},
): Promise<{ fixture: UploadFixture; child: WorkerProcess }> {
  const fixture = await setUp(b, scenario)
  const watch = `${fixture.dir}/${fixture.id}/checkpoint.json`
  const disk = { ...plan, root: fixture.dir, delaySync: DELAY, watch }
  return { fixture, child: fixture.startWorker(scenario.job, disk) }
}

/** Checks that parts of the new stream were sent under the old upload id only after it was superseded. */
function checkRequests(fixture: UploadFixture, { superseded = Infinity }: WorkerOutcome): void {
  const requests = fixture.bench.oss.requests.filter(({ key }) => key === fixture.key)
  const refused = requests.findIndex(({ operation }) => operation === 'CompleteMultipartUpload')
  const { uploadId } = requests[refused]!
  const early = requests
    .slice(refused)
    .filter(request => request.operation === 'UploadPart' && request.uploadId === uploadId)
    .filter(({ time }) => time < superseded)
    .map(({ partNumber }) => partNumber)
  check(
    early.length === 0,
    `parts ${early.join()} were sent under the upload id of a predecessor that was not superseded`,
  )
}
