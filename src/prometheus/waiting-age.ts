/** Finds the job that has waited longest in a queue, with a few commands, however long the queue is. */
import type { RedisConnection } from '../redis/connection.js'
import { sendCommand, stringListReply, stringReply } from '../redis/connection.js'

/** Number of priorities to examine, from the highest. */
const MAX_PRIORITIES = 32
/** BullMQ orders jobs by `priority * 2 ** 32 + counter`. */
const PRIORITY_STEP = 2 ** 32

/** @param keyOf – returns the key of a job or of a list of the queue */
export interface WaitingQueue {
  readonly connection: RedisConnection
  readonly keyOf: (name: string) => string
  /** Timeout of each command in ms. */
  readonly timeout: number
}

/**
 * Returns the time in ms since the oldest waiting job was added and its delay had passed; 0 if none waits.
 * @param now – ms since 1970
 */
export async function oldestWaitingAge(queue: WaitingQueue, now: number): Promise<number> {
  const ids = [...(await nextUnprioritized(queue)), ...(await firstOfEachPriority(queue))]
  const dueTimes = await Promise.all(ids.map(id => dueTime(queue, id)))
  const ages = dueTimes.flatMap(time => (time === undefined ? [] : now - time))
  return Math.max(0, ...ages)
}

async function nextUnprioritized(queue: WaitingQueue): Promise<string[]> {
  const { connection, keyOf, timeout } = queue
  const id = stringReply(await sendCommand(connection, timeout, 'LINDEX', keyOf('wait'), -1))
  return id === null ? [] : [id]
}

/** Jobs of one priority are in the order in which they were added. */
async function firstOfEachPriority(queue: WaitingQueue): Promise<string[]> {
  const { connection, keyOf, timeout } = queue
  const ids: string[] = []
  for (let min = 0; ids.length < MAX_PRIORITIES;) {
    const range = [keyOf('prioritized'), min, '+inf', 'WITHSCORES', 'LIMIT', 0, 1] as const
    const [id, score] = stringListReply(
      await sendCommand(connection, timeout, 'ZRANGEBYSCORE', ...range),
    )
    if (id === undefined) break
    ids.push(id)
    min = (Math.floor(Number(score) / PRIORITY_STEP) + 1) * PRIORITY_STEP
  }
  return ids
}

/** Returns when a job could run for the first time; `undefined` if it is gone. */
async function dueTime(queue: WaitingQueue, id: string): Promise<number | undefined> {
  const { connection, keyOf, timeout } = queue
  const reply = await sendCommand(connection, timeout, 'HMGET', keyOf(id), 'timestamp', 'opts')
  if (!Array.isArray(reply)) return undefined
  const [timestamp, options] = reply.map(stringReply)
  if (timestamp === null || timestamp === undefined) return undefined
  return Number(timestamp) + delayOf(options ?? '{}')
}

/** The options of a job may be anything that was written to Redis. */
function delayOf(options: string): number {
  try {
    const { delay }: { delay?: unknown } = Object(JSON.parse(options))
    return typeof delay === 'number' ? delay : 0
  } catch {
    return 0
  }
}
