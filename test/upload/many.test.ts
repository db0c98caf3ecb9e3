/**
 * Many uploads in one spool. Verifies that they are listed correctly, and that the uploads of one process
 * share its sockets, descriptors and memory without starving each other.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { encodeCheckpoint } from '../../src/disk/checkpoint.js'
import { Claim } from '../../src/disk/claim.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { SpoolWriteStream } from '../../src/index.js'
import { FairSemaphore } from '../../src/util/fair-semaphore.js'
import { listUploads } from '../../src/upload/maintenance/list.js'
import { start, until } from '../support/command-line.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { checkpointOf, sealed } from '../support/records.js'
import { long } from '../support/long.js'

const MIB = 1024 * 1024
const PART = 102_400

/** Starts sampling `now`. Returns a function that stops sampling and returns the maximum. */
function peakOf(t: Test, now: () => number): () => number {
  let peak = 0
  let watching = true
  const look = (): void => {
    peak = Math.max(peak, now())
    if (watching) setImmediate(look)
  }
  look()
  t.teardown(() => void (watching = false))
  return () => {
    watching = false
    return peak
  }
}

/** Returns a function that returns the number of pending requests of this process. */
function requestsOf(t: Test): () => number {
  let out = 0
  const begun = (): void => void out++
  const ended = (): void => void out--
  subscribe('http.client.request.start', begun)
  subscribe('http.client.response.finish', ended)
  t.teardown(() => {
    unsubscribe('http.client.request.start', begun)
    unsubscribe('http.client.response.finish', ended)
  })
  return () => out
}

void long(t, 'a spool with 1,000 unfinished uploads', async t => {
  const spool = new LocalRecordStore(t.testdir({}))
  const ids = Array.from({ length: 1000 }, (_, i) => `upload-${String(i).padStart(4, '0')}`)
  const record = sealed()
  for (const [i, id] of ids.entries()) {
    const createdAt = new Date(Date.UTC(2026, 0, 1) + i * 1000).toISOString()
    fs.mkdirSync(spool.directoryOf(id))
    fs.writeFileSync(join(spool.directoryOf(id), 'lock'), '')
    const text = encodeCheckpoint(checkpointOf({ ...record, createdAt }, id))
    fs.writeFileSync(spool.checkpointPath(id), text)
  }

  await t.test(
    'listUploads() lists 1,000 uploads oldest first with limited concurrency',
    async t => {
      const open = (): number => fs.readdirSync('/proc/self/fd').length
      const before = process.platform === 'linux' ? open() : 0
      const peak = peakOf(t, process.platform === 'linux' ? open : () => 0)
      const statuses = await listUploads(spool, () => t.fail('no upload is damaged'))
      t.same(
        statuses.map(({ id }) => id),
        ids,
      )
      t.ok(peak() - before <= 50, `${peak()} descriptors, ${before} before`)
    },
  )

  await t.test('oss-spool ls lists 1,000 uploads', async t => {
    const time = async (...args: string[]): Promise<[lines: number, ms: number]> => {
      const from = performance.now()
      const { out, status } = await start(spool.path, args).done
      t.equal(status, 0)
      return [out.split('\n').length - 1, performance.now() - from]
    }
    const [, bare] = await time('--version')
    const [lines, ms] = await time('ls', '--spool', spool.path)
    t.equal(lines, 1001)
    t.comment(`${Math.round(ms - bare)} ms longer than --version`)
  })

  await t.test('Claim.acquireExisting() does not list the other uploads', async t => {
    class Narrow extends LocalRecordStore {
      override ids(): Promise<string[]> {
        throw new Error('All uploads were listed')
      }
    }
    const claim = await Claim.acquireExisting(new Narrow(spool.path), 'upload-0500')
    t.equal(claim.checkpoint.id, 'upload-0500')
    await claim.release()
  })
})

