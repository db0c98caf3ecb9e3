/** Several processes on one spool directory: one owner each, and nobody in another one's way. */
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Claim } from '../../src/disk/claim.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { bench } from '../support/oss.js'
import { patience } from './patience.js'
import { SCENARIOS, setUp } from './scenario.js'
import { Site } from './site.js'
import { long } from '../support/long.js'

patience(t)

void long(t, 'a frozen owner keeps its lock, and goes on when it is thawed', async t => {
  const b = await bench(t)
  const site = await setUp(b, SCENARIOS.resume)
  const fault = b.oss.inject({ operation: 'UploadPart', key: site.key, do: 'hang' })
  const owner = site.work({ step: 'resume' })
  await fault.hit()
  owner.signal('SIGSTOP')
  fault.remove()
  for (let i = 0; i < 4; i++) {
    const refused = site.spool().resume(site.id)
    await t.rejects(refused, { code: 'ERR_SPOOL_LOCKED', message: String(owner.pid) })
    await sleep(700)
  }
  t.match(await site.spool().uploads(), [{ id: site.id, owner: { pid: owner.pid } }])
  owner.signal('SIGCONT')
  const { result } = await owner.ended
  t.equal(result?.size, site.size)
  t.same(await site.get(), site.content)
  t.same(await site.files(), [])
})

t.test('processes that want the same upload: one has it, the others are told', async t => {
  const b = await bench(t)
  const site = await setUp(b, SCENARIOS.resume)
  const racers = Array.from({ length: 6 }, () => site.work({ step: 'resume', wait: true }))
  await Promise.all(racers.map(racer => racer.said('ready')))
  for (const racer of racers) racer.go()
  const endings = await Promise.all(racers.map(racer => racer.ended))
  const won = endings.filter(({ result }) => result !== undefined)
  t.equal(won.length, 1, 'exactly one finishes it')
  for (const { error } of endings.filter(({ result }) => result === undefined)) {
    t.match(error?.code, /^ERR_SPOOL_(LOCKED|NOT_FOUND)$/, 'owned, or finished already')
  }
  t.same(await site.get(), site.content)
  t.equal(b.count('CompleteMultipartUpload'), 1, 'completed once')
  t.same(await site.files(), [])
  t.same(await site.uploadIds(), [])
})

t.test('processes that write the same upload: whoever ends well has written it', async t => {
  const b = await bench(t)
  const site = new Site(b, SCENARIOS.parts.size)
  const racers = Array.from({ length: 6 }, () => site.work({ step: 'stream', wait: true }))
  await Promise.all(racers.map(racer => racer.said('ready')))
  for (const racer of racers) racer.go()
  const endings = await Promise.all(racers.map(racer => racer.ended))
  t.ok(endings.some(({ result }) => result !== undefined))
  for (const { error } of endings.filter(({ result }) => result === undefined)) {
    t.equal(error?.code, 'ERR_SPOOL_LOCKED')
  }
  t.same(await site.get(), site.content)
  t.same(await site.files(), [])
  t.same(await site.uploadIds(), [])
})

void long(t, 'processes with uploads of their own share a spool directory', async t => {
  const b = await bench(t)
  const shared = new Site(b, SCENARIOS.parts.size)
  const sites = Array.from({ length: 6 }, () => new Site(b, SCENARIOS.parts.size))
  const workers = sites.map(site => site.work({ step: 'stream', dir: shared.dir, wait: true }))
  await Promise.all(workers.map(worker => worker.said('ready')))
  for (const worker of workers) worker.go()
  const endings = await Promise.all(workers.map(worker => worker.ended))
  for (const [i, { result, error }] of endings.entries()) {
    t.equal(error, undefined)
    t.equal(result?.id, sites[i]?.id)
    t.same(await sites[i]?.get(), sites[i]?.content)
  }
  t.same(await readdir(shared.dir), [])
})

t.test('whoever waits while an upload is being removed gets a new one, or none', async t => {
  const directory = new LocalRecordStore(t.testdir())
  for (let i = 0; i < 200; i++) {
    const owner = await Claim.acquire(directory, 'same')
    const waiting = Claim.acquire(directory, 'same').catch((error: unknown) => error)
    // At another point of the waiter's way to the lock each time.
    for (let j = 0; j < i % 10; j++) await new Promise(setImmediate)
    await owner.remove()
    const got = await waiting
    if (got instanceof Claim) {
      const there = await directory.ids()
      if (there.join() !== 'same') t.fail('what was locked is what is there', { there })
      await got.remove()
    } else {
      t.match(got, { code: 'ERR_SPOOL_LOCKED' })
    }
  }
  t.same(await readdir(directory.path), [], 'nothing is left')
})
