/** `--partition FIELD`: the partition of a line of JSON is the value of one of its properties. */

/** A value that names a partition; `undefined` selects the default partition. */
export type FieldValue = string | number | boolean | undefined

/**
 * Returns the value of the property `field` of a line of JSON. It is `undefined` if the line is not a JSON object, or
 * the value names no partition: missing, `null`, an object, an array, or a number that is not finite.
 */
export function fieldOf(line: Buffer, field: string): FieldValue {
  const record = parseJson(line.toString())
  if (typeof record !== 'object' || record === null || Array.isArray(record)) return undefined
  const value: unknown = Object.getOwnPropertyDescriptor(record, field)?.value
  if (typeof value === 'string' || typeof value === 'boolean') return value
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
