/**
 * Schedules that run each second while machines die. `SEED=`, printed on failure, reproduces the same order of
 * deaths.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { runTime } from '../../src/bullmq/run-placeholders.js'
import { setLongTimeout } from '../crash/long-timeout.js'
import { until } from '../support/command-line.js'
import { long } from '../support/long.js'
import { randomOf } from '../support/seed.js'
import { Machines, PART } from './machines.js'

const RUNS = 480
const DEATHS = 8
const SCHEDULES = 8
const MACHINES = 2

/** Lines in an object of two parts and a bit; each line is the time of its run. */
const LINES = Math.ceil((2.5 * PART) / '2026-11-29T02-00-00Z\n'.length)

setLongTimeout(t)

// `test/bullmq/schedules.test.ts` covers the decisions, without processes.
void long(t, `${RUNS} runs of schedules are each published once while machines die`, async t => {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue } = fleet
  const random = randomOf(t)
  const machines = Array.from({ length: MACHINES }, (_, i) => fleet.start(`m${i}`))
  for (let i = 0; i < SCHEDULES; i++) {
    const args = { text: '{scheduled}', lines: LINES, pace: 80 }
    const times = i % 2 === 0 ? { cron: '* * * * * *' } : { every: 1_000 }
    await queue.schedule(`s${i}`, times, { key: `s${i}/{scheduled}`, source: 'lines', args })
  }
  const reached = (count: number) =>
    until(async () => (await queue.queue.getCompletedCount()) >= count)
  for (let death = 1; death <= DEATHS; death++) {
    await reached(Math.floor((RUNS * death) / (DEATHS + 1)))
    await sleep(random() * 500)
    const [dead] = machines.splice(Math.floor(random() * MACHINES), 1)
    if (dead === undefined) throw new Error('all machines are dead')
    await fleet.kill(dead)
    machines.push(fleet.start(`m${MACHINES + death}`))
  }
  await reached(RUNS)
  // A schedule whose run was on a machine that died goes on.
  for (const { name, next } of await queue.schedules()) {
    await until(async () =>
      (await queue.schedules()).some(each => each.name === name && each.next > next),
    )
  }
  for (const { name } of await queue.schedules()) await queue.unschedule(name)
  const unfinished = ['active', 'waiting', 'delayed', 'waiting-children'] as const
  await until(async () => (await queue.queue.getJobCountByTypes(...unfinished)) === 0)
  t.same(await queue.queue.getFailed(), [])

  const completed = await queue.queue.getCompleted(0, -1)
  t.ok(completed.length >= RUNS, `${completed.length} runs`)
  const again = completed.filter(({ attemptsStarted }) => attemptsStarted > 1).length
  t.comment(`${again} runs were started again`)
  const keys: string[] = []
  for (const { id = '' } of completed) {
    const time = `${new Date(runTime(id)).toISOString().slice(0, 19).replaceAll(':', '-')}Z`
    const key = `${id.split(':')[1]}/${time}`
    keys.push(key)
    const content = String(await bench.get(key))
    if (content !== `${time}\n`.repeat(LINES)) t.fail(`${key} does not match its source`)
  }
  const published = fleet.done('CompleteMultipartUpload', 'PutObject').map(({ key = '' }) => key)
  t.same(published.toSorted(), keys.toSorted(), 'each run is published once, under its own key')
  t.same(await fleet.spool.uploads(), [], 'no upload is unfinished')
})
