/**
 * Compares random sequences of events with a simple model of the rules. Set `RUNS=5000` for a long run. A
 * failure prints its seed and path; set `SEED=... FC_PATH=...` to repeat it.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { LONG } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { commands, Run, Worker, type Command } from './commands.js'

const RUNS = Number(process.env['RUNS'] ?? 150)
/** Time limit, in ms. Unlimited if `RUNS` is set. */
const BUDGET = process.env['RUNS'] !== undefined ? Infinity : LONG ? 60_000 : 6000
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const path = process.env['FC_PATH']

t.test('random command sequences match the model', { timeout: 24 * 3600_000 }, async t => {
  const oss = await startEmulator({ buckets: [BUCKET], dir: t.testdir({}) })
  const worker = new Worker()
  t.teardown(() => {
    worker.end()
    return oss.close()
  })
  let runs = 0
  let isWrong = false
  const deadline = performance.now() + BUDGET
  const property = fc.asyncProperty(commands, async (sequence: Command[]) => {
    // Runs at least one sequence, and ignores the limit while fast-check shrinks a failure.
    if (performance.now() > deadline && runs > 0 && !isWrong) return
    const run = await Run.begin(oss, worker, ++runs)
    try {
      for (const command of sequence) await run.step(command)
      await run.end()
    } catch (error) {
      isWrong = true
      throw error
    } finally {
      run.clear()
    }
  })
  const details = await fc.check(property, {
    seed,
    numRuns: RUNS,
    ...(path === undefined ? {} : { path }),
  })
  t.comment(`SEED=${seed}, ${runs} sequences`)
  const again = `SEED=${seed} FC_PATH=${details.counterexamplePath ?? ''}`
  t.notOk(
    details.failed,
    details.failed
      ? `${String(details.errorInstance)}\n${again}\n${fc.defaultReportMessage(details)}`
      : `${runs} runs`,
  )
})
