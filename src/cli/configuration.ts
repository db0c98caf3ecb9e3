/**
 * Reads settings from the environment, then our configuration file, then Alibaba's `~/.ossutilconfig`. The
 * first source wins. Flags take precedence over all of them; `Session.run` applies them.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { readConfigFile } from './config-file.js'
import { readOssutilConfig } from './ossutil-config.js'
import {
  SETTING_DEFINITIONS,
  type SettingDefinition,
  type ConfiguredValues,
} from './config-schema.js'

/** A source of settings. */
interface ConfigSource {
  /** Returns where a setting is defined, for people. */
  readonly originOf: (setting: SettingDefinition) => string
  readonly find: (setting: SettingDefinition) => unknown
}

/** Access keys. All of them are taken from the same source. */
export interface ConfiguredCredentials {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly sessionToken?: string
}

export interface Configuration {
  /** Settings other than the access keys, by flag name. */
  readonly values: ConfiguredValues
  readonly credentials: ConfiguredCredentials | undefined
  /** Origin of each setting, by its name. */
  readonly origins: ReadonlyMap<string, string>
  /** Path of the configuration file, which may not exist. */
  readonly path: string
}

/**
 * Reads all sources.
 * @param file – value of `--config`; the file must exist. Without it, the default file is read if it exists.
 * @throws UsageError if a file cannot be read or parsed
 */
export async function readConfiguration(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<Configuration> {
  const home = env['HOME'] ?? homedir()
  const configPath =
    file ?? join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'oss-spool/config.json')
  const fileSettings = readConfigFile(configPath, file !== undefined)
  const ossutilPath = join(home, '.ossutilconfig')
  const ossutilSettings = readOssutilConfig(ossutilPath)
  const sources: readonly ConfigSource[] = [
    // An empty variable counts as unset, as usual in Unix.
    {
      originOf: ({ env: name }) => `$${name}`,
      find: ({ env: name }) => (name && env[name]) || undefined,
    },
    { originOf: () => configPath, find: ({ name }) => fileSettings[name] },
    {
      originOf: () => ossutilPath,
      find: ({ ossutilName: name }) => (name && ossutilSettings[name]) || undefined,
    },
  ]
  const origins = new Map<string, string>()
  const values: Record<string, unknown> = {}
  for (const setting of SETTING_DEFINITIONS.filter(({ secret }) => secret !== true)) {
    const source = sources.find(({ find }) => find(setting) !== undefined)
    if (source === undefined) continue
    values[setting.name] = source.find(setting)
    origins.set(setting.name, source.originOf(setting))
  }
  const credentials = findCredentials(sources, origins)
  return { values, credentials, origins, path: configPath }
}

function findCredentials(
  sources: readonly ConfigSource[],
  origins: Map<string, string>,
): ConfiguredCredentials | undefined {
  const secretSettings = SETTING_DEFINITIONS.filter(({ secret }) => secret === true)
  for (const source of sources) {
    const found = secretSettings.flatMap(setting => {
      const value = source.find(setting)
      return typeof value === 'string' ? [[setting, value] as const] : []
    })
    const credentials: Partial<ConfiguredCredentials> = Object.fromEntries(
      found.map(([{ name }, value]) => [name, value]),
    )
    const { accessKeyId, accessKeySecret } = credentials
    if (accessKeyId === undefined || accessKeySecret === undefined) continue
    for (const [setting] of found) origins.set(setting.name, source.originOf(setting))
    return { ...credentials, accessKeyId, accessKeySecret }
  }
  return undefined
}
