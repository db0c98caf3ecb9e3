/** The estimate of OSS's clock, on which signatures and the order of objects depend. */
import t, { type Test } from 'tap'
import type { Bucket, HttpResponse } from '../../src/oss/bucket.js'
import { connect } from '../../src/oss/connection.js'
import { ServerClock } from '../../src/oss/server-clock.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'

const HOUR = 3_600_000
const YEAR = 365 * 24 * HOUR
/** Tolerance for whole seconds and a busy machine. */
const NEAR = 30_000

const dated = (ms: number): HttpResponse => ({
  status: 200,
  headers: { date: new Date(Date.now() + ms).toUTCString() },
})
const serverTime = (ms: number): string =>
  `<Error><Code>RequestTimeTooSkewed</Code><ServerTime>${new Date(Date.now() + ms).toISOString()}</ServerTime></Error>`

function near(t: Test, actual: number | undefined, expected: number, what: string): void {
  t.ok(actual !== undefined && Math.abs(actual - expected) < NEAR, `${what}: ${actual}`)
}

t.test('the offset is read from ServerTime, otherwise from Date', async t => {
  for (const [date, time, expected] of [
    [-56 * YEAR, HOUR, HOUR],
    [-3 * YEAR, HOUR, HOUR],
    [HOUR, -56 * YEAR, HOUR],
    [HOUR, HOUR, HOUR],
  ] as const) {
    const clock = new ServerClock()
    const what = `Date ${date}, ServerTime ${time}`
    near(t, clock.readSkewed(dated(date), serverTime(time)), expected, what)
    near(t, clock.now(), Date.now() + expected, what)
  }
  near(t, new ServerClock().readSkewed(dated(HOUR), ''), HOUR, 'no XML')
  near(t, new ServerClock().readSkewed(dated(HOUR), '<ServerTime>x</ServerTime>'), HOUR, 'no time')
  t.equal(new ServerClock().readSkewed(dated(-56 * YEAR), ''), undefined, 'neither')
})

t.test('a Date far from the time that OSS accepts is ignored', async t => {
  const clock = new ServerClock()
  clock.read(dated(-3 * YEAR))
  near(t, clock.now(), Date.now(), 'with the local clock')
  clock.readSkewed(dated(-3 * YEAR), serverTime(HOUR))
  for (const offset of [-3 * YEAR, 0, 2 * HOUR]) clock.read(dated(offset))
  near(t, clock.now(), Date.now() + HOUR, 'with a corrected one')
  clock.read(dated(HOUR + 5 * 60_000))
  near(t, clock.now(), Date.now() + HOUR + 5 * 60_000, 'a close one is read')
})

t.test('an offset that is in use already corrects nothing', async t => {
  const clock = new ServerClock()
  const reply = dated(HOUR)
  t.ok(clock.readSkewed(reply, ''))
  t.equal(clock.readSkewed(reply, ''), undefined)
})

const CALLS: Readonly<Record<string, (bucket: Bucket) => Promise<unknown>>> = {
  PutObject: bucket => bucket.put('key', async () => Buffer.from('abc'), {}, {}),
  HeadObject: bucket => bucket.head('key', {}),
}

/** Puts a box with a wrong clock, which sets the `Date` header, before an OSS that is an hour ahead. */
function wrongBox(b: Bench, date: string): void {
  b.oss.inject({ do: 'skew', ms: HOUR, times: 'always' })
  b.oss.inject({ do: 'alter', headers: { Date: date }, times: 'always' })
}

t.test('a skewed clock is corrected although a box on the way sets a wrong Date', async t => {
  for (const date of ['Thu, 01 Jan 1970 00:00:00 GMT', 'Fri, 01 Jan 2016 00:00:00 GMT']) {
    for (const [name, call] of Object.entries(CALLS)) {
      const b = await bench(t)
      const connection = connect(b.oss.clientOptions(BUCKET))
      t.teardown(() => connection.close())
      const bucket = connection.open(connection.place())
      wrongBox(b, date)
      const failure: unknown = await call(bucket).catch((error: unknown) => error)
      t.match(failure, { recovered: true }, `${name}, ${date}`)
      await call(bucket)
      near(t, bucket.now(), Date.now() + HOUR, `${name}, ${date}`)
    }
  }
})
