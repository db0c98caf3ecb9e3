/** Types of `oss-spool`, as seen by its users. */
import { createReadStream } from 'node:fs'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import OSS from 'ali-oss'
import chain from 'stream-chain'
import {
  defaultCredentials,
  Spool,
  SpoolError,
  SpoolWriteStream,
  type AliOssCheckpoint,
  type ProgressEvent,
  type Pruned,
  type HttpResponse,
  type SpoolErrorCode,
  type SpoolEvents,
  type SpoolOptions,
  type SpoolWarning,
  type UploadOptions,
  type UploadResult,
  type UploadStatus,
} from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { same } from './same.js'

// A spool takes a client, options for a client, or options with a credential provider.
const spool = new Spool({ client: { region: 'oss-cn-hangzhou', bucket: 'b', accessKeyId: 'x' } })
void new Spool({ client: new OSS({ accessKeyId: 'x', accessKeySecret: 'y' }), dir: 'spool' })
void new Spool({ client: { credentials: defaultCredentials() }, partSize: 1, parallelUploads: 3 })
void new Spool({ client: {}, checkpointStore: redisCheckpoints({ call: async () => 'OK' }) })
// @ts-expect-error -- there is no default client
void new Spool({ dir: 'spool' })
// @ts-expect-error -- an id belongs to one upload
void new Spool({ client: {}, id: 'x' })
// @ts-expect-error -- internal connections are not public
same<SpoolOptions['client'], { open(): void }>()

// The sink is a Writable with two events and a result.
const sink = spool.createWriteStream('k', { id: 'k', expect: { bytes: 5 }, tags: { a: 'b' } })
same<typeof sink, SpoolWriteStream>()
same<typeof sink.result, Promise<UploadResult>>()
const writable: Writable = sink
sink.on('progress', event => same<typeof event, ProgressEvent>())
sink.once('warning', warning => same<typeof warning, SpoolWarning>())
sink.on('finish', () => {})
spool.on('warning', warning => same<typeof warning, SpoolWarning>())
// @ts-expect-error -- a spool emits no progress
spool.on('progress', () => {})
// @ts-expect-error -- sizes are numbers of bytes
spool.createWriteStream('k', { partSize: '8MiB' })
// @ts-expect-error -- an unknown option
spool.createWriteStream('k', { partsize: 1 })
// @ts-expect-error -- an unknown storage class
spool.createWriteStream('k', { storageClass: 'Warm' })
// @ts-expect-error -- an option cannot be undefined
spool.createWriteStream('k', { id: undefined })
// @ts-expect-error -- the key is required
spool.createWriteStream()

// Streams go through pipeline() and stream-chain.
void pipeline(createReadStream('x'), createGzip(), sink)
void pipeline(Readable.from([1]), chain([(n: number) => `${n}\n`]), writable)

// The step accepts all readable sources, and nothing else.
const step: UploadOptions = { onProgress: ({ uploaded }) => same<typeof uploaded, number>() }
same<ReturnType<Spool['upload']>, Promise<UploadResult>>()
void spool.upload('k', () => createReadStream('x'), step)
void spool.upload('k', () => ['text', new Uint8Array(1)])
void spool.upload('k', async () => new Blob(['x']).stream())
void spool.upload('k', () => Readable.from(['x']), { replay: 'offset', maxAge: 0, once: true })
void spool.upload('k', ({ offset, signal }) => {
  same<typeof offset, number>()
  same<typeof signal, AbortSignal>()
  return chain([Readable.from([offset]), (n: number) => `${n}\n`])
})
// @ts-expect-error -- a source is a function, called only if it is needed
void spool.upload('k', createReadStream('x'))
// @ts-expect-error -- numbers are not bytes
void spool.upload('k', () => [1, 2])

// Results.
same<ReturnType<Spool['uploads']>, Promise<UploadStatus[]>>()
same<ReturnType<Spool['resume']>, Promise<UploadResult>>()
same<ReturnType<Spool['abort']>, Promise<void>>()
same<ReturnType<Spool['prune']>, Promise<Pruned[]>>()
same<UploadResult['crc64'], string>()
same<UploadResult['receipt'], true | undefined>()
same<UploadStatus['phase'], 'spooling' | 'sealed' | 'completing' | 'receipt'>()
same<ProgressEvent['sent'], number>()
same<ProgressEvent['phase'], 'spooling' | 'sealed' | 'completing' | 'published'>()
same<Pruned['kind'], 'upload' | 'receipt' | 'quarantine' | 'orphan'>()
same<Pruned['error'], SpoolError | undefined>()
void spool.resume('id', { force: true, parallel: 2 })
void spool.abort('id', { remote: false })
// @ts-expect-error -- the object's metadata is in its checkpoint
void spool.resume('id', { meta: {} })
// @ts-expect-error -- results are read-only
void spool.upload('k', () => []).then(result => (result.size = 1))

// `progress` has ali-oss's signature, and its checkpoint is accepted by ali-oss.
const progress: UploadOptions['progress'] = (fraction, checkpoint, response) => {
  same<typeof fraction, number>()
  same<typeof checkpoint, AliOssCheckpoint | null>()
  same<typeof response, HttpResponse | undefined>()
}
void progress

// Errors are distinguished by their codes, all of which are declared.
declare const error: unknown
if (error instanceof SpoolError) {
  same<typeof error.code, SpoolErrorCode>()
  same<typeof error.resumable, boolean>()
  same<typeof error.status, number | undefined>()
  switch (error.code) {
    case 'ERR_SPOOL_LOCKED':
    case 'ERR_SPOOL_FULL':
      break
    // @ts-expect-error -- an unknown code
    case 'ERR_SPOOL_TYPO':
      break
    default:
  }
}
same<
  SpoolErrorCode,
  | 'ERR_SPOOL_UPLOAD_FAILED'
  | 'ERR_SPOOL_DENIED'
  | 'ERR_SPOOL_ENDPOINT'
  | 'ERR_SPOOL_OBJECT_EXISTS'
  | 'ERR_SPOOL_SOURCE_FAILED'
  | 'ERR_SPOOL_UNSEALED'
  | 'ERR_SPOOL_EXPECTATION'
  | 'ERR_SPOOL_VERIFY'
  | 'ERR_SPOOL_FULL'
  | 'ERR_SPOOL_IO'
  | 'ERR_SPOOL_LOCKED'
  | 'ERR_SPOOL_CORRUPT'
  | 'ERR_SPOOL_UNREADABLE'
  | 'ERR_SPOOL_NO_LOCKS'
  | 'ERR_SPOOL_NO_HOLES'
  | 'ERR_SPOOL_ID_IN_USE'
  | 'ERR_SPOOL_NOT_FOUND'
  | 'ERR_SPOOL_INVALID_KEY'
  | 'ERR_SPOOL_ABORTED'
>()

// Events of a stream.
const events = spool.createWriteStream('events')
events.on('error', error => error.message)
events.once('error', error => error.message)
events.on('finish', () => {}).on('pipe', source => source.unpipe())
events.on('progress', ({ spooled }) => spooled.toFixed())

// Events on diagnostics channels.
same<SpoolEvents['oss-spool:part:sent']['elapsed'], number>()
same<SpoolEvents['oss-spool:upload:failed']['resumable'], boolean>()
