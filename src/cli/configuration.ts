/**
 * What is configured, and where: the environment, then a configuration file of ours, then Alibaba's
 * `~/.ossutilconfig`. Flags come before all of them; they are laid over this by `Session.run`.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { readConfigFile } from './config-file.js'
import { readOssutilConfig } from './ossutil-config.js'
import { SETTINGS, type Setting, type Values } from './settings.js'

/** One place where settings are found. */
interface Source {
  /** Where exactly a setting of it stands, for people. */
  readonly where: (setting: Setting) => string
  readonly find: (setting: Setting) => unknown
}

/** Keys that go together: they are taken from one source or not at all. */
export interface ConfiguredKeys {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly sessionToken?: string
}

export interface Configuration {
  /** What is set, but for the keys, under the names of the flags. */
  readonly values: Values
  readonly credentials: ConfiguredKeys | undefined
  /** By name of the setting: where it was found. */
  readonly origins: ReadonlyMap<string, string>
  /** The configuration file that was looked for. */
  readonly file: string
}

/**
 * Reads it all.
 * @param file as `--config` names it: must be there; without it the default, which need not be
 * @throws UsageError for a file that cannot be read or understood
 */
export async function configure(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<Configuration> {
  const home = env['HOME'] ?? homedir()
  const path =
    file ?? join(env['XDG_CONFIG_HOME'] || join(home, '.config'), 'oss-spool/config.json')
  const ours = readConfigFile(path, file !== undefined)
  const ossutilPath = join(home, '.ossutilconfig')
  const ossutil = readOssutilConfig(ossutilPath)
  const sources: readonly Source[] = [
    // An empty variable is one that is not set, as everywhere in Unix.
    {
      where: ({ env: name }) => `$${name}`,
      find: ({ env: name }) => (name && env[name]) || undefined,
    },
    { where: () => path, find: ({ name }) => ours[name] },
    {
      where: () => ossutilPath,
      find: ({ ossutil: name }) => (name && ossutil[name]) || undefined,
    },
  ]
  const origins = new Map<string, string>()
  const values: Record<string, unknown> = {}
  for (const setting of SETTINGS.filter(({ secret }) => secret !== true)) {
    const source = sources.find(({ find }) => find(setting) !== undefined)
    if (source === undefined) continue
    values[setting.name] = source.find(setting)
    origins.set(setting.name, source.where(setting))
  }
  const credentials = findKeys(sources, origins)
  return { values, credentials, origins, file: path }
}

function findKeys(
  sources: readonly Source[],
  origins: Map<string, string>,
): ConfiguredKeys | undefined {
  const secrets = SETTINGS.filter(({ secret }) => secret === true)
  for (const source of sources) {
    const found = secrets.flatMap(setting => {
      const value = source.find(setting)
      return typeof value === 'string' ? [[setting, value] as const] : []
    })
    const keys: Partial<ConfiguredKeys> = Object.fromEntries(
      found.map(([{ name }, value]) => [name, value]),
    )
    const { accessKeyId, accessKeySecret } = keys
    if (accessKeyId === undefined || accessKeySecret === undefined) continue
    for (const [setting] of found) origins.set(setting.name, source.where(setting))
    return { ...keys, accessKeyId, accessKeySecret }
  }
  return undefined
}
