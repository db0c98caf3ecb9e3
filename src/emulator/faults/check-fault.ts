/**
 * Checks faults. They come from JavaScript and over the admin port, and a misspelt field would silently
 * do nothing, so every field must be known and of the right type.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import {
  isFiniteNumber,
  isNonNegativeInteger,
  isOneOf,
  isOneOrMany,
  isPositiveInteger,
  isRecordOf,
  isString,
  isTime,
  MAX_TIMER_MS,
  type FieldCheck,
} from '../field-checks.js'
import { OPERATION_NAMES } from '../operations/operation-name.js'
import { faultPointOf, type Fault, type FaultAction, type FaultPoint } from './fault.js'

const FAULT_POINTS: readonly FaultPoint[] = ['start', 'body', 'received', 'done', 'reply']
const isFaultPoint = isOneOf(...FAULT_POINTS)
const isStringPair: FieldCheck = value =>
  Array.isArray(value) && value.length === 2 && value.every(isString)

const isHeaderValue: FieldCheck = value =>
  isString(value) && isAccepted(() => validateHeaderValue('name', String(value)))
const isHeaders: FieldCheck = value =>
  isRecordOf(text => text === null || isHeaderValue(text))(value) &&
  Object.keys(Object(value)).every(name => isAccepted(() => validateHeaderName(name)))
const isDelay: FieldCheck = value => isNonNegativeInteger(value) && Number(value) <= MAX_TIMER_MS
const isSkew: FieldCheck = value => isFiniteNumber(value) && isTime(Date.now() + Number(value))

/** Returns whether bytes pass at the point of a fault. */
function hasBytes(fault: Fault): boolean {
  const point = faultPointOf(fault)
  return point === 'body' || point === 'reply'
}

/** Returns whether `check` does not throw. */
function isAccepted(check: () => void): boolean {
  try {
    check()
    return true
  } catch {
    return false
  }
}

const MATCH_FIELDS: Readonly<Record<string, FieldCheck>> = {
  operation: isOneOrMany(isOneOf(...OPERATION_NAMES)),
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
    ec: isHeaderValue,
    body: isString,
    headers: isHeaders,
    at: isOneOf('start', 'body', 'received', 'done'),
  },
  reset: { at: isFaultPoint, after: isNonNegativeInteger },
  hang: { at: isFaultPoint, after: isNonNegativeInteger },
  delay: { 'ms!': isDelay, at: isFaultPoint, after: isNonNegativeInteger },
  slow: { 'bandwidth!': isPositiveInteger },
  truncate: { after: isNonNegativeInteger },
  alter: {
    headers: isHeaders,
    replace: value => Array.isArray(value) && value.every(isStringPair),
  },
  'drop-part': { parts: isOneOrMany(isPositiveInteger), at: isFaultPoint },
  'drop-upload': { at: isFaultPoint },
  expire: {},
  skew: { 'ms!': isSkew },
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
  const fault = value as Fault // all fields were checked
  if ('after' in fault && fault.after !== undefined && !hasBytes(fault))
    throw new TypeError('`after` in a fault requires `at` to be body or reply')
  return fault
}
