/**
 * Random sequences of what can happen to uploads, against a plain model of the rules. `RUNS=5000`
 * makes it long; a failure prints its seed and path, taken back as `SEED=... FC_PATH=...`.
 */
import * as fc from 'fast-check'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { BUCKET } from '../support/oss.js'
import { commands, Run, Worker, type Command } from './commands.js'

const RUNS = Number(process.env['RUNS'] ?? 150)
/** `npm test` does not wait longer, in ms. */
const BUDGET = process.env['RUNS'] === undefined ? 20_000 : undefined
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
  const property = fc.asyncProperty(commands, async (sequence: Command[]) => {
    const run = await Run.begin(oss, worker, ++runs)
    try {
      for (const command of sequence) await run.step(command)
      await run.end()
    } finally {
      run.clear()
    }
  })
  const details = await fc.check(property, {
    seed,
    numRuns: RUNS,
    ...(path === undefined ? {} : { path }),
    ...(BUDGET === undefined
      ? {}
      : { interruptAfterTimeLimit: BUDGET, markInterruptAsFailure: false }),
  })
  t.comment(`SEED=${seed}, ${runs} sequences`)
  const again = `SEED=${seed} FC_PATH=${details.counterexamplePath ?? ''}`
  const failed = details.failed && !details.interrupted // not even one in time: a very busy machine
  t.notOk(
    failed,
    failed
      ? `${String(details.errorInstance)}\n${again}\n${fc.defaultReportMessage(details)}`
      : `${runs} runs`,
  )
})
