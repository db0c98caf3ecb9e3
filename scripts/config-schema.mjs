/**
 * Writes `schema/config.schema.json` from the table of settings. With `--check`, exits with 1 if the file differs.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { format } from 'prettier'
import { SETTING_DEFINITIONS } from '../.build/cli/config-schema.js'

const SIZE_PATTERN = String.raw`^[0-9]+(\.[0-9]+)?\s*([KMGTkmgt]?[Bb]?|[KMGTkmgt][Ii][Bb])$`
const SCHEMA_BY_TYPE = {
  boolean: () => ({ type: 'boolean' }),
  choice: ({ choices }) => ({ enum: choices }),
  count: () => numberOrText('^[0-9]{1,9}$'),
  'count or auto': () => numberOrText('^([0-9]{1,9}|auto)$'),
  level: ({ range: { min, max } }) => ({ type: 'integer', minimum: min, maximum: max }),
  duration: () => ({ type: 'string', pattern: '^[0-9]{1,9}[smhdw]$' }),
  pairs: () => ({ type: 'object', additionalProperties: { type: 'string' } }),
  size: () => numberOrText(SIZE_PATTERN),
  string: () => ({ type: 'string', minLength: 1 }),
}

const file = new URL('../schema/config.schema.json', import.meta.url)
const { properties, ...head } = JSON.parse(readFileSync(file, 'utf8'))
const entries = SETTING_DEFINITIONS.filter(({ perCall }) => perCall !== true).map(
  ({ name, type, description }) => [
    name,
    { ...SCHEMA_BY_TYPE[type.name](type), description: sentence(description) },
  ],
)
const schema = {
  ...head,
  properties: { $schema: properties.$schema, ...Object.fromEntries(entries) },
}
const formatted = await format(JSON.stringify(schema, null, 2), { parser: 'json', printWidth: 100 })
if (!process.argv.includes('--check')) writeFileSync(file, formatted)
else if (readFileSync(file, 'utf8') !== formatted) {
  console.error('schema/config.schema.json is out of date. Run "npm run build:schema"')
  process.exitCode = 1
}

function numberOrText(pattern) {
  return {
    oneOf: [
      { type: 'integer', minimum: 0 },
      { type: 'string', pattern },
    ],
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`
}
