/** `prune` on the records of several hosts. */
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t from 'tap'
import type { Spool } from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { until } from '../support/command-line.js'
import { bench, BUCKET, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { removeDirectory } from '../support/remove-directory.js'

/** ms after which an upload id is old enough to decide whether an upload uses it. */
const SETTLED = 2_100
const data = bytes(3 * 102_400)

const server = await startRedis(t)

t.test(
  'prune() aborts the orphans of any host, and none of an upload that has an owner',
  async t => {
    if (server === undefined) return
    const b = await bench(t)
    const spoolOf = (host: string): Spool => {
      const dir = `${b.dir}-${host}`
      const checkpointStore = redisCheckpoints(server.connect(t), { host })
      t.teardown(async () => {
        checkpointStore.close()
        await removeDirectory(dir)
      })
      return b.another({ dir, checkpointStore })
    }
    const [one, two, three] = [spoolOf('one'), spoolOf('two'), spoolOf('three')]
    const client = new OSS(b.oss.clientOptions(BUCKET))
    const keys = async (): Promise<string[]> => {
      const { uploads } = await client.listUploads({ 'max-uploads': 1000 }, {})
      return uploads.map(({ name }) => name).toSorted()
    }
    const loseInitiate = () =>
      b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done' })
    const initiated = (count: number) => until(() => b.count('InitiateMultipartUpload') >= count)

    loseInitiate()
    await pipeline(streamOf(data), one.createWriteStream('shared', { id: 'done' }))
    t.same(await keys(), ['shared'], 'the object is published, the orphan is left')
    const before = b.count('InitiateMultipartUpload')
    const [user, owner] = [new PassThrough(), new PassThrough()]
    const using = pipeline(user, two.createWriteStream('shared', { id: 'user' }))
    user.write('x')
    await initiated(before + 1)
    loseInitiate()
    const owning = pipeline(owner, one.createWriteStream('owned', { id: 'owner' }))
    owner.write('x')
    await initiated(before + 2)
    await sleep(SETTLED)
    t.same(await keys(), ['owned', 'owned', 'shared', 'shared'])

    const dry = await three.prune({ orphans: true, dryRun: true })
    t.match(dry, [{ kind: 'orphan', id: 'done', key: 'shared' }])
    t.equal(dry.length, 1)
    t.same(await three.prune({ orphans: true }), dry)
    t.same(
      await keys(),
      ['owned', 'owned', 'shared'],
      'that of the owner, and those in use are left',
    )

    user.end(data)
    owner.end(data)
    await Promise.all([using, owning])
    t.match(await two.prune({ orphans: true }), [{ kind: 'orphan', id: 'owner', key: 'owned' }])
    t.same(await keys(), [])
    t.same(await three.uploads({ receipts: true }), [])
    t.same(await three.prune({ orphans: true }), [])
  },
)
