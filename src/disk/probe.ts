/** Files on which it is tried out what a file system can do; the sweep removes those that were left. */
import { join } from 'node:path'
import { randomName } from './durable.js'

const PROBE = '.probe-'
const NAME = /^\.probe-[0-9a-f]{12}$/

/** A path for a new one. Whoever makes it does without it when it is taken away. */
export function probeIn(directory: string): string {
  return join(directory, `${PROBE}${randomName()}`)
}

export function isProbe(name: string): boolean {
  return NAME.test(name)
}
