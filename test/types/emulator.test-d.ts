/** Types of `oss-spool/emulator` and `oss-spool/redis`. */
import OSS from 'ali-oss'
import { Redis } from 'ioredis'
import {
  DEFAULT_KEY,
  describeEmulator,
  startEmulator,
  type AccessKey,
  type Emulator,
  type Fault,
  type FaultHandle,
  type OperationName,
  type RequestRecord,
} from '../../src/emulator/index.js'
import { Spool, type CheckpointStore } from '../../src/index.js'
import { redisCheckpoints, type RedisCheckpoints } from '../../src/redis/index.js'
import { same } from './same.js'

const oss = await startEmulator({ buckets: ['b'], link: { latency: 5 }, verify: 'crc64' })
same<typeof oss, Emulator>()
same<typeof oss.requests, RequestRecord[]>()
same<typeof DEFAULT_KEY, AccessKey>()
same<ReturnType<typeof describeEmulator>, string>()
void new OSS(oss.clientOptions('b'))
void new Spool({ client: oss.clientOptions('b') })
oss.link = { bandwidth: 1e6 }
// @ts-expect-error -- the port is read-only
oss.port = 5

const fault = oss.inject({ operation: 'UploadPart', partNumber: 2, do: 'reset', at: 'done' })
same<typeof fault, FaultHandle>()
const answer: Fault = { operation: ['PutObject'], do: 'answer', status: 503, times: 'always' }
oss.inject(answer)
// @ts-expect-error -- an answer requires a status
oss.inject({ do: 'answer' })
// @ts-expect-error -- no such operation
oss.inject({ operation: 'PutObjects', do: 'hang' })
// @ts-expect-error -- a delay requires `ms`
oss.inject({ do: 'delay' })
// @ts-expect-error -- a reply that has begun cannot be replaced
oss.inject({ do: 'answer', status: 500, at: 'reply' })
const operation: OperationName = 'CompleteMultipartUpload'
void operation
// @ts-expect-error -- at least one access key is required
void startEmulator({ credentials: [] })

const checkpoints = redisCheckpoints(new Redis(), { host: 'a', hostTimeout: 60_000 })
same<typeof checkpoints, RedisCheckpoints>()
const store: CheckpointStore = checkpoints
void new Spool({ client: oss.clientOptions('b'), checkpointStore: store })
same<ReturnType<typeof checkpoints.isGone>, Promise<boolean>>()
// @ts-expect-error -- a URL is not a connection
redisCheckpoints('redis://localhost')
