/**
 * Exact decimals of a fixed precision and scale. A value becomes its unscaled integer: 1.50 at scale 2 is 150. No
 * value is ever rounded.
 */

/** Digits of a `decimal(precision,scale)` column: all of them, and those after the point. */
export interface DecimalDigits {
  readonly precision: number
  readonly scale: number
}

/** Maximum precision of Parquet readers. */
const MAX_PRECISION = 38

const TYPE = /^decimal\((\d{1,2}),(\d{1,2})\)$/

/** Limits the work for hostile texts; the pattern itself takes linear time. */
const MAX_TEXT_LENGTH = 100
const DECIMAL = /^(-?\d+)(?:\.(\d+))?(?:e([+-]?\d{1,3}))?$/i

/** Parses a type such as `decimal(10,2)`. @returns `undefined` if it is no such type or out of range */
export function parseDecimalType(type: string): DecimalDigits | undefined {
  const match = TYPE.exec(type)
  if (match === null) return undefined
  const [precision, scale] = [Number(match[1]), Number(match[2])]
  return precision >= 1 && precision <= MAX_PRECISION && scale <= precision
    ? { precision, scale }
    : undefined
}

/**
 * Returns the unscaled integer of a value: a decimal text, an integer as `bigint`, or a number, which counts as
 * the shortest decimal that is equal to it.
 * @returns `undefined` if the value is none of these, or does not fit exactly
 */
export function unscaledDecimal(value: unknown, digits: DecimalDigits): bigint | undefined {
  const unscaled = toUnscaled(value, digits.scale)
  if (unscaled === undefined) return undefined
  const limit = 10n ** BigInt(digits.precision)
  return unscaled < limit && unscaled > -limit ? unscaled : undefined
}

function toUnscaled(value: unknown, scale: number): bigint | undefined {
  if (typeof value === 'bigint') return value * 10n ** BigInt(scale)
  if (typeof value === 'number') {
    // Beyond that, the number is no longer what its source meant.
    return Math.abs(value) <= Number.MAX_SAFE_INTEGER ? parse(String(value), scale) : undefined
  }
  return typeof value === 'string' ? parse(value, scale) : undefined
}

function parse(text: string, scale: number): bigint | undefined {
  if (text.length > MAX_TEXT_LENGTH) return undefined
  const match = DECIMAL.exec(text)
  if (match === null) return undefined
  const [, whole = '', fraction = '', exponent = '0'] = match
  const digits = BigInt(whole + fraction)
  const shift = scale - fraction.length + Number(exponent)
  if (shift >= 0) return digits * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return digits % divisor === 0n ? digits / divisor : undefined
}
