/**
 * The JSON schemas as they are published, for what real processes print. Published, those of output are
 * open (a later version may say more); here nothing is said that they do not describe.
 */
import { readFileSync } from 'node:fs'
import { Ajv, type ValidateFunction } from 'ajv'
import { urlOf } from './project.js'

/** What a line of `COMMAND --json` may be; a failure is one of any command. */
export const OUTPUTS: Readonly<Record<string, readonly string[]>> = {
  put: ['result', 'error'],
  run: ['result', 'error'],
  ls: ['status', 'quarantine', 'error'],
  show: ['show', 'error'],
  resume: ['result', 'error'],
  abort: ['abort', 'error'],
  prune: ['prune', 'error'],
  doctor: ['doctor', 'error'],
  config: ['settings', 'error'],
  worker: ['result', 'error'],
}

const ajv = new Ajv({
  strict: true,
  allowUnionTypes: true,
  allErrors: true,
  formats: { 'date-time': isTime },
})
const compiled = new Map<string, ValidateFunction>()

/** Throws with the reason when a value does not fit; returns true when it does. */
export function schema(name: string): (value: unknown) => true {
  const validate = validator(name)
  return value => {
    if (validate(value)) return true
    throw new Error(`${name}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`)
  }
}

/** Throws unless each whole line is what the command may print. */
export function checkOutput(command: string, out: string): void {
  const names = OUTPUTS[command] ?? ['error']
  for (const line of out.split('\n').slice(0, -1)) {
    const value: unknown = JSON.parse(line)
    const name = names.find(each => validator(each)(value))
    if (name === undefined) throw new Error(`${command} --json: not ${names.join(', ')}: ${line}`)
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

/** A reviver: objects whose properties are described have no others. */
function closed(key: string, value: unknown): unknown {
  return key === 'additionalProperties' && value === true ? false : value
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(text) && !Number.isNaN(Date.parse(text))
}
