/**
 * Whether something is a fault. Faults come from JavaScript and over the admin port, and one with a
 * misspelt field would silently do nothing, so every field must be known and of its kind.
 */
import type { Fault, FaultAction, Moment } from './fault.js'

type Check = (value: unknown) => boolean

const text: Check = value => typeof value === 'string'
const number: Check = value => typeof value === 'number' && Number.isFinite(value)
const natural: Check = value => Number.isSafeInteger(value) && Number(value) >= 0
const positive: Check = value => natural(value) && value !== 0
const oneOrMany =
  (check: Check): Check =>
  value =>
    Array.isArray(value) ? value.every(check) : check(value)
const among =
  (...values: readonly unknown[]): Check =>
  value =>
    values.includes(value)
const record =
  (check: Check): Check =>
  value =>
    typeof value === 'object' && value !== null && Object.values(value).every(check)

const MOMENTS: readonly Moment[] = ['start', 'body', 'received', 'done', 'reply']
const moment = among(...MOMENTS)
const pair: Check = value => Array.isArray(value) && value.length === 2 && value.every(text)

const MATCH: Readonly<Record<string, Check>> = {
  operation: oneOrMany(text),
  bucket: text,
  key: text,
  partNumber: oneOrMany(positive),
  nth: positive,
  times: value => positive(value) || value === 'always',
  probability: value => number(value) && Number(value) >= 0 && Number(value) <= 1,
  seed: number,
}

/** The fields of each action; those with a `!` must be there. */
const ACTIONS: Readonly<Record<FaultAction['do'], Readonly<Record<string, Check>>>> = {
  answer: {
    'status!': value => positive(value) && Number(value) >= 200 && Number(value) <= 599,
    code: text,
    message: text,
    ec: text,
    body: text,
    headers: record(text),
    at: among('start', 'body', 'received', 'done'),
  },
  reset: { at: moment, after: natural },
  hang: { at: moment, after: natural },
  delay: { 'ms!': natural, at: moment, after: natural },
  slow: { 'bandwidth!': positive },
  cut: { after: natural },
  lie: {
    headers: record(value => value === null || text(value)),
    replace: value => Array.isArray(value) && value.every(pair),
  },
  drop: { parts: oneOrMany(positive), at: moment },
  forget: { at: moment },
  expire: {},
  skew: { 'ms!': number },
}

/** The value as a fault; `TypeError` with the field that is wrong. */
export function checkFault(value: unknown): Fault {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`Expected a fault to be an object, got \`${String(value)}\``)
  const fields = new Map<string, unknown>(Object.entries(value))
  const what = fields.get('do')
  const action = Object.entries(ACTIONS).find(([name]) => name === what)?.[1]
  if (action === undefined)
    throw new TypeError(
      `Expected \`do\` to be one of ${Object.keys(ACTIONS).join(', ')}, got \`${String(what)}\``,
    )
  fields.delete('do')
  const checks = new Map([...Object.entries(MATCH), ...Object.entries(action)])
  for (const [name, check] of checks) {
    const field = name.replace(/!$/, '')
    const given = fields.get(field)
    fields.delete(field)
    if (given === undefined ? name !== field : !check(given))
      throw new TypeError(`Wrong \`${field}\` in a fault: got \`${JSON.stringify(given)}\``)
  }
  const [unknown] = fields.keys()
  if (unknown !== undefined)
    throw new TypeError(`A fault that does \`${String(what)}\` has no \`${unknown}\``)
  return value as Fault // every field was checked
}
