/** Disk errors. Each operation that changes the disk fails once, and no sealed upload is lost. */
import { inspect } from 'node:util'
import t from 'tap'
import type { Checkpoint } from '../../src/disk/checkpoint.js'
import { bench } from '../support/oss.js'
import { setLongTimeout } from './long-timeout.js'
import { recover, check } from './recovery.js'
import { sampled } from '../support/long.js'
import { isSealedBefore, SCENARIOS, setUp, type Scenario } from './scenario.js'

setLongTimeout(t)

const FULL = ['ENOSPC', 'EDQUOT']
const CODES = [...FULL, 'EIO'] as const
const CONCURRENCY = 4

/** Rotates through the error codes, since all three are handled alike. */
const CASES: readonly (readonly [Scenario, (step: number) => readonly string[]])[] = [
  [SCENARIOS.small, step => [CODES[step % CODES.length]!]],
  [SCENARIOS.resume, step => [CODES[step % CODES.length]!]],
  [SCENARIOS.supersede, step => [CODES[step % CODES.length]!]],
  [SCENARIOS.offset, step => [CODES[step % CODES.length]!]],
]

for (const [scenario, codesOf] of CASES) {
  t.test(`${scenario.name}: survives one failure of each disk operation`, async t => {
    const b = await bench(t)
    const probe = await setUp(b, scenario)
    const { operations = 0 } = await probe.startWorker(scenario.job, { root: probe.dir }).ended
    const cases: { at: number; code: string }[] = []
    for (let at = 1; at <= operations; at++) {
      for (const code of codesOf(at)) cases.push({ at, code })
    }
    const queue = sampled(t, cases)
    const lane = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
        const name = `operation ${one.at} fails with ${one.code}`
        try {
          t.pass(`${name}: ${await failOnce(one.at, one.code)}`)
        } catch (error) {
          t.fail(name, { found: inspect(error) })
        }
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, lane))

    async function failOnce(at: number, code: string): Promise<string> {
      const fixture = await setUp(b, scenario)
      const before = await fixture.checkpoint()
      const child = fixture.startWorker(
        { ...scenario.job, next: true },
        { root: fixture.dir, at, do: 'fail', code },
      )
      const outcome = await child.ended
      const { error, failed, result, sealed } = outcome
      const where = failed === undefined ? 'not reached' : `${failed.op} of ${named(failed.path)}`
      try {
        check(outcome.next !== undefined, 'the process completes another upload')
        check(
          (result === undefined) !== (error === undefined),
          'the upload either succeeds or fails',
        )
        if (error !== undefined) {
          const codes = FULL.includes(code) ? ['ERR_SPOOL_FULL'] : [code]
          // Without a readable lock file, the owner of the upload is unknown.
          if (code === 'EIO' && failed?.path.endsWith('lock')) codes.push('ERR_SPOOL_UNREADABLE')
          check(
            codes.includes(error.code ?? ''),
            `the error code ${error.code} matches the disk error: ${error.message}`,
          )
        }
        const after = await fixture.checkpoint() // throws if it is damaged
        check(result !== undefined || isNotLess(before, after), 'the checkpoint is not lost')
        const predecessor = scenario.predecessor?.(fixture)
        await recover(fixture, {
          before: predecessor === undefined ? [] : [predecessor],
          sealed: sealed || isSealedBefore(scenario),
          finished: result !== undefined,
          superseding: predecessor !== undefined,
        })
      } catch (cause) {
        throw new Error(`${where}: ${inspect(outcome)}`, { cause })
      }
      return `${where}: ${error?.code ?? 'succeeded'}`
    }
  })
}

/** True if an upload that could be resumed before still can be, even as `previous`. */
function isNotLess(before: Checkpoint | undefined, after: Checkpoint | undefined): boolean {
  if (before === undefined || before.upload.phase === 'spooling') return true
  return after !== undefined && (after.upload.phase !== 'spooling' || after.previous !== undefined)
}

/** Returns the file name without its random part. */
function named(path: string): string {
  return path
    .split('/')
    .slice(-1)[0]!
    .replace(/spool-.*/, 'the temp file')
}
