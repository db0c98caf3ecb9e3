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
const LOCK_POLL_INTERVAL_MS = 2

/** Runs `work` alone among all who name the same `topic`. */
export type RunExclusive = <T>(lockName: string, work: () => Promise<T>) => Promise<T>

/** Locks in the directory `dir`, which must exist. */
export function createRunExclusive(dir: string): RunExclusive {
  const queueTails = new Map<string, Promise<unknown>>()

  async function withKernelLock<T>(fileName: string, work: () => Promise<T>): Promise<T> {
    const file = await open(join(dir, fileName), 'a', 0o600)
    try {
      while (!tryLock(file.fd)) await sleep(LOCK_POLL_INTERVAL_MS)
      return await work()
    } finally {
      await file.close() // ends the lock
    }
  }

  return async (lockName, work) => {
    const fileName = createHash('sha256').update(lockName).digest('hex').slice(0, 2)
    // a queue first, so that this process polls the kernel once and not once a request
    const previous = queueTails.get(fileName) ?? Promise.resolve()
    const result = previous.then(() => withKernelLock(fileName, work))
    const tail = result.then(
      () => undefined,
      () => undefined, // whoever asked sees the failure; the next in the queue must not
    )
    queueTails.set(fileName, tail)
    void tail.then(() => queueTails.get(fileName) === tail && queueTails.delete(fileName))
    return result
  }
}
