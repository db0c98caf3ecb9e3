/**
 * Allows one writer per key across all processes that share the data directory. Each key maps to one of
 * 256 lock files. The locks are kernel locks, so they are released however a process ends. They are held
 * only while names change, never while bytes are transferred.
 */
import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryLock } from 'fs-native-extensions'

/** Poll interval in ms. A blocking kernel lock would occupy a thread that file reads need. */
const LOCK_POLL_INTERVAL_MS = 2

/** Runs `work` exclusively among all callers with the same `lockName`. */
export type RunExclusive = <T>(lockName: string, work: () => Promise<T>) => Promise<T>

/** Creates locks in the directory `dir`, which must exist. */
export function createRunExclusive(dir: string): RunExclusive {
  const queueTails = new Map<string, Promise<unknown>>()

  async function withKernelLock<T>(fileName: string, work: () => Promise<T>): Promise<T> {
    const file = openSync(join(dir, fileName), 'a', 0o600)
    try {
      while (!tryLock(file)) await sleep(LOCK_POLL_INTERVAL_MS)
      return await work()
    } finally {
      closeSync(file) // releases the lock
    }
  }

  return async (lockName, work) => {
    const fileName = createHash('sha256').update(lockName).digest('hex').slice(0, 2)
    // queue within the process first, so that it polls the kernel once rather than once per request
    const previous = queueTails.get(fileName) ?? Promise.resolve()
    const result = previous.then(() => withKernelLock(fileName, work))
    const tail = result.then(
      () => undefined,
      () => undefined, // the caller gets the failure; the next in the queue must not
    )
    queueTails.set(fileName, tail)
    void tail.then(() => queueTails.get(fileName) === tail && queueTails.delete(fileName))
    return result
  }
}
