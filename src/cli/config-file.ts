/**
 * Reads the configuration file, which is JSON described by `schema/config.schema.json`. It may contain access
 * keys, so errors never quote it, and a file with keys must be readable by its owner only, as `ssh` requires
 * of private keys.
 */
import { readFileSync, statSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import { SETTING_DEFINITIONS } from './config-schema.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'

/**
 * Returns the settings in the file, by name. Returns none if the file does not exist and is not required.
 * @throws UsageError
 */
export function readConfigFile(path: string, isRequired: boolean): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const code = errorCode(error) ?? String(error)
    if (!isRequired && (code === 'ENOENT' || code === 'ENOTDIR')) return {}
    throw new UsageError(`The configuration file ${path} cannot be read: ${code}`)
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
      `The configuration file ${path} contains ${secretSetting.name} and is readable by other users. Run "chmod 600 ${path}"`,
    )
  }
  return settings
}

function parseConfig(path: string, text: string): Record<string, unknown> {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw new UsageError(`The configuration file ${path} is not valid JSON`) // the parser's error quotes the file
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new UsageError(`The configuration file ${path} is not a JSON object`)
  }
  const settings: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name === '$schema') continue
    const setting = SETTING_DEFINITIONS.find(definition => definition.name === name)
    if (setting === undefined) {
      const knownNames = SETTING_DEFINITIONS.map(each => each.name).join(', ')
      throw new UsageError(
        `The configuration file ${path} has an unknown setting "${name}". Expected one of ${knownNames}`,
      )
    }
    try {
      settings[name] = setting.parse(value)
    } catch (error) {
      const reason = setting.secret ? 'Expected a string.' : errorMessage(error)
      throw new UsageError(`"${name}" in the configuration file ${path}: ${reason}`)
    }
  }
  return settings
}
