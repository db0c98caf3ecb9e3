/**
 * Validates the output of real processes against the published JSON schemas. The published schemas of output
 * allow additional properties, because a later version may add some; here they are closed, so that every
 * property is described.
 */
import { readFileSync } from 'node:fs'
import { Ajv, type ValidateFunction } from 'ajv'
import { urlOf } from './project.js'

/** Schemas that a line of `COMMAND --json` may match. Every command may print an error. */
export const OUTPUTS: Readonly<Record<string, readonly string[]>> = {
  put: ['result', 'dry-run', 'error'],
  run: ['result', 'dry-run', 'error'],
  split: ['result', 'split-plan', 'error'],
  ls: ['status', 'quarantine', 'error'],
  show: ['show', 'error'],
  resume: ['result', 'error'],
  abort: ['abort', 'error'],
  prune: ['prune', 'error'],
  doctor: ['doctor', 'error'],
  config: ['settings', 'error'],
  worker: ['result', 'error'],
  jobs: ['job', 'job-outcome', 'error'],
}

const ajv = new Ajv({
  strict: true,
  allowUnionTypes: true,
  allErrors: true,
  formats: { 'date-time': isTime },
})
const compiled = new Map<string, ValidateFunction>()

/** Returns a function that returns true for a valid value and throws with the reason otherwise. */
export function schema(name: string): (value: unknown) => true {
  const validate = validator(name)
  return value => {
    if (validate(value)) return true
    throw new Error(`${name}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`)
  }
}

/** Throws unless each complete line matches one of the command's schemas. */
export function checkOutput(command: string, out: string): void {
  const names = OUTPUTS[command] ?? ['error']
  for (const line of out.split('\n').slice(0, -1)) {
    const value: unknown = JSON.parse(line)
    const name = names.find(each => validator(each)(value))
    if (name === undefined)
      throw new Error(
        `${command} --json printed a line that matches none of ${names.join(', ')}: ${line}`,
      )
  }
}

export interface Schema {
  readonly $id: string
  readonly title: string
  readonly description: string
  readonly properties: Readonly<Record<string, unknown>>
}

export function read(name: string): Schema {
  const url = urlOf(`schema/${name}.schema.json`)
  return JSON.parse(readFileSync(url, 'utf8'))
}

function validator(name: string): ValidateFunction {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const made = ajv.compile(JSON.parse(JSON.stringify(read(name)), closed))
  compiled.set(name, made)
  return made
}

/** A JSON reviver that forbids additional properties. */
function closed(key: string, value: unknown): unknown {
  return key === 'additionalProperties' && value === true ? false : value
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text))
}
