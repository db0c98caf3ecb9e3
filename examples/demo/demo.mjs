/**
 * The main use case, end to end, on this machine: `npm run demo` with real flights, `npm run demo -- FILE`
 * with your own file. Everything happens in a temp directory and in child processes; both are gone at the
 * end, however the demo ends. Exit status: 0 if the objects equal their sources, 1 if not, 2 on wrong usage,
 * 128 + n after signal n.
 */
import { constants } from 'node:os'
import { flights, yourFile } from './job.mjs'
import { mainJob } from './main-job.mjs'
import { shellPipe } from './shell-pipe.mjs'
import { Sandbox } from './sandbox.mjs'
import { logStep } from './log.mjs'

process.exit(await demo(process.argv.slice(2)))

async function demo(files) {
  const job = files.length === 0 ? flights() : yourFile(files[0])
  if (job === undefined || files.length > 1) {
    console.error(
      `Expected one regular file, got ${files.join(' ')}\nUsage: npm run demo -- [FILE]`,
    )
    return 2
  }
  const interrupted = interruption()
  const sandbox = await Sandbox.create('demo')
  try {
    const signal = await Promise.race([runAll(sandbox, job), interrupted])
    if (signal !== undefined) return 128 + constants.signals[signal]
    logStep('all checks passed; removing the temp directory')
    return 0
  } catch (error) {
    console.error(`The demo failed: ${error.message}`)
    return 1
  } finally {
    await sandbox.close()
  }
}

async function runAll(sandbox, job) {
  await mainJob(sandbox, job)
  await shellPipe(sandbox, job)
}

/** Resolves to the first signal that asks the demo to stop. */
function interruption() {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, resolve)
  })
}
