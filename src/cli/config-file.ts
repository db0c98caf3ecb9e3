/**
 * The configuration file: JSON, described by `schema/config.schema.json`. It may hold keys, so it is
 * never quoted in an error, and one with keys must be its owner's alone, as `ssh` asks for its own.
 */
import { readFileSync, statSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import { SETTING_DEFINITIONS } from './config-schema.js'

/**
 * The settings in the file, by name; none when there is no file and none is required.
 * @throws UsageError
 */
export function readConfigFile(path: string, isRequired: boolean): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : String(error)
    if (!isRequired && (code === 'ENOENT' || code === 'ENOTDIR')) return {}
    throw new UsageError(`The configuration ${path} cannot be read: ${String(code)}`)
  }
  const settings = parseConfig(path, text)
  const secretSetting = SETTING_DEFINITIONS.find(
    ({ name, secret: isSecret }) => isSecret === true && name in settings,
  )
  if (
    secretSetting !== undefined &&
    (statSync(path).mode & 0o077) !== 0 &&
    process.platform !== 'win32'
  ) {
    throw new UsageError(
      `The configuration ${path} holds ${secretSetting.name} and can be read by others: run "chmod 600 ${path}"`,
    )
  }
  return settings
}

function parseConfig(path: string, text: string): Record<string, unknown> {
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
    const setting = SETTING_DEFINITIONS.find(definition => definition.name === name)
    if (setting === undefined) {
      const knownNames = SETTING_DEFINITIONS.map(each => each.name).join(', ')
      throw new UsageError(
        `The configuration ${path} has "${name}", which is none of ${knownNames}`,
      )
    }
    try {
      settings[name] = setting.parse(value)
    } catch (error) {
      const reason =
        setting.secret || !(error instanceof Error) ? 'Expected a text.' : error.message
      throw new UsageError(`"${name}" in the configuration ${path}: ${reason}`)
    }
  }
  return settings
}
