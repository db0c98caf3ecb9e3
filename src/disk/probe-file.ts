/** Temporary files for probing a file system. The sweep removes those that a killed process left. */
import { join } from 'node:path'
import { randomSuffix } from './durable-fs.js'

const PROBE_PREFIX = '.probe-'
const PROBE_NAME = /^\.probe-[0-9a-f]{12}$/

/** Returns the path of a new probe file. The sweep of another process may remove it at any time. */
export function newProbePath(directory: string): string {
  return join(directory, `${PROBE_PREFIX}${randomSuffix()}`)
}

export function isProbe(name: string): boolean {
  return PROBE_NAME.test(name)
}
