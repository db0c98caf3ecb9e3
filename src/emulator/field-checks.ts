/** Checks of values that come from JavaScript or JSON, as predicates for tables of fields. */

/** The longest delay of a timer, in ms; a longer one would end at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** Returns whether a field may have this value. */
export type FieldCheck = (value: unknown) => boolean

export const isString: FieldCheck = value => typeof value === 'string'
export const isBoolean: FieldCheck = value => typeof value === 'boolean'
export const isFiniteNumber: FieldCheck = value =>
  typeof value === 'number' && Number.isFinite(value)
export const isNonNegativeInteger: FieldCheck = value =>
  Number.isSafeInteger(value) && Number(value) >= 0
export const isPositiveInteger: FieldCheck = value => isNonNegativeInteger(value) && value !== 0

/** Returns whether a number of ms since the epoch is a time that `Date` can hold. */
export const isTime = (ms: number): boolean => !Number.isNaN(new Date(ms).getTime())

/** Returns a check of a value, or an array of values, that each pass `check`. */
export const isOneOrMany =
  (check: FieldCheck): FieldCheck =>
  value =>
    Array.isArray(value) ? value.every(check) : check(value)

/** Returns a check that a value is one of `values`. */
export const isOneOf =
  (...values: readonly unknown[]): FieldCheck =>
  value =>
    values.includes(value)

/** Returns a check that a value is an object whose values all pass `check`. */
export const isRecordOf =
  (check: FieldCheck): FieldCheck =>
  value =>
    typeof value === 'object' && value !== null && Object.values(value).every(check)
