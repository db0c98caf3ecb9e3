/**
 * Reads the configuration file, which is JSON described by `schema/config.schema.json`. It may contain access
 * keys, so errors never quote it, and a file with keys must be readable by its owner only. It may contain the
 * endpoint that gets signed requests, so it must be written by its owner or root only.
 */
import { closeSync, constants, openSync, readFileSync, statSync, type Stats } from 'node:fs'
import { resolve } from 'node:path'
import { statsOfFd } from './file-stats.js'
import { UsageError } from './exit-status.js'
import { shellQuoted } from './command-words.js'
import { SETTING_DEFINITIONS, type SettingDefinition } from './config-schema.js'
import { hasRedisPassword } from './redis-url.js'
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

/** A file of settings that nobody else can have written. */
export interface SettingsFile {
  readonly path: string
  readonly text: string
  readonly stats: Pick<Stats, 'mode' | 'uid'>
}

/** Longer files are no settings, and would be read whole. */
const MAX_SETTINGS_BYTES = 2 ** 20

/**
 * Reads a file of settings. Returns `undefined` if it does not exist and is not required. An endpoint that others
 * chose would get the bytes and signed requests.
 * @throws UsageError if it cannot be read, is no regular file, is too long, or others can write to it
 */
export function readSettingsFile(path: string, isRequired: boolean): SettingsFile | undefined {
  let file: number | undefined
  try {
    // Without a writer, opening a FIFO would block.
    file = openSync(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    const stats = statsOfFd(file)
    const problem = settingsFileProblem(path, stats)
    if (problem !== undefined) throw new UsageError(`The configuration file ${path} ${problem}`)
    return { path, text: readFileSync(file, 'utf8'), stats }
  } catch (error) {
    if (error instanceof UsageError) throw error
    const code = errorCode(error) ?? String(error)
    if (!isRequired && isMissing(path, code)) return undefined
    throw new UsageError(`The configuration file ${path} cannot be read: ${code}`)
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

/** Returns why a file must not be used, and what to do. */
function settingsFileProblem(path: string, stats: Stats): string | undefined {
  if (!stats.isFile()) return 'is not a regular file'
  if (stats.size > MAX_SETTINGS_BYTES) return 'is longer than 1 MiB'
  const user = process.geteuid?.()
  if (user === undefined) return undefined // Windows
  const danger = 'who can change where bytes and signed requests go'
  if (stats.uid !== user && stats.uid !== 0) {
    const remedy = user === 0 ? command('chown 0', path) : 'Use a copy that belongs to you'
    return `belongs to uid ${stats.uid}, ${danger}. ${remedy}`
  }
  // Many systems give each user a group of their own, with the same number, and new files write permission for it.
  const isPrivateGroup = stats.gid === user && stats.gid === process.getegid?.()
  if ((stats.mode & (isPrivateGroup ? 0o002 : 0o022)) === 0) return undefined
  return `can be written by other users, ${danger}. ${remedyOf('chmod go-w', path, stats)}`
}

/**
 * Rejects a file with secrets that others can read, as `ssh` does with private keys.
 * @param secret – name of a secret in the file
 * @throws UsageError
 */
export function checkSecretFile({ path, stats }: SettingsFile, secret: string): void {
  if ((stats.mode & 0o077) === 0 || process.platform === 'win32') return
  throw new UsageError(
    `The configuration file ${path} contains ${secret} and is readable by other users. ${remedyOf('chmod 600', path, stats)}`,
  )
}

/** Returns what to do about the mode of a file, which only its owner and root can change. */
function remedyOf(chmod: string, path: string, { uid }: Pick<Stats, 'uid'>): string {
  const user = process.geteuid?.()
  return user === 0 || user === uid ? command(chmod, path) : 'Use a copy that belongs to you'
}

function command(words: string, path: string): string {
  return `Run "${words} ${shellQuoted(resolve(path))}"`
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
  const file = readSettingsFile(path, isRequired)
  if (file === undefined) return NO_FILE_SETTINGS
  const settings = parseConfig(path, file.text)
  const secretSetting = SETTING_DEFINITIONS.find(definition =>
    isSecretValue(definition, settings.values[definition.name]),
  )
  if (secretSetting !== undefined) checkSecretFile(file, secretSetting.name)
  return settings
}

/** Whether a value is a secret, or a URL of Redis with a password. */
function isSecretValue({ name, secret }: SettingDefinition, value: unknown): boolean {
  if (value === undefined) return false
  return (
    secret !== undefined ||
    (name === 'redis' && typeof value === 'string' && hasRedisPassword(value))
  )
}

/** A name with digits or other characters is no setting, but may be a value in the wrong place, such as a secret. */
function quoteName(name: string): string {
  return /^[$a-z_-]*$/i.test(name) ? quoteHarmless(name) : `of ${name.length} characters`
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
        `${where}: unknown setting ${quoteName(name)}. Expected one of ${knownNames}`,
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
