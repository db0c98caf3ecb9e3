/** Ids of jobs and their uploads: any characters, ids that BullMQ makes, and no two jobs with one upload. */
import { QueueKeys } from 'bullmq'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { jobFingerprint } from '../../src/bullmq/job-fingerprint.js'
import { jobIdOf, uploadIdOf } from '../../src/bullmq/upload-id.js'
import { checkId } from '../../src/upload/model/names.js'
import { until } from '../support/command-line.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { holds } from '../support/seed.js'
import { Fleet } from './fleet.js'

const validId = fc
  .stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,60}[A-Za-z0-9_-]$/)
  .filter(id => !/^(quarantine|(con|prn|aux|nul|com\d|lpt\d)(\..*)?)$/i.test(id))

/** Ids that are chosen to be mistaken for others. */
const anyId = fc.oneof(
  validId,
  fc.string({ unit: 'grapheme', minLength: 1, maxLength: 1_000 }),
  fc.string({ unit: fc.constantFrom('a', '-', '.', ':', '/', ' ', 'é', '0'), minLength: 1 }),
  fc.nat().map(number => `${number}`),
  fc.nat().map(ms => `repeat:nightly:${ms}`),
  fc.constantFrom('..', '.', 'con', 'nul.txt', 'wait', 'meta', 'a.', 'quarantine', '-1'),
)

t.test('every job id has a valid upload id of its own, which is the same id if valid', async t => {
  const property = fc.property(fc.uniqueArray(anyId, { minLength: 2, maxLength: 20 }), ids => {
    const uploadIds = ids.map(uploadIdOf)
    for (const id of uploadIds) checkId(id)
    return new Set(uploadIds).size === ids.length && uploadIds.every(id => uploadIdOf(id) === id)
  })
  await holds(t, property, 500)
  await holds(
    t,
    fc.property(validId, id => uploadIdOf(id) === id),
    200,
  )
})

t.test('ids that users choose name different jobs, also if they imitate other ids', async t => {
  const property = fc.property(fc.uniqueArray(anyId, { minLength: 2, maxLength: 20 }), ids => {
    // Ids of jobs and uploads, chosen by users who copied them.
    const chosen = [...new Set([...ids, ...ids.map(jobIdOf), ...ids.map(uploadIdOf)])]
    const jobIds = chosen.map(jobIdOf)
    return (
      new Set(jobIds).size === chosen.length &&
      jobIds.every(id => uploadIdOf(id) === id && !/^\d+$/.test(id) && !id.includes(':'))
    )
  })
  await holds(t, property, 500)
  t.equal(jobIdOf('order-17'), 'order-17')
  t.match(jobIdOf('17'), /^17-[0-9a-f]{32}$/)
  t.match(uploadIdOf('repeat:nightly:17'), /^repeat-nightly-17-[0-9a-f]{32}$/)
  t.not(jobIdOf('repeat:nightly:17'), uploadIdOf('repeat:nightly:17'), 'a run is nobody else')
  const names = Object.keys(new QueueKeys('bull').getKeys('queue')).filter(name => name !== '')
  for (const name of names) t.not(jobIdOf(name), name, `${name} is a key of BullMQ`)
})

const PART = 102_400
const content = bytes(3 * PART + 17)
const server = await startRedis(t)

class Gate {
  open!: () => void
  readonly whenOpen = new Promise<void>(resolve => (this.open = resolve))
}

async function openFleet(t: Test, gate = new Gate()) {
  if (server === undefined) throw new Error('Redis is not installed')
  const sources = {
    bytes: () => streamOf(content),
    gated: async function* () {
      yield content.subarray(0, 2 * PART)
      await gate.whenOpen
      yield content.subarray(2 * PART)
    },
  }
  return new Fleet(t, await bench(t), server, sources)
}

/** Ids that BullMQ makes or accepts. */
const BULLMQ_IDS = [
  'repeat:nightly:1732845600000',
  '../up',
  'né/ß 😀',
  'x'.repeat(1_000),
  'CON',
  '7.',
]

if (server !== undefined) {
  t.test('a job runs under any id that BullMQ accepts', async t => {
    const fleet = await openFleet(t)
    const { queue, bench: b } = fleet
    const { spool } = fleet.machine('a')
    for (const [i, jobId] of BULLMQ_IDS.entries()) {
      await queue.queue.add('bytes', { key: `key-${i}`, source: 'bytes' }, { jobId })
      const { returnvalue } = await fleet.reaches(jobId, 'completed')
      t.match(returnvalue, { id: uploadIdOf(jobId), size: content.length })
      t.same(await b.get(`key-${i}`), content, jobId)
    }
    await until(async () => (await spool.uploads({ all: true })).length === 0)
  })

  t.test('a job with any id is cancelled, and its upload is aborted', async t => {
    const gate = new Gate()
    const fleet = await openFleet(t, gate)
    const { queue, bench: b } = fleet
    const { spool } = fleet.machine('a')
    for (const [i, jobId] of BULLMQ_IDS.entries()) {
      await queue.queue.add('gated', { key: `key-${i}`, source: 'gated' }, { jobId })
      await until(() => b.count('UploadPart') === 2 * (i + 1))
      t.equal(await queue.cancel(jobId), 'stopping')
      const { failedReason } = await fleet.reaches(jobId, 'failed')
      t.match(failedReason, /^ERR_SPOOL_ABORTED: /)
    }
    t.same(await spool.uploads({ all: true }), [])
    t.equal(b.count('AbortMultipartUpload'), BULLMQ_IDS.length)
    gate.open()
  })

  t.test('a job with any id is sent to its host, and returns if that is gone', async t => {
    const fleet = await openFleet(t)
    const { queue, bench: b } = fleet
    const a = fleet.disk('a')
    const denied = { do: 'answer', status: 403, code: 'AccessDenied' } as const
    const refusal = b.oss.inject({
      operation: 'CompleteMultipartUpload',
      ...denied,
      times: 'always',
    })
    for (const [i, jobId] of BULLMQ_IDS.entries()) {
      const id = uploadIdOf(jobId)
      const fingerprint = jobFingerprint(id, { key: `key-${i}`, source: 'bytes' })
      // As a worker on this host does.
      const options = { id, once: true, meta: { 'oss-spool-job': fingerprint } }
      await t.rejects(
        a.spool.upload(`key-${i}`, () => streamOf(content), options),
        { code: 'ERR_SPOOL_DENIED' },
      )
    }
    refusal.remove()
    const [first = '', second = '', ...others] = BULLMQ_IDS
    t.match(await a.spool.resume(uploadIdOf(second)), { sourceRead: false })
    for (const [i, jobId] of BULLMQ_IDS.entries()) {
      await queue.queue.add('bytes', { key: `key-${i}`, source: 'bytes' }, { jobId })
    }
    const { checkpoints } = fleet.machine('b', { hostQueueTimeout: 1_000, concurrency: 2 })
    for (const jobId of others) await fleet.reaches(jobId, 'waiting-children')
    // Host "a" was late, so "b" has examined the job again.
    await until(async () => (await fleet.job(first)).attemptsStarted > 1)
    await checkpoints.declareGone('a')
    for (const jobId of [first, ...others]) {
      const { returnvalue, attemptsMade } = await fleet.reaches(jobId, 'completed')
      t.match(returnvalue, { host: 'b', skipped: content.length, sourceRead: true })
      t.equal(attemptsMade, 1)
    }
    for (const i of BULLMQ_IDS.keys()) t.same(await b.get(`key-${i}`), content)
  })
}
