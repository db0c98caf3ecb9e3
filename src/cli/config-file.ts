/**
 * The configuration file: JSON, described by `schema/config.schema.json`. It may hold keys, so it is
 * never quoted in an error, and one with keys must be its owner's alone, as `ssh` asks for its own.
 */
import { readFileSync, statSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import { SETTINGS } from './settings.js'

/**
 * The settings in the file, by name; none when there is no file and none is required.
 * @throws UsageError
 */
export function readConfigFile(path: string, required: boolean): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : String(error)
    if (!required && (code === 'ENOENT' || code === 'ENOTDIR')) return {}
    throw new UsageError(`The configuration ${path} cannot be read: ${String(code)}`)
  }
  const settings = parse(path, text)
  const secret = SETTINGS.find(({ name, secret: is }) => is === true && name in settings)
  if (secret !== undefined && (statSync(path).mode & 0o077) !== 0 && process.platform !== 'win32') {
    throw new UsageError(
      `The configuration ${path} holds ${secret.name} and can be read by others: run "chmod 600 ${path}"`,
    )
  }
  return settings
}

function parse(path: string, text: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new UsageError(`The configuration ${path} is not JSON`) // its error quotes the file
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`The configuration ${path} is not a JSON object`)
  }
  const settings: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name === '$schema') continue
    const setting = SETTINGS.find(known => known.name === name)
    if (setting === undefined) {
      const known = SETTINGS.map(each => each.name).join(', ')
      throw new UsageError(`The configuration ${path} has "${name}", which is none of ${known}`)
    }
    try {
      settings[name] = setting.read(value)
    } catch (error) {
      const why = setting.secret || !(error instanceof Error) ? 'Expected a text.' : error.message
      throw new UsageError(`"${name}" in the configuration ${path}: ${why}`)
    }
  }
  return settings
}
