/**
 * Killed between the publication and its record. The object's consumer has moved it away before the next run,
 * which must not publish it again once the temp file is gone, and has no reason to find damage.
 */
import { inspect } from 'node:util'
import t from 'tap'
import { errorCode } from '../../src/util/error-code.js'
import { sampled } from '../support/long.js'
import { bench, streamOf } from '../support/oss.js'
import { runCases } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { check } from './recovery.js'
import { countOperations, SCENARIOS, setUp, type Scenario } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'

setLongTimeout(t)

/** Disk operations at the end of an upload, among them all that follow its publication. */
const LAST = 10
const ONE_IN = 7
const ONE_IN_LONG = 2

const CASES: readonly Scenario[] = [
  SCENARIOS.once,
  { ...SCENARIOS.resume, name: 'resuming an upload with a receipt', options: { once: true } },
  { ...SCENARIOS.small, name: 'a small stream with a receipt', options: { once: true } },
  SCENARIOS.parts,
  SCENARIOS.previous,
]

for (const scenario of sampled(t, CASES, 5)) {
  t.test(`${scenario.name}: is not published again after its object was moved`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario)
    const last = Array.from({ length: LAST }, (_, i) => operations - i)
    const cases = last.flatMap(at =>
      (['before', 'after'] as const).map(when => ({
        name: `killed ${when} disk operation ${at}`,
        run: () => killed(at, when),
      })),
    )
    await runCases(t, sampled(t, cases, ONE_IN, ONE_IN_LONG))

    async function killed(at: number, when: 'before' | 'after'): Promise<string> {
      const fixture = await setUp(b, scenario)
      const plan = { root: fixture.dir, at, do: 'kill', when } as const
      const outcome = await fixture.startWorker(scenario.job, plan).ended
      if ((await fixture.get()) === undefined) return 'not published yet'
      await fixture.oss.delete(fixture.key)
      const isFileThere = (await fixture.files()).some(path => /\/spool-[^/]*$/.test(path))
      const left = inspect(await fixture.checkpoint())
      try {
        const code = await rerun(fixture)
        if (isFileThere) return 'with its temp file'
        check((await fixture.get()) === undefined, 'the object is not published again')
        const isReceipt = fixture.options.once === true
        check(!isReceipt || code === 'receipt', `the rerun returns a receipt, not ${code}`)
        return `without its temp file: ${code}`
      } catch (cause) {
        throw new Error(`${inspect(outcome)} ${left}`, { cause })
      }
    }
  })
}

/** Runs the job again as its supervisor would. Resolves with what came of it. */
async function rerun(fixture: UploadFixture): Promise<string> {
  const { id, key, content } = fixture
  const spool = fixture.spool()
  if (fixture.options.once === true) {
    const { receipt } = await spool.upload(key, () => streamOf(content), { id })
    return receipt === true ? 'receipt' : 'published'
  }
  const quiet = ['ERR_SPOOL_NOT_FOUND', 'ERR_SPOOL_UNSEALED']
  try {
    await spool.resume(id)
    return 'resumed'
  } catch (error) {
    const code = String(errorCode(error))
    check(quiet.includes(code), `the rerun finds no damage: ${inspect(error)}`)
    return code
  }
}