t.test('FairSemaphore', async t => {
  /** Creates members that hold a turn until `end` is called, and records the order of their turns. */
  const table = (places: number) => {
    const turns = new FairSemaphore(places)
    const had: string[] = []
    const holding: { name: string; end: () => void }[] = []
    const member = (name: string, most?: number) => {
      const share = turns.share(most)
      return (signal?: AbortSignal): void =>
        void share.run(signal, async () => {
          had.push(name)
          await new Promise<void>(end => holding.push({ name, end }))
        })
    }
    const end = async (name: string): Promise<void> => {
      const at = holding.findIndex(each => each.name === name)
      holding.splice(at, 1)[0]?.end()
      await sleep(0)
    }
    return { member, had, holding, end }
  }

  t.test(
    'a FairSemaphore never exceeds its limit and lets a single member use all of it',
    async t => {
      const { member, had, end } = table(3)
      const huge = member('huge')
      for (let i = 0; i < 5; i++) huge()
      await sleep(0)
      t.equal(had.length, 3)
      await end('huge')
      t.equal(had.length, 4)
    },
  )

  t.test(
    'a FairSemaphore prefers the member with the fewest turns, then the longest waiting',
    async t => {
      const { member, had, end } = table(2)
      const [huge, second, small] = [member('huge'), member('second'), member('small')]
      for (let i = 0; i < 10; i++) huge()
      for (let i = 0; i < 10; i++) second()
      small()
      await sleep(0)
      for (const name of ['huge', 'huge', 'second']) await end(name)
      t.same(had, ['huge', 'huge', 'second', 'small', 'huge'])
    },
  )

  t.test('a FairSemaphore does not let small members starve a large one', async t => {
    const { member, had, holding, end } = table(2)
    for (let i = 0; i < 20; i++) member('small')()
    const huge = member('huge')
    for (let i = 0; i < 20; i++) huge()
    await sleep(0)
    for (let i = 0; i < 30; i++) {
      member('small')()
      await end(holding[0]?.name ?? '')
    }
    t.ok(had.indexOf('huge') <= 20, 'after each member before it had one turn')
  })

  t.test(
    'a FairSemaphore ends a wait when its signal aborts and grows for a larger share',
    async t => {
      const { member, had } = table(1)
      member('first')()
      const stop = new AbortController()
      member('waiting')(stop.signal)
      await sleep(0)
      t.same(had, ['first'])
      stop.abort()
      await sleep(0)
      t.same(had, ['first', 'waiting'], 'the aborted member runs, so that it can fail on its own')
      const many = member('many', 4)
      many()
      many()
      await sleep(0)
      t.equal(had.length, 4)
    },
  )
})

t.test(
  '60 concurrent sinks have at most 32 pending requests, and none waits for another to finish',
  async t => {
    const { spool, get } = await bench(t, { emulator: { link: { latency: 50 } } })
    const peak = peakOf(t, requestsOf(t))
    const sinks = Array.from({ length: 60 }, (_, i) => spool.createWriteStream(`key-${i}`))
    for (const sink of sinks) if (!sink.write('first ')) await once(sink, 'drain')
    for (const sink of sinks) sink.end('last')
    await Promise.all(sinks.map(({ result }) => result))
    t.ok(peak() <= 32, `${peak()} concurrent requests`)
    t.ok(peak() > 16, `${peak()} concurrent requests`)
    t.equal(String(await get('key-59')), 'first last')
  },
)

