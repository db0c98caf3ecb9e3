/**
 * The server process: the emulator, discarding bodies; the same with S3's protocol; and a no-op server that shows
 * the cost of a server by itself. All three are controlled over IPC.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from '../../dist/emulator/index.js'
import { startNoop } from './noop.mjs'
import { startS3 } from './s3.mjs'

/** Parent of the data directory, in memory if possible, so that the server's files do not slow down the subjects. */
const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const dir = await mkdtemp(join(parent, 'oss-spool-bench-oss-'))
const oss = await startEmulator({ dir, buckets: ['bench'], discard: true, verify: 'crc64' })
const [s3, noop] = await Promise.all([startS3(), startNoop()])

/** Functions that the benchmark can call. */
const calls = {
  places: () => ({
    oss: oss.clientOptions('bench'),
    s3: s3.endpoint,
    noop: noop.endpoint,
  }),
  link: link => void (oss.link = link),
  /** Refuses parts from the `nth` on until `heal` is called. */
  refuse: nth =>
    void oss.inject({
      operation: 'UploadPart',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      nth,
      times: 'always',
    }),
  heal: () => oss.clearFaults(),
  forget: () => void oss.requests.splice(0),
  cpu: () => process.cpuUsage(),
  /** Number of requests that wrote something. */
  writes: () => oss.requests.filter(({ method }) => method !== 'GET' && method !== 'HEAD').length,
}

process.on('message', ({ name, argument }) => {
  process.send({ answer: calls[name](argument) })
})
process.on('disconnect', () => {
  void Promise.all([oss.close(), s3.close(), noop.close()])
    .then(() => rm(dir, { recursive: true, force: true }))
    .then(() => process.exit())
})
process.send({ answer: 'ready' })
