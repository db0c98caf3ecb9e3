/**
 * Random sequences of what can happen to uploads, against a plain model of the rules. `RUNS=5000`
 * makes it long; a failure prints its seed and path, taken back as `SEED=... FC_PATH=...`.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { LONG } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { commands, Run, Worker, type Command } from './commands.js'

const RUNS = Number(process.env['RUNS'] ?? 150)
/** Nobody who did not ask for more waits longer, in ms. */
const BUDGET = process.env['RUNS'] !== undefined ? Infinity : LONG ? 60_000 : 6000
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const path = process.env['FC_PATH']

t.test('every sequence ends as the rules say', { timeout: 24 * 3600_000 }, async t => {
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
    if (performance.now() > deadline && runs > 0 && !isWrong) return // at least one; all while it shrinks
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
