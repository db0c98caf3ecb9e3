/**
 * What is configured, and where: the environment, then a configuration file of ours, then Alibaba's
 * `~/.ossutilconfig`. Flags come before all of them; they are laid over this by `Session.run`.
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

/** One place where settings are found. */
interface ConfigSource {
  /** Where exactly a setting of it stands, for people. */
  readonly originOf: (setting: SettingDefinition) => string
  readonly find: (setting: SettingDefinition) => unknown
}

/** Keys that go together: they are taken from one source or not at all. */
export interface ConfiguredCredentials {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly sessionToken?: string
}

export interface Configuration {
  /** What is set, but for the keys, under the names of the flags. */
  readonly values: ConfiguredValues
  readonly credentials: ConfiguredCredentials | undefined
  /** By name of the setting: where it was found. */
  readonly origins: ReadonlyMap<string, string>
  /** The configuration file that was looked for. */
  readonly path: string
}

/**
 * Reads it all.
 * @param file as `--config` names it: must be there; without it the default, which need not be
 * @throws UsageError for a file that cannot be read or understood
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
    // An empty variable is one that is not set, as everywhere in Unix.
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