t.test('uploads beyond `parallelUploads` wait without opening their source', async t => {
  const { oss, another } = await bench(t)
  const spool = another({ parallelUploads: 4 })
  const open: PassThrough[] = []
  const source = (): Readable => {
    const stream = new PassThrough()
    open.push(stream)
    return stream
  }
  const refuse = oss.inject({ operation: 'PutObject', do: 'answer', status: 403, times: 'always' })
  const uploads = Array.from({ length: 12 }, (_, i) => spool.upload(`key-${i}`, source))
  const ending = Promise.allSettled(uploads)
  for (let ended = 0; ended < 12; ended += 4) {
    await until(() => open.length === ended + 4)
    await sleep(100)
    t.equal(open.length, ended + 4, 'four open sources')
    for (const stream of open.slice(ended)) stream.end(bytes(1000))
  }
  t.ok((await ending).every(({ status }) => status === 'rejected'))

  refuse.remove()
  const sealedOnes = await spool.uploads()
  t.equal(sealedOnes.length, 12)
  const requests = peakOf(t, requestsOf(t))
  await Promise.all(sealedOnes.map(({ id }) => spool.resume(id)))
  t.ok(requests() <= 4, `${requests()} concurrent requests`)
  t.same(await spool.uploads(), [])

  t.throws(() => another({ parallelUploads: 0 }), RangeError)
  const stop = new AbortController()
  const hang = oss.inject({ operation: 'PutObject', do: 'hang', times: 4 })
  const short = (): Readable => streamOf(bytes(1000))
  const busy = Array.from({ length: 4 }, (_, i) => spool.upload(`key-${i}`, short))
  await hang.hit(4)
  const waiting = spool.upload('late', short, { signal: stop.signal })
  stop.abort()
  await t.rejects(waiting, { code: 'ERR_SPOOL_ABORTED' })
  hang.release()
  await Promise.all(busy)
})

t.test('one signal aborts many uploads without a MaxListenersExceededWarning', async t => {
  const { oss, spool } = await bench(t)
  const warnings: string[] = []
  const onWarning = ({ name }: Error): void => void warnings.push(name)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  const stop = new AbortController()
  const hang = oss.inject({ operation: 'PutObject', do: 'hang', times: 16 })
  const uploads = Array.from({ length: 16 }, (_, i) =>
    t.rejects(
      spool.upload(`key-${i}`, () => streamOf(bytes(1000)), { signal: stop.signal }),
      { code: 'ERR_SPOOL_ABORTED' },
    ),
  )
  await hang.hit(16)
  stop.abort()
  await Promise.all(uploads)
  t.same(warnings, [])
})

t.test('two large uploads do not starve a small one', async t => {
  const { oss, spool } = await bench(t)
  const hang = oss.inject({ operation: 'UploadPart', do: 'hang', times: 32 })
  const huge = (key: string) =>
    spool.upload(key, () => streamOf(bytes(64 * PART), PART), { parallel: 32, start: 'sealed' })
  const both = [huge('first'), huge('second')]
  await hang.hit(32)
  await sleep(500) // 32 more of their parts are waiting
  const small = spool.upload('small', () => streamOf(bytes(10)))
  await sleep(500)
  hang.release()
  await small
  await Promise.all(both)
  const parts = oss.requests.filter(({ operation }) => /UploadPart|PutObject/.test(operation))
  const at = parts.findIndex(({ operation }) => operation === 'PutObject')
  t.ok(at < 32 + 16, `after ${at} parts of 128`)
})

t.test('1,000 open sinks get smaller buffers, and a later sink gets the default again', async t => {
  const refused = new Error('opening is refused by this test')
  let refuse = (): void => {}
  const gate = new Promise<void>(resolve => (refuse = resolve))
  const sink = (i: number): SpoolWriteStream =>
    new SpoolWriteStream({
      id: `id-${i}`,
      bucket: 'bucket',
      key: 'key',
      directory: `/nowhere/${i}`,
      signal: undefined,
      open: async () => {
        await gate
        throw refused
      },
    })
  const sinks = Array.from({ length: 1000 }, (_, i) => sink(i))
  t.equal(sinks[0]?.writableHighWaterMark, MIB)
  t.equal(sinks[999]?.writableHighWaterMark, 65_536 + 1_572)
  const all = sinks.reduce((sum, { writableHighWaterMark }) => sum + writableHighWaterMark, 0)
  t.ok(all < 256 * MIB, `${Math.round(all / MIB)} MiB`)
  for (const each of sinks) each.on('error', () => {})
  const closed = sinks.map(each => new Promise(resolve => each.once('close', resolve)))
  refuse()
  await Promise.all(closed)
  const later = sink(1000)
  later.on('error', () => {})
  t.equal(later.writableHighWaterMark, MIB)
  await new Promise(resolve => later.once('close', resolve))
})
