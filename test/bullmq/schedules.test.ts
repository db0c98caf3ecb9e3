/** Schedules: times of runs, keys of runs, and runs on a real Redis. */
import t, { type Test } from 'tap'
import { UploadQueue, type Schedule, type UploadJob } from '../../src/bullmq/index.js'
import { checkRunKeys, fillPlaceholders, runTime } from '../../src/bullmq/run-placeholders.js'
import { checkSchedule, nextRuns } from '../../src/bullmq/schedule-times.js'
import { uploadIdOf } from '../../src/bullmq/upload-id.js'
import { until } from '../support/command-line.js'
import { bench, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { Fleet } from './fleet.js'

const BERLIN = 'Europe/Berlin'

function runs(schedule: Schedule, after: string, count: number): string[] {
  return nextRuns(schedule, Date.parse(after), count).map(time => new Date(time).toISOString())
}

t.test(
  'a schedule runs at local times, once per day also when summer time begins or ends',
  async t => {
    const daily = { cron: '30 2 * * *' }
    t.same(runs(daily, '2026-03-28T12:00:00Z', 2), [
      '2026-03-29T02:30:00.000Z',
      '2026-03-30T02:30:00.000Z',
    ])
    const local = { ...daily, timeZone: BERLIN }
    t.same(
      runs(local, '2026-03-27T12:00:00Z', 3),
      ['2026-03-28T01:30:00.000Z', '2026-03-29T01:30:00.000Z', '2026-03-30T00:30:00.000Z'],
      '02:30 does not exist on March 29, so the run is at 03:30',
    )
    t.same(
      runs(local, '2026-10-24T12:00:00Z', 2),
      ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z'],
      '02:30 exists twice on October 25, and the run is at the first',
    )
    const hourly = { cron: '0 * * * *', timeZone: BERLIN }
    t.same(runs(hourly, '2026-10-24T23:30:00Z', 3), [
      '2026-10-25T00:00:00.000Z',
      '2026-10-25T01:00:00.000Z',
      '2026-10-25T02:00:00.000Z',
    ])
    t.same(runs({ every: 3_600_000 }, '2026-10-24T23:30:00Z', 2), [
      '2026-10-25T00:00:00.000Z',
      '2026-10-25T01:00:00.000Z',
    ])
    t.same(runs({ every: 7_000 }, '1970-01-01T00:00:07Z', 1), ['1970-01-01T00:00:14.000Z'])
  },
)

t.test('placeholders are replaced in the key and in all texts of the arguments', async t => {
  const data = {
    key: 'a/{scheduled}/{yyyy}-{MM}-{dd}T{HH}-{mm}-{ss}',
    source: '{yyyy}',
    args: {
      day: '{dd}',
      deep: [{ at: 'x{scheduled}{HH}' }],
      other: '{no} {',
      count: 5,
      none: null,
    },
    upload: { mime: '{MM}' },
    placeholders: { timeZone: BERLIN },
  }
  t.same(fillPlaceholders(data, Date.parse('2026-12-31T23:05:06.789Z')), {
    key: 'a/2026-12-31T23-05-06Z/2027-01-01T00-05-06',
    source: '{yyyy}',
    args: {
      day: '01',
      deep: [{ at: 'x2026-12-31T23-05-06Z00' }],
      other: '{no} {',
      count: 5,
      none: null,
    },
    upload: { mime: '{MM}' },
  })
  t.equal(runTime('repeat:nightly:1764381600000'), 1764381600000)
  for (const id of ['nightly', 'repeat:nightly', 'repeat:nightly:x', '1764381600000']) {
    t.throws(() => runTime(id), TypeError)
  }
})

t.test('keys that are the same for two runs are refused', async t => {
  const check = (key: string, schedule: Schedule): void =>
    checkRunKeys(key, schedule.timeZone ?? 'UTC', nextRuns(schedule, Date.UTC(2026, 0, 5), 100))
  const daily: Schedule = { cron: '0 2 * * *', timeZone: BERLIN }
  const hourly: Schedule = { cron: '0 * * * *' }
  t.doesNotThrow(() => check('{yyyy}-{MM}-{dd}', daily))
  t.doesNotThrow(() => check('{dd}{MM}{yyyy}/{HH}', daily))
  t.doesNotThrow(() => check('{yyyy}/{MM}', { cron: '0 0 1 * *' }))
  t.doesNotThrow(() => check('{yyyy}/{MM}/{dd}/{HH}', hourly))
  t.doesNotThrow(() => check('{yyyy}/{MM}/{dd}/{HH}', { every: 3_600_000 }))
  t.doesNotThrow(() => check('{scheduled}', { ...hourly, timeZone: BERLIN }))
  const wrong: [key: string, schedule: Schedule][] = [
    ['latest', daily],
    ['{yyyy}-{dd}', daily],
    ['{MM}-{dd}', daily],
    ['{yyyy}-{MM}', daily],
    ['{yyyy}-{MM}-{dd}', hourly],
    ['{yyyy}-{MM}-{dd}-{mm}', hourly],
    ['{yyyy}-{MM}-{dd}-{HH}', { every: 1_800_000 }],
    ['{yyyy}-{MM}-{dd}-{HH}', { ...hourly, timeZone: BERLIN }], // 02:00 exists twice in October
    ['{YYYY}-{scheduled}', daily],
    ['{scheduled}}', daily],
    ['{', daily],
  ]
  for (const [key, schedule] of wrong) {
    t.throws(() => check(key, schedule), { code: 'ERR_INVALID_ARG_VALUE' }, key)
  }
})

t.test('wrong schedules are refused', async t => {
  const type = { name: 'TypeError' }
  const range = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
  const wrong: [schedule: unknown, error: { readonly name: string }][] = [
    [undefined, type],
    [{}, type],
    [{ cron: '0 2 * * *', every: 1_000 }, type],
    [{ cron: 5 }, type],
    [{ cron: '' }, type],
    [{ cron: '* * * *' }, type],
    [{ cron: '* * * * * * *' }, type],
    [{ cron: '61 * * * *' }, type],
    [{ cron: '0 0 30 2 *' }, type],
    [{ cron: 'H 2 * * *' }, type],
    [{ cron: 'x x x x x' }, type],
    [{ cron: '0 2 * * *', timeZone: 'Europe/Atlantis' }, type],
    [{ cron: '0 2 * * *', tz: 'UTC' }, type],
    [{ every: '1s' }, type],
    [{ every: 999 }, range],
    [{ every: 1_500 }, range],
  ]
  for (const [schedule, error] of wrong) {
    t.throws(() => checkSchedule(schedule as Schedule), error, JSON.stringify(schedule))
  }
  for (const cron of ['0 2 * * *', '0 0 2 * * MON-THU', ' 0 0 L * * ', '0 0 29 2 *']) {
    t.doesNotThrow(() => checkSchedule({ cron }), cron)
  }
})

class Workshop {
  readonly calls: string[] = []
  failures = 0
  open!: () => void
  readonly gate = new Promise<void>(resolve => (this.open = resolve))

  readonly sources = {
    text: ({ text }: { text: string }) => {
      this.calls.push(text)
      if (this.failures-- > 0) throw Object.assign(new Error('broken'), { retryable: true })
      return streamOf(Buffer.from(text))
    },
    gated: async function* (this: Workshop) {
      this.calls.push('gated')
      yield Buffer.alloc(204_800)
      await this.gate
    }.bind(this),
  }
}

const server = await startRedis(t)
type TestFleet = Fleet<Workshop['sources']>

function fleetTest(
  name: string,
  run: (t: Test, fleet: TestFleet, shop: Workshop) => Promise<void>,
): void {
  if (server === undefined) return
  t.test(name, async t => {
    const shop = new Workshop()
    await run(t, new Fleet(t, await bench(t), server, shop.sources), shop)
    t.teardown(shop.open)
  })
}

const eachSecond = { cron: '* * * * * *' } as const
const request = { key: 'x/{scheduled}', source: 'text', args: { text: 'at {scheduled}' } } as const

/** Waits for completed jobs and returns them. */
async function completed({ queue }: TestFleet, count: number): Promise<UploadJob[]> {
  await until(async () => (await queue.queue.getCompletedCount()) >= count)
  return queue.queue.getCompleted()
}

/** Text of a time in keys. */
function stamp(time: number): string {
  return `${new Date(time).toISOString().slice(0, 19).replaceAll(':', '-')}Z`
}

fleetTest('each run of a schedule has its own key, id and upload', async (t, fleet) => {
  const { queue, bench: b } = fleet
  fleet.machine('a')
  const { next, nextJobId } = await queue.schedule('cron', eachSecond, { ...request, priority: 5 })
  t.equal(nextJobId, `repeat:cron:${next.getTime()}`)
  await queue.schedule('every', { every: 1_000 }, { ...request, key: 'every/{scheduled}' })
  const jobs = await completed(fleet, 8)
  for (const { id = '', data, returnvalue, opts } of jobs) {
    const [, name, ms] = id.split(':')
    t.equal(Number(ms) % 1_000, 0, 'runs are at full seconds')
    const text = stamp(Number(ms))
    const key = `${name === 'cron' ? 'x' : name}/${text}`
    t.same(data, { v: 1, key, source: 'text', args: { text: `at ${text}` } })
    t.match(returnvalue, { id: uploadIdOf(id), key })
    t.equal(opts.priority ?? 0, name === 'cron' ? 5 : 0)
    t.same(await b.get(key), Buffer.from(`at ${text}`))
  }
  t.equal(new Set(jobs.map(({ data }) => data.key)).size, jobs.length)
  t.equal(await queue.unschedule('cron'), true)
  t.equal(await queue.unschedule('cron'), false)
  t.equal(await queue.unschedule('every'), true)
  t.same(await queue.schedules(), [])
  await until(
    async () => (await queue.queue.getJobCountByTypes('active', 'waiting', 'delayed')) === 0,
  )
})

fleetTest('a late and retried run keeps its scheduled time', async (t, fleet, shop) => {
  const { queue, bench: b } = fleet
  shop.failures = 2
  const { next, nextJobId } = await queue.schedule('late', { every: 60_000 }, request)
  await (await fleet.job(nextJobId)).promote() // long before its time
  fleet.machine('a')
  const { attemptsMade, data } = await fleet.reaches(nextJobId, 'completed')
  t.equal(attemptsMade, 3)
  const text = stamp(next.getTime())
  t.equal(data.key, `x/${text}`)
  t.same(shop.calls, Array(3).fill(`at ${text}`))
  t.same(await b.get(`x/${text}`), Buffer.from(`at ${text}`))
  const [{ next: following } = { next: new Date(0) }] = await queue.schedules()
  t.equal(following.getTime(), next.getTime() + 60_000)
})

fleetTest(
  'setting a schedule again keeps a run that waits, another one replaces it',
  async (t, fleet) => {
    const { queue, redis, prefix } = fleet
    const first = await queue.schedule('s', eachSecond, request)
    // Nobody works, so the run becomes late.
    await until(() => Date.now() > first.next.getTime() + 1_000)
    const other = new UploadQueue<Workshop['sources']>({
      connection: redis,
      prefix,
      jobs: { attempts: 3, backoff: { type: 'fixed', delay: 50 } },
    })
    t.teardown(() => other.close())
    const same = await Promise.all([
      queue.schedule('s', eachSecond, request),
      other.schedule('s', { timeZone: 'UTC', ...eachSecond }, request),
    ])
    t.same(same, [first, first])
    t.same(await queue.schedules(), [first])
    t.match((await fleet.job(first.nextJobId)).opts, { attempts: 3 })

    const changes = [
      [{ every: 60_000 }, request],
      [{ every: 3_600_000 }, request],
      [{ cron: '0 0 * * *' }, request],
      [{ cron: '0 0 * * *', timeZone: BERLIN }, request],
      [
        { cron: '0 0 * * *', timeZone: BERLIN },
        { ...request, key: 'y/{scheduled}' },
      ],
      [
        { cron: '0 0 * * *', timeZone: BERLIN },
        { ...request, attempts: 7 },
      ],
    ] as const
    for (const [schedule, changed] of changes) {
      const set = await queue.schedule('s', schedule, changed)
      t.same(await other.schedules(), [set])
      t.equal(set.next.getTime(), nextRuns(schedule, Date.now(), 1)[0])
      const jobs = await queue.queue.getJobs(['waiting', 'delayed'])
      t.match(jobs, [{ id: set.nextJobId, data: { key: changed.key } }], 'there is one next run')
      t.equal(jobs.length, 1)
      t.same(await other.schedule('s', schedule, changed), set)
    }
  },
)

fleetTest(
  'a run of a schedule can be cancelled before and after its start',
  async (t, fleet, shop) => {
    const { queue, bench: b } = fleet
    const { spool } = fleet.machine('a')
    const { next, nextJobId } = await queue.schedule(
      'c',
      { every: 60_000 },
      { key: request.key, source: 'gated' },
    )
    t.equal(await queue.cancel(nextJobId), 'stopping')
    t.match(await fleet.reaches(nextJobId, 'failed'), { failedReason: /^ERR_SPOOL_ABORTED: / })
    t.same(shop.calls, [], 'the source is not called')
    const [following] = await queue.schedules()
    t.equal(following?.next.getTime(), next.getTime() + 60_000, 'the schedule goes on')
    const id = following?.nextJobId ?? ''
    await (await fleet.job(id)).promote()
    await until(() => shop.calls.length === 1)
    t.equal(await queue.cancel(id), 'stopping')
    t.match(await fleet.reaches(id, 'failed'), { failedReason: /^ERR_SPOOL_ABORTED: / })
    t.same(await spool.uploads({ all: true }), [])
    t.equal(await b.get(`x/${stamp(next.getTime())}`), undefined)
  },
)

fleetTest('wrong requests and names are refused, and nothing is set', async (t, fleet) => {
  const { queue } = fleet
  const wrong = { code: 'ERR_INVALID_ARG_VALUE' }
  for (const name of ['', 'a:b', 'x'.repeat(101), 'ä']) {
    await t.rejects(queue.schedule(name, eachSecond, request), wrong, name)
  }
  const id: object = { id: 'own' }
  await t.rejects(queue.schedule('s', eachSecond, { ...request, ...id }), wrong)
  await t.rejects(queue.schedule('s', eachSecond, { ...request, delay: 5 }), wrong)
  await t.rejects(queue.schedule('s', eachSecond, { ...request, key: 'latest' }), wrong)
  await t.rejects(queue.schedule('s', eachSecond, { ...request, attempts: 0 }), {
    name: 'RangeError',
  })
  const key = `${'x'.repeat(1_010)}{scheduled}`
  await t.rejects(queue.schedule('s', eachSecond, { ...request, key }), {
    code: 'ERR_SPOOL_INVALID_KEY',
  })
  await t.rejects(queue.unschedule('a:b'), wrong)
  t.same(await queue.schedules(), [])

  fleet.machine('a')
  const hostile = [null, {}, { timeZone: 'Europe/Atlantis' }, { timeZone: 'UTC' }]
  for (const [i, placeholders] of hostile.entries()) {
    const data = { key: 'k', source: 'text', placeholders }
    const { id: jobId } = await queue.queue.add('text', data, {
      jobId: `job-${i}`,
      attempts: 3,
    })
    t.match(await fleet.reaches(jobId, 'failed'), { attemptsMade: 1 }, JSON.stringify(placeholders))
  }
})
