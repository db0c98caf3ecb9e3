/** Jobs with data that no `UploadQueue` would add: anyone who can write to Redis can add jobs, but chooses no file. */
import t from 'tap'
import type { JobUpload } from '../../src/bullmq/index.js'
import { checkJobData } from '../../src/bullmq/job-data.js'
import { Fleet } from '../bullmq/fleet.js'
import { bench, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

const server = await startRedis(t)

const upload = (options: object): object => ({ key: 'key', source: 'bytes', upload: options })

/** Data by what it tries. */
const HOSTILE: Readonly<Record<string, unknown>> = {
  null: null,
  'a file of the worker': upload({ inPlace: import.meta.filename }),
  text: 'text',
  'a list': [],
  'no key': { source: 'bytes' },
  'a key that is no text': { key: { toString: 'key' }, source: 'bytes' },
  'a key with a leading slash': { key: '/key', source: 'bytes' },
  'a source that is no text': { key: 'key', source: ['bytes'] },
  'options that are text': { key: 'key', source: 'bytes', upload: 'inPlace' },
  'another id': upload({ id: 'other' }),
  'no receipt': upload({ once: false }),
  'an earlier upload dropped': upload({ maxAge: 0 }),
  'a signal': upload({ signal: { aborted: false } }),
  'a listener': upload({ onProgress: 'f' }),
  'an unknown option': upload({ client: { endpoint: 'http://127.0.0.1' } }),
  'a prototype': JSON.parse(
    '{"key":"key","source":"bytes","upload":{"__proto__":{"inPlace":"/"}}}',
  ),
  'a part size out of range': upload({ partSize: 1 }),
  'a header of another header': upload({
    headers: { 'x-oss-meta-a': 'a\r\nx-oss-object-acl: public-read' },
  }),
  'a manifest of nothing': { key: 'key', manifest: null },
  'a manifest without keys': { key: 'key', manifest: { job: 'job' } },
  'a manifest with a file': {
    key: 'key',
    manifest: { job: 'job', keys: [] },
    upload: { inPlace: '/' },
  },
}

for (const [name, data] of Object.entries(HOSTILE)) {
  t.test(`the data of a job is refused: ${name}`, async t => {
    t.throws(() => checkJobData(data))
  })
}

if (server !== undefined) {
  t.test('a worker fails jobs with hostile data at once, reads no file and goes on', async t => {
    const calls: string[] = []
    const b = await bench(t)
    const fleet = new Fleet(t, b, server, {
      bytes: () => {
        calls.push('bytes')
        return streamOf(Buffer.from('bytes'))
      },
    })
    const { queue } = fleet
    fleet.machine('a')
    let count = 0
    for (const [name, data] of Object.entries(HOSTILE)) {
      const jobId = `hostile-${count++}`
      // Not added by `add`, and of any type.
      await queue.queue.add('bytes', data as never, { jobId, attempts: 3 })
      const failed = await fleet.reaches(jobId, 'failed')
      t.equal(failed.attemptsMade, 1, `${name}: ${failed.failedReason}`)
    }
    for (const source of ['constructor', '__proto__', 'toString']) {
      await queue.queue.add(source, { key: 'key', source }, { jobId: `of-${source}`, attempts: 1 })
      await fleet.reaches(`of-${source}`, 'delayed') // another worker may have a source of this name
    }
    t.same(calls, [], 'no source was called')
    t.same(b.oss.requests, [], 'no request was sent')
    const { job } = await queue.add({ key: 'good', source: 'bytes' })
    await fleet.reaches(job.id, 'completed')
    t.same(await b.get('good'), Buffer.from('bytes'))
  })

  t.test('add() and addFlow() refuse options that belong to the worker', async t => {
    const fleet = new Fleet(t, await bench(t), server, { bytes: () => streamOf(Buffer.from('x')) })
    const { queue } = fleet
    for (const option of [
      { inPlace: '/etc/hosts' },
      { id: 'other' },
      { once: false },
      { maxAge: 1 },
    ]) {
      const options: JobUpload = option as object // which the type would refuse
      const object = { key: 'key', source: 'bytes', upload: options } as const
      const refused = { code: 'ERR_INVALID_ARG_VALUE' }
      await t.rejects(queue.add(object), refused)
      await t.rejects(queue.addFlow({ job: 'j', manifest: 'm', objects: [object] }), refused)
      const flow = { job: 'j', manifest: 'm', objects: [{ key: 'key', source: 'bytes' }] } as const
      await t.rejects(queue.addFlow({ ...flow, upload: options }), refused)
    }
    t.equal(await queue.queue.getWaitingCount(), 0)
  })
}
