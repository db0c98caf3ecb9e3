/** Options of `split`: the template of the keys, the name of the run, and the limits of an object. */
import { hostname } from 'node:os'
import type { RotateOptions } from '../etl/options.js'
import { Calendar } from '../etl/date-fields.js'
import { KeyTemplate } from '../etl/key-template.js'
import { checkKey } from '../upload/model/names.js'
import { quoteHarmless } from '../util/secret-mask.js'
import { UsageError } from './exit-status.js'
import { fieldOf, type FieldValue } from './partition-field.js'
import { parseDuration, parseSize } from './units.js'

/** Limits of one object. */
export type ObjectLimits = Pick<
  NonNullable<RotateOptions<Buffer>['every']>,
  'bytes' | 'ms' | 'records'
>

/** Flags that decide the objects of a run. */
export interface SplitPlanFlags {
  readonly every?: readonly string[]
  readonly job?: string
  readonly partition?: string
  readonly commit?: number
}

/** What makes a run different from all others. */
export interface RunIdentity {
  readonly host: string
  readonly startedAt: Date
  readonly pid: number
}

/** Objects of a run. */
export interface SplitPlan {
  readonly job: string
  readonly template: KeyTemplate
  readonly every: ObjectLimits
  readonly commitMs: number
  /** Returns the partition of a line, if the template has one. */
  readonly partitionBy: ((line: Buffer) => FieldValue) | undefined
}

/** A timer of Node cannot be longer. */
const MAX_TIMER_MS = 2 ** 31 - 1

const MAX_JOB_CHARS = 64

/** Values that were checked; the cache is cleared when it is full. */
const MAX_CHECKED_VALUES = 1000

/** No key of OSS is longer. */
const MAX_KEY_CHARS = 1023

/** Returns the identity of this process. */
export function currentRun(): RunIdentity {
  return { host: hostname(), startedAt: new Date(), pid: process.pid }
}

/** @throws UsageError, TypeError or SpoolError `ERR_SPOOL_INVALID_KEY` for options that cannot work */
export function planSplit(key: string, flags: SplitPlanFlags, run: RunIdentity): SplitPlan {
  const template = new KeyTemplate('The template', key)
  for (const name of ['job', 'seq']) {
    if (template.placeholders.has(name)) continue
    throw new UsageError(`The template needs {${name}}: every object of every run has its own key`)
  }
  const { partition, commit = 1000 } = flags
  checkPartition(key, template, partition)
  checkTimer('--commit', commit)
  const job = jobName(flags.job, run)
  const keyFor = (value: string): string => sampleKey(template, job, value, 10 ** 9)
  checkKey(keyFor('x'))
  return {
    job,
    template,
    every: parseLimits(flags.every ?? []),
    commitMs: commit,
    partitionBy: partition === undefined ? undefined : partitioner(partition, keyFor),
  }
}

/** Returns the key of the first object if a line came now. The partition is shown as the field that names it. */
export function firstKey({ template, job }: SplitPlan, field = ''): string {
  return sampleKey(template, job, `<${field}>`, 0)
}

/**
 * Parses the values of `--every`: `64MiB`, `10m` or `1000lines`. Of several of a kind, the lowest one counts.
 * @throws UsageError
 */
export function parseLimits(values: readonly string[]): ObjectLimits {
  const limits: { bytes?: number; ms?: number; records?: number } = {}
  for (const value of values) {
    const { name, limit } = parseLimit(value)
    limits[name] = Math.min(limits[name] ?? Infinity, limit)
  }
  return limits
}

/** `10m` is a time, `10M` and `10MiB` are sizes. */
function parseLimit(value: string): {
  readonly name: keyof ObjectLimits
  readonly limit: number
} {
  const lines = /^(\d{1,15})lines?$/.exec(value)?.[1]
  const isTime = /^\d+[smhdw]$/.test(value)
  const name = lines !== undefined ? 'records' : isTime ? 'ms' : 'bytes'
  const limit =
    lines !== undefined ? Number(lines) : attempt(() => (isTime ? parseDuration : parseSize)(value))
  if (!(limit >= 1)) {
    throw new UsageError(
      `--every: Expected a size such as 64MiB, a time such as 10m, or a number such as 1000lines, got ${quoteHarmless(value)}`,
    )
  }
  if (name === 'ms') checkTimer('--every', limit)
  return { name, limit }
}

function attempt(parse: () => number): number {
  try {
    return parse()
  } catch {
    return Number.NaN
  }
}

function checkTimer(flag: string, ms: number): void {
  if (ms >= 1 && ms <= MAX_TIMER_MS) return
  throw new UsageError(`${flag}: Expected a time from 1s to 24d`)
}

function checkPartition(key: string, template: KeyTemplate, partition: string | undefined): void {
  if (key.includes('{partition:path}')) {
    throw new UsageError('The template has the unknown placeholder {partition:path}')
  }
  const isUsed = template.placeholders.has('partition')
  if (isUsed && partition === undefined) {
    throw new UsageError('{partition} in the template needs --partition FIELD')
  }
  if (!isUsed && partition !== undefined) {
    throw new UsageError('--partition needs {partition} in the template')
  }
}

/**
 * Returns the name of the run, which no other run has: the given name or that of the host, the start time in UTC, and
 * the process id.
 */
function jobName(name: string | undefined, { host, startedAt, pid }: RunIdentity): string {
  const suffix = `-${startedAt.toISOString().replace(/[-:.]/g, '')}-${pid}`
  const maxChars = MAX_JOB_CHARS - suffix.length
  if (name === undefined) {
    const safe = host.replace(/[^A-Za-z0-9._-]/g, '-').replace(/^\./, '-')
    return `${safe.slice(0, maxChars) || 'host'}${suffix}`
  }
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name) || name.length > maxChars) {
    throw new UsageError(
      `--job: Expected 1 to ${maxChars} of A-Za-z0-9._- that do not start with a dot, got ${quoteHarmless(name)}`,
    )
  }
  return `${name}${suffix}`
}

function sampleKey(template: KeyTemplate, job: string, partition: string, seq: number): string {
  return template.key({ job, partition, seq, date: new Calendar().fields(Date.now()) })
}

/** Values that would make an invalid key, such as one that is too long, go to the default partition as well. */
function partitioner(
  field: string,
  keyFor: (partition: string) => string,
): (line: Buffer) => FieldValue {
  const isUsableByValue = new Map<string, boolean>()
  return line => {
    const value = fieldOf(line, field)
    const text = String(value)
    if (value === undefined || text.length > MAX_KEY_CHARS) return undefined
    let isUsable = isUsableByValue.get(text)
    if (isUsable === undefined) {
      isUsable = isValidKey(keyFor(text))
      if (isUsableByValue.size === MAX_CHECKED_VALUES) isUsableByValue.clear()
      isUsableByValue.set(text, isUsable)
    }
    return isUsable ? value : undefined
  }
}

function isValidKey(key: string): boolean {
  try {
    checkKey(key)
    return true
  } catch {
    return false
  }
}
