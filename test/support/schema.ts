/** The JSON schemas as they are published, for what real processes print. */
import { readFileSync } from 'node:fs'
import { Ajv, type ValidateFunction } from 'ajv'

const ajv = new Ajv({ strict: true, allErrors: true, formats: { 'date-time': isTime } })
const compiled = new Map<string, ValidateFunction>()

/** Throws with the reason when a value does not fit; returns true when it does. */
export function schema(name: string): (value: unknown) => true {
  const validate = compiled.get(name) ?? ajv.compile(read(name))
  compiled.set(name, validate)
  return value => {
    if (validate(value)) return true
    throw new Error(`${name}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`)
  }
}

export function read(name: string): { properties: Record<string, unknown> } {
  const url = new URL(`../../schema/${name}.schema.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8'))
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text))
}
