/**
 * Redis loses data while the processes of a fleet run: all of it, what is newer than a backup, what a replica did
 * not have, or any keys that it evicts.
 */
import t, { type Test } from 'tap'
import { setLongTimeout } from '../crash/long-timeout.js'
import { until } from '../support/command-line.js'
import { LONG, sampled } from '../support/long.js'
import type { RedisAccess } from '../support/redis.js'
import { startSentinel } from '../support/redis-topologies.js'
import { randomOf } from '../support/seed.js'
import { checkContents, checkNothingLeft, publications, type Content } from './invariants.js'
import { Machines, PART } from './machines.js'

const JOBS = LONG ? 120 : 24
const HOSTS = ['one', 'two']
/** Maximum number of active jobs: each host runs four of the shared queue and four of its own. */
const ACTIVE = HOSTS.length * 2 * 4

setLongTimeout(t)

/** A fleet whose producer adds the same jobs again if it does not know whether they are in the queue. */
class Scenario {
  readonly fleet: Machines<RedisAccess>
  readonly objects = new Map<string, Content & { pace: number }>()
  readonly #t: Test

  constructor(test: Test, fleet: Machines<RedisAccess>) {
    this.#t = test
    this.fleet = fleet
    const random = randomOf(test)
    for (let i = 0; i < JOBS; i++) {
      const seed = Math.floor(random() * 2 ** 31)
      const size = Math.floor(random() * (random() < 0.5 ? PART : 6 * PART))
      this.objects.set(`${i}.bin`, { seed, size, pace: Math.floor(random() * 100) })
    }
    for (const host of HOSTS) fleet.start(host)
  }

  async addAll(): Promise<void> {
    for (const [key, args] of this.objects)
      await this.fleet.queue.add({ id: `job of ${key}`, key, source: 'content', args })
  }

  async completed(count: number): Promise<void> {
    await until(async () => (await this.fleet.queue.queue.getCompletedCount()) >= count)
  }

  /** Returns the keys of the completed jobs. */
  async completedKeys(): Promise<string[]> {
    const jobs = await this.fleet.queue.queue.getCompleted(0, -1)
    return jobs.map(job => job.data.key)
  }

  /** @param once – keys that must have been published once */
  async check(once: readonly string[]): Promise<void> {
    const { fleet, objects } = this
    this.#t.same(await fleet.queue.queue.getFailed(), [])
    await checkContents(this.#t, fleet, objects)
    const counts = publications(fleet)
    const twice = [...objects.keys()].filter(key => counts.get(key) !== 1)
    this.#t.notOk(
      [...counts.values()].some(count => count > 2),
      'nothing is published three times',
    )
    this.#t.comment(`published twice: ${JSON.stringify(twice)}`)
    this.#t.same(
      once.filter(key => counts.get(key) !== 1),
      [],
      'what was published before is not published again',
    )
    this.#t.ok(twice.length <= ACTIVE, 'only jobs that were active may be published twice')
    await checkNothingLeft(this.#t, fleet, HOSTS, ACTIVE)
  }
}

/** Ways to lose data. `test/bullmq/lost-redis.test.ts` covers the decisions of the workers, without processes. */
const LOSSES: readonly (readonly [name: string, body: (t: Test) => Promise<void>])[] = [
  [
    'jobs that are added again to an emptied Redis publish no finished object again',
    async t => {
      const fleet = await Machines.open(t)
      if (fleet === undefined) return
      const scenario = new Scenario(t, fleet)
      await scenario.addAll()
      await scenario.completed(Math.floor(JOBS / 3))
      const settled = await scenario.completedKeys()
      await fleet.server.restartEmpty()
      await scenario.addAll()
      await scenario.completed(JOBS)
      await scenario.check(settled)
    },
  ],
  [
    'a Redis that is restored from a backup publishes no finished object again',
    async t => {
      const fleet = await Machines.open(t, '--appendfsync', 'always')
      if (fleet === undefined) return
      const scenario = new Scenario(t, fleet)
      await scenario.addAll()
      await scenario.completed(Math.floor(JOBS / 4))
      const restore = fleet.server.backUp()
      await scenario.completed(Math.floor((JOBS * 3) / 4))
      const settled = await scenario.completedKeys()
      await restore()
      await scenario.addAll()
      await scenario.completed(JOBS)
      await scenario.check(settled)
    },
  ],
  [
    'a Redis that evicts keys loses jobs, and publishes nothing wrong',
    async t => {
      const fleet = await Machines.open(t, '--maxmemory-policy', 'allkeys-lru')
      if (fleet === undefined) return
      const scenario = new Scenario(t, fleet)
      await scenario.addAll()
      await scenario.completed(2)
      const { redis } = fleet
      const statistic = async (name: string): Promise<number> =>
        Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(await redis.info())?.[1])
      await redis.config('SET', 'maxmemory', (await statistic('used_memory')) + 100_000)
      const evicted = async (): Promise<number> => {
        await redis.set(`filler:${Math.random()}`, 'x'.repeat(10_000)).catch(() => undefined)
        return statistic('evicted_keys')
      }
      await until(async () => (await evicted()) >= 200)
      await redis.config('SET', 'maxmemory', 0)
      t.ok(
        [...publications(fleet).keys()].every(key => scenario.objects.has(key)),
        'only objects of jobs are published',
      )
      const published = new Map(
        [...scenario.objects].filter(([key]) => publications(fleet).has(key)),
      )
      await checkContents(t, fleet, published)
      // What is left of the queue may be inconsistent: jobs that are in no list, and lists of jobs that are gone.
      await redis.flushall()
      await scenario.addAll()
      await scenario.completed(JOBS)
      await scenario.check([])
    },
  ],
  [
    'a replica that replaces its primary publishes no finished object again',
    async t => {
      const server = await startSentinel(t)
      if (server === undefined) return
      const scenario = new Scenario(t, await Machines.on(t, server))
      await scenario.addAll()
      await scenario.completed(Math.floor(JOBS / 3))
      const settled = await scenario.completedKeys()
      await server.failOver()
      await scenario.completed(JOBS)
      await scenario.check(settled)
    },
  ],
]

for (const [name, body] of sampled(t, LOSSES, 4)) t.test(name, body)
