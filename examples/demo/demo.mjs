/**
 * The main job, end to end, on this machine: `npm run demo` with real flights, `npm run demo -- FILE`
 * with a file of yours. Everything happens in a temp directory and in processes that are gone at the
 * end, however it ends. Exit status: 0 all was compared and equal, 1 it was not, 2 wrong usage,
 * 128 + n ended by signal n.
 */
import { constants } from 'node:os'
import { flights, yourFile } from './job.mjs'
import { mainJob } from './main-job.mjs'
import { plainWay } from './plain-way.mjs'
import { Stage } from './stage.mjs'
import { tell } from './telling.mjs'

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
  const stage = await Stage.set('demo')
  try {
    const signal = await Promise.race([play(stage, job), interrupted])
    if (signal !== undefined) return 128 + constants.signals[signal]
    tell('all is as it should be; the temp directory goes away')
    return 0
  } catch (error) {
    console.error(`The demo failed: ${error.message}`)
    return 1
  } finally {
    await stage.strike()
  }
}

async function play(stage, job) {
  await mainJob(stage, job)
  await plainWay(stage, job)
}

/** Resolves to the signal that is to end the demo. */
function interruption() {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, resolve)
  })
}
