/**
 * Sequences that once broke a rule, by name: what random search or reading found, in its shortest
 * form, so that it is tried every time and not only when a seed happens to hit it.
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
  "a stranger's object stays at the second resume, too; --force publishes": [
    { do: 'fault', fault: { operation: 'PutObject', do: 'reset', at: 'received' } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'upload', id: 'a', size: SHORT, flip: 0, ...plain },
    { do: 'stranger', id: 'a' },
    { do: 'resume', id: 'a', force: false },
    { do: 'resume', id: 'a', force: false },
    { do: 'upload', id: 'a', size: SHORT, flip: 0, ...plain },
    { do: 'resume', id: 'a', force: true },
  ],
  'a new sink with replay: offset does not go behind the bytes that were kept': [
    { do: 'open', id: 'a', overwrite: true, offset: true, once: false },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'open', id: 'a', overwrite: true, offset: true, once: false },
    { do: 'write', id: 'a', size: LONG },
    { do: 'end', id: 'a' },
  ],
  'a predecessor that had been published, behind a stream that died, hides nothing': [
    { do: 'fault', fault: { operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'resume', id: 'a', force: false },
    { do: 'prune', sealed: false, orphans: true },
  ],
  'a sink that ended by itself, since its key was taken meanwhile, leaves its bytes to the next source':
    [
      { do: 'open', id: 'a', overwrite: false, offset: true, once: false },
      { do: 'stranger', id: 'a' },
      { do: 'write', id: 'a', size: PART + 1 },
      { do: 'upload', id: 'a', size: 0, flip: 0, overwrite: false, offset: true, once: false },
    ],
  'a sink that ended by itself leaves a sealed predecessor, which upload() finishes': [
    { do: 'open', id: 'a', ...plain },
    { do: 'stranger', id: 'a' },
    { do: 'cut', id: 'a', after: 0 },
    { do: 'open', id: 'a', ...plain, overwrite: false },
    { do: 'write', id: 'a', size: PART + 1 },
    { do: 'upload', id: 'a', size: 0, flip: 0, ...plain, overwrite: false },
  ],
  'a new sink in the place of one that ended by itself has options of its own': [
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain, overwrite: false },
    { do: 'fault', fault: { operation: 'UploadPart', do: 'reset', at: 'received', times: 4 } },
    { do: 'upload', id: 'b', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'end', id: 'a' },
  ],
  'a Complete whose CRC64 was wrong took effect: when OSS says so later, the next upload id is not left':
    [
      { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
      { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
      { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
      { do: 'upload', id: 'a', size: 0, flip: 0, ...plain },
    ],
  'nor after a HEAD whose CRC64 was wrong': [
    { do: 'fault', fault: { ...COMPLETE, do: 'reset', at: 'done', times: 1 } },
    { do: 'fault', fault: { operation: 'HeadObject', ...WRONG, times: 2 } },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, nth: 2, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
  ],
  'nor before a new stream': [
    { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
    { do: 'fault', fault: { operation: 'HeadObject', do: 'answer', status: 403, times: 1 } },
    { do: 'resume', id: 'a', force: false },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'end', id: 'a' },
  ],
  'nor behind a stream that died': [
    { do: 'fault', fault: { ...COMPLETE, ...WRONG, times: 1 } },
    { do: 'upload', id: 'a', size: LONG, flip: 0, ...plain },
    { do: 'open', id: 'a', ...plain },
    { do: 'write', id: 'a', size: LONG },
    { do: 'fail', id: 'a' },
    { do: 'fault', fault: { ...COMPLETE, ...UNAVAILABLE, times: 1 } },
    { do: 'resume', id: 'a', force: false },
  ],
  ...Object.fromEntries(
    [0, 1, 2, 3, 4, 6].map(after => [
      `destroyed ${after} ms after its end: what the error says is what holds`,
      [
        { do: 'open', id: 'a', ...plain },
        { do: 'write', id: 'a', size: SHORT },
        { do: 'cut', id: 'a', after },
        { do: 'resume', id: 'a', force: false },
      ] satisfies Command[],
    ]),
  ),
}

t.test('sequences that once broke a rule', async t => {
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
