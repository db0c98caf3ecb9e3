/** BullMQ's options of one job, checked before BullMQ gets them, which accepts some wrong ones without a word. */
import { PRIORITY_LIMIT, type JobsOptions } from 'bullmq'
import { checkInteger, checkProperties, invalidType, invalidValue, outOfRange } from '../errors.js'

/** Options of one job, as in BullMQ. Default: those of the queue (`jobs`). */
export type JobOptions = Pick<
  JobsOptions,
  'priority' | 'delay' | 'attempts' | 'backoff' | 'lifo' | 'removeOnComplete' | 'removeOnFail'
>

/** The compiler checks that none is missing. */
export const JOB_OPTIONS: Readonly<Record<keyof JobOptions, true>> = {
  priority: true,
  delay: true,
  attempts: true,
  backoff: true,
  lifo: true,
  removeOnComplete: true,
  removeOnFail: true,
}

/** Maximum delay; BullMQ's order of delayed jobs does not reach far into the future. */
const MAX_DELAY_MS = 366 * 24 * 3600_000

const MAX_COUNT = 2 ** 31 - 1

/** @throws TypeError or RangeError */
export function checkJobOptions(options: JobOptions): void {
  const { priority, delay, attempts, backoff, lifo, removeOnComplete, removeOnFail } = options
  checkInteger('priority', priority, 0, PRIORITY_LIMIT)
  checkInteger('delay', delay, 0, MAX_DELAY_MS)
  checkInteger('attempts', attempts, 1, MAX_COUNT)
  checkBackoff(backoff)
  if (lifo !== undefined && typeof lifo !== 'boolean') throw invalidType('lifo', 'a boolean', lifo)
  checkRemoval('removeOnComplete', removeOnComplete)
  checkRemoval('removeOnFail', removeOnFail)
}

function checkBackoff(backoff: JobOptions['backoff']): void {
  if (backoff === undefined) return
  if (typeof backoff === 'number') return checkInteger('backoff', backoff, 0, MAX_DELAY_MS)
  if (typeof backoff !== 'object' || backoff === null) {
    throw invalidType('backoff', 'a number or an object', backoff)
  }
  checkProperties('backoff', backoff, { type: true, delay: true, jitter: true })
  const { type, delay, jitter } = backoff
  // Workers have no other strategies. BullMQ would notice only when the first attempt has failed.
  if (type !== 'fixed' && type !== 'exponential') {
    throw invalidValue('backoff.type', 'must be "fixed" or "exponential"', type)
  }
  checkInteger('backoff.delay', delay, 0, MAX_DELAY_MS)
  if (jitter === undefined) return
  if (typeof jitter !== 'number') throw invalidType('backoff.jitter', 'a number', jitter)
  if (!(jitter >= 0 && jitter <= 1)) throw outOfRange('backoff.jitter', '>= 0 and <= 1', jitter)
}

function checkRemoval(name: string, removal: JobOptions['removeOnComplete']): void {
  if (removal === undefined || typeof removal === 'boolean') return
  if (typeof removal === 'number') return checkInteger(name, removal, 0, MAX_COUNT)
  if (typeof removal !== 'object' || removal === null) {
    throw invalidType(name, 'a boolean, a number or an object', removal)
  }
  const limits: Readonly<{ age?: number; count?: number; limit?: number }> = removal
  checkProperties(name, limits, { age: true, count: true, limit: true })
  for (const [limit, value] of Object.entries(limits)) {
    checkInteger(`${name}.${limit}`, value, 0, MAX_COUNT)
  }
}
