/**
 * Sequences that once broke a rule, found by random search or code review and reduced to their shortest form.
 * They run every time instead of only when a seed happens to produce them.
 */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { BUCKET } from '../support/oss.js'
import { Run, Worker, type Command } from './commands.js'

const plain = { overwrite: true, offset: false, once: false }
const SHORT = 1000
const PART = 102_400
const LONG = 307_250

const COMPLETE = { operation: 'CompleteMultipartUpload' } as const
const UNAVAILABLE = { do: 'answer', status: 503, code: 'ServiceUnavailable' } as const
const WRONG = { do: 'alter', headers: { 'x-oss-hash-crc64ecma': '42' } } as const

const sequences: Readonly<Record<string, Command[]>> = {
  "resume() never overwrites someone else's object, even the second time, unless forced": [
    { do: 'fault', fault: { operation: 'PutObject', do: 'reset', at: 'received' } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'upload', id: 'a', size: SHORT, flip: 0, ...plain },
    { do: 'stranger', id: 'a' },
    { do: 'resume', id: 'a', force: false },
    { do: 'resume', id: 'a', force: false },
    { do: 'upload', id: 'a', size: SHORT, flip: 0, ...plain },
    { do: 'resume', id: 'a', force: true },
  ],
  'a new sink with replay: offset starts from the beginning, not after the kept bytes': [
    { do: 'open', id: 'a', overwrite: true, offset: true, once: false },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'open', id: 'a', overwrite: true, offset: true, once: false },
    { do: 'write', id: 'a', size: LONG },
    { do: 'end', id: 'a' },
  ],
  'a published predecessor of a failed stream does not hide leftovers from prune()': [
    { do: 'fault', fault: { operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'resume', id: 'a', force: false },
    { do: 'prune', sealed: false, orphans: true },
  ],
  'a sink that failed because its key was taken leaves its bytes to the next source': [
    { do: 'open', id: 'a', overwrite: false, offset: true, once: false },
    { do: 'stranger', id: 'a' },
    { do: 'write', id: 'a', size: PART + 1 },
    { do: 'upload', id: 'a', size: 0, flip: 0, overwrite: false, offset: true, once: false },
  ],
  'upload() finishes the sealed predecessor of a sink that failed on its own': [
    { do: 'open', id: 'a', ...plain },
    { do: 'stranger', id: 'a' },
    { do: 'cut', id: 'a', after: 0 },
    { do: 'open', id: 'a', ...plain, overwrite: false },
    { do: 'write', id: 'a', size: PART + 1 },
    { do: 'upload', id: 'a', size: 0, flip: 0, ...plain, overwrite: false },
  ],
  'a new sink after one that failed on its own uses its own options': [
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain, overwrite: false },
    { do: 'fault', fault: { operation: 'UploadPart', do: 'reset', at: 'received', times: 4 } },
    { do: 'upload', id: 'b', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'end', id: 'a' },
  ],
  'no upload id is left when a Complete with a wrong CRC64 turns out to have succeeded': [
    { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
    { do: 'upload', id: 'a', size: 0, flip: 0, ...plain },
  ],
  'no upload id is left after a HEAD with a wrong CRC64': [
    { do: 'fault', fault: { ...COMPLETE, do: 'reset', at: 'done', times: 1 } },
    { do: 'fault', fault: { operation: 'HeadObject', ...WRONG, times: 2 } },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, nth: 2, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
  ],
  'no upload id is left when a new stream follows a Complete with a wrong CRC64': [
    { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'resume', id: 'a', force: false },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'end', id: 'a' },
  ],
  'no upload id is left when a stream fails after a Complete with a wrong CRC64': [
    { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
    { do: 'resume', id: 'a', force: false },
  ],
  ...Object.fromEntries(
    (['eager', 'first-part'] as const).flatMap(start =>
      [6, 8, 10, 12].map(after => [
        `someone else overwrites an object after its upload was settled by a stream (${start}, ${after} ms)`,
        [
          { do: 'open', id: 'a', overwrite: false, offset: false, once: true, start: 'eager' },
          { do: 'cut', id: 'a', after },
          { do: 'open', id: 'a', ...plain, start },
          { do: 'stranger', id: 'a' },
          { do: 'destroy', id: 'a' },
        ] satisfies Command[],
      ]),
    ),
  ),
  ...Object.fromEntries(
    [0, 1, 2, 3, 4, 6].map(after => [
      `the error of a sink destroyed ${after} ms after its end matches its state`,
      [
        { do: 'open', id: 'a', ...plain },
        { do: 'write', id: 'a', size: SHORT },
        { do: 'cut', id: 'a', after },
        { do: 'resume', id: 'a', force: false },
      ] satisfies Command[],
    ]),
  ),
}

t.test('command sequences that once broke a rule match the model', async t => {
  const oss = await startEmulator({ buckets: [BUCKET], dir: t.testdir({}) })
  const worker = new Worker()
  t.teardown(() => {
    worker.end()
    return oss.close()
  })
  for (const [i, [name, sequence]] of Object.entries(sequences).entries()) {
    const run = await Run.begin(oss, worker, i)
    try {
      for (const command of sequence) await run.step(command)
      await run.end()
      t.pass(name)
    } catch (error) {
      t.fail(`${name}: ${String(error)}`)
    } finally {
      run.clear()
    }
  }
})
