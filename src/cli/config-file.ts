/**
 * Reads the configuration file, which is JSON described by `schema/config.schema.json`. It may contain access
 * keys, so errors never quote it, and a file with keys must be readable by its owner only, as `ssh` requires
 * of private keys.
 */
import { readFileSync, statSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import { SETTING_DEFINITIONS } from './config-schema.js'
import { JsonTextError, parseJsonObject, type JsonObjectLines } from './json-lines.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'
import { quoteHarmless } from '../util/secret-mask.js'

/** Settings in a configuration file, by name. */
export interface FileSettings {
  readonly values: Readonly<Record<string, unknown>>
  /** Line of each setting. */
  readonly lines: ReadonlyMap<string, number>
}

export const NO_FILE_SETTINGS: FileSettings = { values: {}, lines: new Map() }

/**
 * Returns the text of a file of settings, or `undefined` if it does not exist and is not required.
 * @throws UsageError
 */
export function readSettingsText(path: string, isRequired: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = errorCode(error) ?? String(error)
    if (!isRequired && isMissing(path, code)) return undefined
    throw new UsageError(`The configuration file ${path} cannot be read: ${code}`)
  }
}

/** A file in someone else's home directory, such as root's in a container, counts as missing. */
function isMissing(path: string, code: string): boolean {
  if (code === 'ENOENT' || code === 'ENOTDIR') return true
  if (code !== 'EACCES') return false
  try {
    statSync(path)
    return false
  } catch {
    return true
  }
}

/**
 * Returns the settings in the file. Returns none if the file does not exist and is not required.
 * @throws UsageError
 */
export function readConfigFile(path: string, isRequired: boolean): FileSettings {
  const text = readSettingsText(path, isRequired)
  if (text === undefined) return NO_FILE_SETTINGS
  const settings = parseConfig(path, text)
  const secretSetting = SETTING_DEFINITIONS.find(
    ({ name, secret: isSecret }) => isSecret === true && name in settings.values,
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

function parseConfig(path: string, text: string): FileSettings {
  const { value: json, lines } = parseText(path, text)
  const values: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name === '$schema') continue
    const where = `The configuration file ${path}, line ${lines.get(name)}`
    const setting = SETTING_DEFINITIONS.find(definition => definition.name === name)
    if (setting === undefined) {
      const known = SETTING_DEFINITIONS.filter(({ perCall }) => perCall !== true)
      const knownNames = known.map(each => each.name).join(', ')
      throw new UsageError(
        `${where}: unknown setting ${quoteHarmless(name)}. Expected one of ${knownNames}`,
      )
    }
    if (setting.perCall === true) {
      throw new UsageError(`${where}: "${name}" concerns single calls. Set ${setting.env} instead`)
    }
    try {
      values[name] = setting.type.parseJson(value)
    } catch (error) {
      const reason = setting.secret ? 'Expected a string.' : errorMessage(error)
      throw new UsageError(`${where}: "${name}": ${reason}`)
    }
  }
  return { values, lines }
}

function parseText(path: string, text: string): JsonObjectLines {
  try {
    return parseJsonObject(text)
  } catch (error) {
    if (!(error instanceof JsonTextError)) throw error
    throw new UsageError(`The configuration file ${path} is not a JSON object, ${error.message}`)
  }
}
