/** A worker whose connection to Redis is cut, silently, while it works and OSS stays reachable. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { setLongTimeout } from '../crash/long-timeout.js'
import { until } from '../support/command-line.js'
import { LONG } from '../support/long.js'
import { randomOf } from '../support/seed.js'
import { TcpProxy } from '../support/tcp-proxy.js'
import { checkNothingLeft, checkObjects, type Content } from './invariants.js'
import { Machines, PART } from './machines.js'

/** Longer than the host timeout of the fleet, so that the host counts as gone. */
const CUT_MS = LONG ? 120_000 : 8_000
const JOBS = LONG ? 40 : 10

setLongTimeout(t)

t.test(
  'a worker that is cut off from Redis loses its jobs, and works again afterwards',
  async t => {
    const fleet = await Machines.open(t)
    if (fleet === undefined) return
    const { queue, server, spool } = fleet
    const random = randomOf(t)
    const objects = new Map<string, Content>()
    const add = async (pace: number): Promise<void> => {
      const content = {
        seed: Math.floor(random() * 2 ** 31),
        size: Math.floor(random() * 8 * PART),
      }
      const key = `${objects.size}.bin`
      objects.set(key, content)
      await queue.add({ key, source: 'content', args: { ...content, pace } })
    }
    const completed = (count: number) =>
      until(async () => (await queue.queue.getCompletedCount()) >= count)
    const proxy = await TcpProxy.open(t, server.port)
    const cutOff = fleet.start('cut-off', '--redis', `redis://127.0.0.1:${proxy.port}`)
    for (let i = 0; i < JOBS; i++) await add(100)
    await until(async () => (await spool.uploads()).length > 2)
    proxy.cut()
    const cutAt = Date.now()
    const other = fleet.start('other')
    await completed(JOBS)
    await sleep(Math.max(0, cutAt + CUT_MS - Date.now()))
    proxy.heal()
    other.run.child.kill('SIGTERM')
    t.equal((await other.run.done).status, 143)
    await add(0)
    await completed(JOBS + 1)
    cutOff.run.child.kill('SIGTERM')
    t.equal((await cutOff.run.done).status, 143)
    t.same(await queue.queue.getFailed(), [])
    await checkObjects(t, fleet, objects)
    await checkNothingLeft(t, fleet, ['cut-off', 'other'])
  },
)
