/**
 * The server process: the emulator, discarding bodies; an emulator that stores them; a server that costs next to nothing,
 * for OSS's and S3's protocol; and one that ignores the bytes. All are controlled over IPC.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from '../../dist/emulator/index.js'
import { startDiscarding } from './discarding.mjs'
import { startNoop } from './noop.mjs'

/** Parent of the data directories, in memory if possible, so that the server's files do not slow down the subjects. */
const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const dir = await mkdtemp(join(parent, 'oss-spool-bench-oss-'))
const emulator = { buckets: ['bench'], verify: 'crc64' }
const oss = await startEmulator({ ...emulator, dir: join(dir, 'discarded'), discard: true })
const [storing, discarding, noop] = await Promise.all([
  startEmulator({ ...emulator, dir: join(dir, 'stored') }),
  startDiscarding(),
  startNoop(),
])

/** Functions that the benchmark can call. */
const calls = {
  /** Options of a client for each server of OSS's protocol, and URLs of the others. */
  places: () => ({
    oss: oss.clientOptions('bench'),
    storing: storing.clientOptions('bench'),
    discarding: { ...oss.clientOptions('bench'), endpoint: discarding.endpoint },
    s3: discarding.endpoint,
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
  void Promise.all([oss, storing, discarding, noop].map(server => server.close()))
    .then(() => rm(dir, { recursive: true, force: true }))
    .then(() => process.exit())
})
process.send({ answer: 'ready' })
