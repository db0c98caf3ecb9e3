/**
 * Events of an upload on Node's diagnostics channels. Verifies their order and sums, and that subscribers
 * cannot make an upload fail.
 */
import { spawnSync } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import type { SpoolEvents } from '../../src/index.js'
import { Diagnostics } from '../../src/upload/run/diagnostics.js'
import { bench, BUCKET, bytes, failingAfter, streamOf } from '../support/oss.js'
import { urlOf } from '../support/project.js'

const PART = 102_400
const NAMES = [
  'oss-spool:upload:start',
  'oss-spool:upload:sealed',
  'oss-spool:upload:published',
  'oss-spool:upload:failed',
  'oss-spool:part:sent',
  'oss-spool:part:failed',
  'oss-spool:part:found',
  'oss-spool:retry',
  'oss-spool:checkpoint',
] as const satisfies readonly (keyof SpoolEvents)[]

type Name = (typeof NAMES)[number]

interface Heard {
  /** Names in order, without `oss-spool:`, and without checkpoints, whose number depends on time. */
  readonly names: () => string[]
  readonly of: <N extends Name>(name: N) => SpoolEvents[N][]
  readonly text: () => string
}

function listen(t: Test): Heard {
  const heard: { name: Name; message: unknown }[] = []
  for (const name of NAMES) {
    const listener = (message: unknown): void => void heard.push({ name, message })
    subscribe(name, listener)
    t.teardown(() => unsubscribe(name, listener))
  }
  return {
    names: () =>
      heard.map(({ name }) => name.replace('oss-spool:', '')).filter(name => name !== 'checkpoint'),
    // The channel determines the type of a message.
    of: <N extends Name>(name: N) =>
      heard.filter(each => each.name === name).map(({ message }) => message as SpoolEvents[N]),
    text: () => JSON.stringify(heard),
  }
}

t.test('an upload with a receipt saves its publication once', async t => {
  const { spool } = await bench(t)
  const heard = listen(t)
  await spool.upload('kept', () => streamOf(bytes(100)), { once: true })
  const saved = heard.of('oss-spool:checkpoint').filter(({ phase }) => phase === 'published')
  t.equal(saved.length, 1)
})

t.test('a multipart upload publishes events for its start, parts, retries and end', async t => {
  const { oss, spool } = await bench(t)
  const heard = listen(t)
  oss.inject({ operation: 'UploadPart', do: 'answer', status: 503, code: 'ServiceUnavailable' })
  const data = bytes(3 * PART + 7)
  const sink = spool.createWriteStream('large', { id: 'large' })
  await pipeline(streamOf(data), sink)
  const result = await sink.result
  const upload = { id: 'large', endpoint: oss.endpoint, bucket: BUCKET, key: 'large' }
  const names = heard.names()
  t.equal(names[0], 'upload:start')
  t.equal(names.at(-1), 'upload:published')
  t.same(heard.of('oss-spool:upload:start'), [{ ...upload, resumed: false, spooled: 0 }])
  const [sealed] = heard.of('oss-spool:upload:sealed')
  t.match(sealed, { ...upload, size: data.length, elapsed: Number })
  const parts = heard.of('oss-spool:part:sent')
  t.same(
    parts.map(({ part }) => part).toSorted((a, b) => a - b),
    [1, 2, 3, 4],
  )
  t.equal(
    parts.reduce((sum, { size }) => sum + size, 0),
    result.sent,
  )
  t.ok(parts.every(({ elapsed, id }) => elapsed > 0 && id === 'large'))
  t.match(heard.of('oss-spool:retry'), [
    { ...upload, operation: 'UploadPart', reason: 'throttled', status: 503, part: Number },
  ])
  const failed = heard.of('oss-spool:part:failed')
  t.match(failed, [{ ...upload, part: Number, sent: Number }])
  t.ok(failed.every(({ sent }) => sent <= PART))
  t.match(heard.of('oss-spool:upload:published'), [
    { ...upload, resumed: false, size: data.length, parts: 4, sent: data.length, skipped: 0 },
  ])
  const checkpoints = heard.of('oss-spool:checkpoint')
  t.match(checkpoints.at(-1), { ...upload, phase: 'completing', spooled: data.length })
  t.ok(checkpoints.every(({ elapsed }) => elapsed > 0))
  const { accessKeySecret, accessKeyId } = oss.clientOptions(BUCKET)
  t.notMatch(heard.text(), accessKeySecret)
  t.notMatch(heard.text(), accessKeyId)
})

