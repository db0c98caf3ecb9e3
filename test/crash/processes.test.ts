/** Several processes on one spool directory. Each upload has one owner, and owners do not interfere. */
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Claim } from '../../src/disk/claim.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { bench } from '../support/oss.js'
import { setLongTimeout } from './long-timeout.js'
import { SCENARIOS, setUp } from './scenario.js'
import { UploadFixture } from './upload-fixture.js'
import { LONG, long } from '../support/long.js'

setLongTimeout(t)

/** Processes that compete for one upload. */
const RACERS = LONG ? 6 : 3

void long(t, 'a stopped process (SIGSTOP) keeps its lock and finishes after SIGCONT', async t => {
  const b = await bench(t)
  const fixture = await setUp(b, SCENARIOS.resume)
  const fault = b.oss.inject({ operation: 'UploadPart', key: fixture.key, do: 'hang' })
  const owner = fixture.startWorker({ step: 'resume' })
  await fault.hit()
  owner.signal('SIGSTOP')
  fault.remove()
  for (let i = 0; i < 4; i++) {
    const refused = fixture.spool().resume(fixture.id)
    await t.rejects(refused, { code: 'ERR_SPOOL_LOCKED', message: String(owner.pid) })
    await sleep(700)
  }
  t.match(await fixture.spool().uploads(), [{ id: fixture.id, owner: { pid: owner.pid } }])
  owner.signal('SIGCONT')
  const { result } = await owner.ended
  t.equal(result?.size, fixture.size)
  t.same(await fixture.get(), fixture.content)
  t.same(await fixture.files(), [])
})

t.test(`of ${RACERS} processes that resume the same upload, exactly one succeeds`, async t => {
  const b = await bench(t)
  const fixture = await setUp(b, SCENARIOS.resume)
  const racers = Array.from({ length: RACERS }, () =>
    fixture.startWorker({ step: 'resume', wait: true }),
  )
  await Promise.all(racers.map(racer => racer.waitFor('ready')))
  for (const racer of racers) racer.go()
  const outcomes = await Promise.all(racers.map(racer => racer.ended))
  const won = outcomes.filter(({ result }) => result !== undefined)
  t.equal(won.length, 1, 'exactly one process finishes the upload')
  for (const { error } of outcomes.filter(({ result }) => result === undefined)) {
    t.match(
      error?.code,
      /^ERR_SPOOL_(LOCKED|NOT_FOUND)$/,
      'the others find it locked or already finished',
    )
  }
  t.same(await fixture.get(), fixture.content)
  t.equal(b.count('CompleteMultipartUpload'), 1, 'completed once')
  t.same(await fixture.files(), [])
  t.same(await fixture.uploadIds(), [])
})

t.test(
  `${RACERS} processes write the same upload, and each success has published its object`,
  async t => {
    const b = await bench(t)
    const fixture = new UploadFixture(b, SCENARIOS.parts.size)
    const racers = Array.from({ length: RACERS }, () =>
      fixture.startWorker({ step: 'stream', wait: true }),
    )
    await Promise.all(racers.map(racer => racer.waitFor('ready')))
    for (const racer of racers) racer.go()
    const outcomes = await Promise.all(racers.map(racer => racer.ended))
    t.ok(outcomes.some(({ result }) => result !== undefined))
    for (const { error } of outcomes.filter(({ result }) => result === undefined)) {
      t.equal(error?.code, 'ERR_SPOOL_LOCKED')
    }
    t.same(await fixture.get(), fixture.content)
    t.same(await fixture.files(), [])
    t.same(await fixture.uploadIds(), [])
  },
)

void long(t, 'six processes with different uploads share a spool directory', async t => {
  const b = await bench(t)
  const shared = new UploadFixture(b, SCENARIOS.parts.size)
  const fixtures = Array.from({ length: 6 }, () => new UploadFixture(b, SCENARIOS.parts.size))
  const workers = fixtures.map(fixture =>
    fixture.startWorker({ step: 'stream', dir: shared.dir, wait: true }),
  )
  await Promise.all(workers.map(worker => worker.waitFor('ready')))
  for (const worker of workers) worker.go()
  const outcomes = await Promise.all(workers.map(worker => worker.ended))
  for (const [i, { result, error }] of outcomes.entries()) {
    t.equal(error, undefined)
    t.equal(result?.id, fixtures[i]?.id)
    t.same(await fixtures[i]?.get(), fixtures[i]?.content)
  }
  t.same(await readdir(shared.dir), [])
})

t.test(
  'acquiring an upload that is being removed creates a new one or fails as locked',
  async t => {
    const directory = new LocalRecordStore(t.testdir())
    for (let i = 0; i < 200; i++) {
      const owner = await Claim.acquire(directory, 'same')
      const waiting = Claim.acquire(directory, 'same').catch((error: unknown) => error)
      // Remove at a different point of the acquisition each time.
      for (let j = 0; j < i % 10; j++) await new Promise(setImmediate)
      await owner.remove()
      const acquired = await waiting
      if (acquired instanceof Claim) {
        const ids = await directory.ids()
        if (ids.join() !== 'same') t.fail('the locked upload exists', { ids })
        await acquired.remove()
      } else {
        t.match(acquired, { code: 'ERR_SPOOL_LOCKED' })
      }
    }
    t.same(await readdir(directory.path), [], 'no directory is left')
  },
)
