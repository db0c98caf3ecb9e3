/**
 * One writer per key, in this process and in every other over the same directory. A key belongs to
 * one of 256 lock files; the lock is the kernel's, so it ends with its process however that ends.
 * It is held only while names are changed, never while bytes flow.
 */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryLock } from 'fs-native-extensions'

/** Tries again after so many ms: the kernel could wait too, but on a thread that reads need. */
const POLL = 2

/** Runs `work` alone among all who name the same `topic`. */
export type Exclusive = <T>(topic: string, work: () => Promise<T>) => Promise<T>

/** Locks in the directory `dir`, which must exist. */
export function locksIn(dir: string): Exclusive {
  const tails = new Map<string, Promise<unknown>>()

  async function underKernelLock<T>(name: string, work: () => Promise<T>): Promise<T> {
    const file = await open(join(dir, name), 'a', 0o600)
    try {
      while (!tryLock(file.fd)) await sleep(POLL)
      return await work()
    } finally {
      await file.close() // ends the lock
    }
  }

  return async (topic, work) => {
    const name = createHash('sha256').update(topic).digest('hex').slice(0, 2)
    // a queue first, so that this process polls the kernel once and not once a request
    const before = tails.get(name) ?? Promise.resolve()
    const turn = before.then(() => underKernelLock(name, work))
    const tail = turn.then(
      () => undefined,
      () => undefined, // whoever asked sees the failure; the next in the queue must not
    )
    tails.set(name, tail)
    void tail.then(() => tails.get(name) === tail && tails.delete(name))
    return turn
  }
}