t.test('an upload that resume() seals at its last commit publishes no sealed event', async t => {
  const { spool, another } = await bench(t)
  const sink = spool.createWriteStream('key', { id: 'id' })
  sink.on('error', () => {})
  sink.write(bytes(100))
  await sink.commit()
  sink.destroy()
  await t.rejects(sink.result)
  const heard = listen(t)
  t.match(await another().resume('id'), { size: 100 })
  t.same(heard.names(), ['upload:start', 'part:sent', 'upload:published'])
})

t.test('a small upload publishes one part event between sealed and published', async t => {
  const { spool } = await bench(t)
  const heard = listen(t)
  await spool.upload('small', () => streamOf(bytes(100)))
  t.same(heard.names(), ['upload:start', 'upload:sealed', 'part:sent', 'upload:published'])
  t.match(heard.of('oss-spool:part:sent'), [{ part: 1, size: 100 }])
})

t.test('a failed source publishes a failed event, and the next one part:found events', async t => {
  const { spool, count } = await bench(t)
  const heard = listen(t)
  const data = bytes(3 * PART)
  const arrived = (): boolean => count('UploadPart') >= 2
  const failing = failingAfter(data.subarray(0, 2 * PART + 10), new Error('cut'), arrived)
  await t.rejects(spool.upload('key', () => failing, { id: 'id' }))
  t.same(heard.names().at(-1), 'upload:failed')
  const [failed] = heard.of('oss-spool:upload:failed')
  t.match(failed, { id: 'id', code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
  t.same(heard.of('oss-spool:upload:sealed'), [])

  const { skipped } = await spool.upload('key', () => streamOf(data), { id: 'id' })
  const found = heard.of('oss-spool:part:found')
  t.same(
    found.map(({ part }) => part).toSorted((a, b) => a - b),
    [1, 2],
  )
  t.equal(
    found.reduce((sum, { size }) => sum + size, 0),
    skipped,
  )
})

t.test('a resumed upload publishes sealed once, and one end event per start event', async t => {
  const { oss, spool } = await bench(t)
  const heard = listen(t)
  const refuse = oss.inject({ operation: 'PutObject', do: 'answer', status: 403, times: 'always' })
  await t.rejects(
    spool.upload('key', () => streamOf(bytes(10)), { id: 'id' }),
    { code: 'ERR_SPOOL_DENIED' },
  )
  t.match(heard.of('oss-spool:upload:failed'), [{ code: 'ERR_SPOOL_DENIED', resumable: true }])
  await t.rejects(spool.resume('id'), { code: 'ERR_SPOOL_DENIED' })
  refuse.remove()
  await spool.resume('id')
  t.same(
    heard.names(),
    [
      'upload:start upload:sealed part:failed upload:failed',
      'upload:start part:failed upload:failed',
      'upload:start part:sent upload:published',
    ]
      .join(' ')
      .split(' '),
    'one sealed event, and one end event per start event',
  )
  t.match(heard.of('oss-spool:upload:start').at(-1), { resumed: true, spooled: 10 })
  t.match(heard.of('oss-spool:upload:published'), [{ resumed: true, size: 10 }])
})

t.test('events without subscribers are not created', async t => {
  let asked = 0
  const diagnostics = new Diagnostics(() => {
    asked++
    throw new Error('There is no checkpoint')
  })
  diagnostics.started({ resumed: false, spooled: 0 })
  diagnostics.partFound(1, 1)
  diagnostics.failed(new Error('why'))
  t.equal(asked, 0)
  listen(t)
  t.throws(() => diagnostics.started({ resumed: false, spooled: 0 }))
})

t.test(
  'a throwing subscriber causes an uncaught exception but does not fail the upload',
  async t => {
    const at = (path: string): string => urlOf(`dist/${path}`).href
    const script = `
    import { subscribe } from 'node:diagnostics_channel'
    import { Spool } from ${JSON.stringify(at('index.js'))}
    import { startEmulator } from ${JSON.stringify(at('emulator/index.js'))}
    process.on('uncaughtException', ({ message }) => console.log('uncaught: ' + message))
    for (const name of ${JSON.stringify(NAMES)}) subscribe(name, () => { throw new Error(name) })
    const oss = await startEmulator({ buckets: ['bucket'] })
    const spool = new Spool({ client: oss.clientOptions('bucket'), dir: 'spool' })
    const { size } = await spool.upload('key', () => ['abc'])
    console.log('published: ' + size, (await spool.uploads()).length)
    await oss.close()`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '--eval', script],
      { cwd: t.testdir({}), encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
    )
    const lines = stdout.split('\n')
    t.ok(lines.includes('published: 3 0'), stderr)
    for (const name of [
      'upload:start',
      'checkpoint',
      'upload:sealed',
      'part:sent',
      'upload:published',
    ]) {
      t.ok(lines.includes(`uncaught: oss-spool:${name}`), name)
    }
  },
)
