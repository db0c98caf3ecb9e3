/** Files on which it is tried out what a file system can do; the sweep removes those that were left. */
import { join } from 'node:path'
import { randomSuffix } from './durable-fs.js'

const PROBE_PREFIX = '.probe-'
const PROBE_NAME = /^\.probe-[0-9a-f]{12}$/

/** A path for a new one. Whoever makes it does without it when it is taken away. */
export function newProbePath(directory: string): string {
  return join(directory, `${PROBE_PREFIX}${randomSuffix()}`)
}

export function isProbe(name: string): boolean {
  return PROBE_NAME.test(name)
}
