/**
 * Checks faults. They come from JavaScript and over the admin port, and a misspelt field would silently
 * do nothing, so every field must be known and of the right type.
 */
import {
  isFiniteNumber,
  isNonNegativeInteger,
  isOneOf,
  isOneOrMany,
  isPositiveInteger,
  isRecordOf,
  isString,
  type FieldCheck,
} from '../field-checks.js'
import type { Fault, FaultAction, FaultPoint } from './fault.js'

const FAULT_POINTS: readonly FaultPoint[] = ['start', 'body', 'received', 'done', 'reply']
const isFaultPoint = isOneOf(...FAULT_POINTS)
const isStringPair: FieldCheck = value =>
  Array.isArray(value) && value.length === 2 && value.every(isString)

const MATCH_FIELDS: Readonly<Record<string, FieldCheck>> = {
  operation: isOneOrMany(isString),
  bucket: isString,
  key: isString,
  partNumber: isOneOrMany(isPositiveInteger),
  nth: isPositiveInteger,
  times: value => isPositiveInteger(value) || value === 'always',
  probability: value => isFiniteNumber(value) && Number(value) >= 0 && Number(value) <= 1,
  seed: isFiniteNumber,
}

/** Fields of each action; those with a `!` are required. */
const ACTION_FIELDS: Readonly<Record<FaultAction['do'], Readonly<Record<string, FieldCheck>>>> = {
  answer: {
    'status!': value => isPositiveInteger(value) && Number(value) >= 200 && Number(value) <= 599,
    code: isString,
    message: isString,
    ec: isString,
    body: isString,
    headers: isRecordOf(value => value === null || isString(value)),
    at: isOneOf('start', 'body', 'received', 'done'),
  },
  reset: { at: isFaultPoint, after: isNonNegativeInteger },
  hang: { at: isFaultPoint, after: isNonNegativeInteger },
  delay: { 'ms!': isNonNegativeInteger, at: isFaultPoint, after: isNonNegativeInteger },
  slow: { 'bandwidth!': isPositiveInteger },
  truncate: { after: isNonNegativeInteger },
  alter: {
    headers: isRecordOf(value => value === null || isString(value)),
    replace: value => Array.isArray(value) && value.every(isStringPair),
  },
  'drop-part': { parts: isOneOrMany(isPositiveInteger), at: isFaultPoint },
  'drop-upload': { at: isFaultPoint },
  expire: {},
  skew: { 'ms!': isFiniteNumber },
}

/**
 * Checks that a value is a fault.
 *
 * @throws `TypeError` naming the invalid field
 */
export function checkFault(value: unknown): Fault {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`Expected a fault to be an object, got \`${String(value)}\``)
  const fields = new Map<string, unknown>(Object.entries(value))
  const actionName = fields.get('do')
  const action = Object.entries(ACTION_FIELDS).find(([name]) => name === actionName)?.[1]
  if (action === undefined)
    throw new TypeError(
      `Expected \`do\` to be one of ${Object.keys(ACTION_FIELDS).join(', ')}, got \`${String(actionName)}\``,
    )
  fields.delete('do')
  const checks = new Map([...Object.entries(MATCH_FIELDS), ...Object.entries(action)])
  for (const [name, check] of checks) {
    const field = name.replace(/!$/, '')
    const fieldValue = fields.get(field)
    fields.delete(field)
    if (fieldValue === undefined ? name !== field : !check(fieldValue))
      throw new TypeError(`Invalid \`${field}\` in a fault: got \`${JSON.stringify(fieldValue)}\``)
  }
  const [unknown] = fields.keys()
  if (unknown !== undefined)
    throw new TypeError(`Unknown field \`${unknown}\` in a \`${String(actionName)}\` fault`)
  return value as Fault // all fields were checked
}
