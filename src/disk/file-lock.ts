/** A kernel lock on a file beside the one it protects, for short critical sections between processes. */
import { closeSync, constants, openSync } from 'node:fs'
import { tryLock } from 'fs-native-extensions'
import { setTimeout as delay } from 'node:timers/promises'
import { checkOpenFile, NOFOLLOW_NONBLOCK } from './trusted-files.js'

const RETRY_DELAY_MS = 10

/**
 * Runs `action` under a lock on `path`, which is created and stays. Runs it without the lock after `timeout` ms, so
 * that a frozen process cannot block others.
 * @throws the system error if `path` cannot be opened; UntrustedFileError if it is not a file of this user or root
 */
export async function withFileLock<T>(
  path: string,
  timeout: number,
  action: () => Promise<T>,
): Promise<T> {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | NOFOLLOW_NONBLOCK, 0o600)
  try {
    checkOpenFile(file, path)
    const deadline = performance.now() + timeout
    while (!tryLock(file) && performance.now() < deadline) await delay(RETRY_DELAY_MS)
    return await action()
  } finally {
    closeSync(file)
  }
}
