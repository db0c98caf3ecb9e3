/**
 * Reads settings from flags, then `OSS_SPOOL_*` variables, the variables of other tools, our configuration file and
 * Alibaba's `~/.ossutilconfig`. The first source of a setting wins.
 */
import { isAbsolute, join } from 'node:path'
import { NO_FILE_SETTINGS, readConfigFile } from './config-file.js'
import { parseOssutilConfig, readOssutilConfig, type BucketEndpoint } from './ossutil-config.js'
import { CONNECTION_SETTINGS, toFlag } from './command-words.js'
import { settingNamed, SETTING_DEFINITIONS, type SettingDefinition } from './config-schema.js'
import { UsageError } from './exit-status.js'
import { placeFor, type PlaceSettings, type Ranked } from './place-settings.js'
import { errorMessage } from '../util/error-shape.js'
import { homeDirectory } from '../util/home-directory.js'
import { omitUndefined } from '../util/omit-undefined.js'

/** Where a setting comes from. */
export interface Origin {
  /** For `config show`: a flag, `$VARIABLE` or a file. */
  readonly from: string
  /** For errors, as the subject of a sentence: `--part-size`, or `"partSize" in FILE, line 3`. */
  readonly subject: string
}

/** A source of settings. */
interface ConfigSource {
  readonly originOf: (setting: SettingDefinition) => Origin
  /** Returns the parsed value, or `undefined`. @throws UsageError */
  readonly find: (setting: SettingDefinition) => unknown
}

/** Access keys. All of them are taken from the same source. */
export interface ConfiguredCredentials {
  readonly accessKeyId: string
  readonly accessKeySecret: string
  readonly sessionToken?: string
}

export interface Configuration {
  /** Settings other than the access keys, by name. */
  readonly values: Readonly<Record<string, unknown>>
  readonly credentials: ConfiguredCredentials | undefined
  /** Origin of each setting, by its name. */
  readonly origins: ReadonlyMap<string, Origin>
  /** Path of the configuration file, which may not exist; `undefined` for a user without a home directory. */
  readonly path: string | undefined
  /** Endpoints that `~/.ossutilconfig` has for buckets. None if another source sets the endpoint. */
  readonly bucketEndpoints: ReadonlyMap<string, BucketEndpoint>
  /** Returns how to reach a bucket. */
  readonly placeFor: (bucket: string) => PlaceSettings
}

export interface ConfigurationInput {
  /** Flags on the command line. */
  readonly flags: Readonly<Record<string, unknown>>
  readonly env: NodeJS.ProcessEnv
  /** Settings of the command. A wrong variable of another command is ignored. */
  readonly settings: readonly SettingDefinition[]
}

/** Rank of `~/.ossutilconfig`, the last of the sources. */
const OSSUTIL_RANK = 4

/**
 * Reads all sources. The file of `--config` must exist. Without it, the default file is read if it exists.
 * @throws UsageError if a file cannot be read, or a value is wrong
 */
export function readConfiguration({ flags, env, settings }: ConfigurationInput): Configuration {
  const home = homeDirectory(env)
  const givenFlag = flags['config']
  const givenPath =
    typeof givenFlag === 'string' ? givenFlag : (env[settingNamed('config').env] ?? '')
  const path = givenPath === '' ? defaultConfigPath(env, home) : givenPath
  const file = path === undefined ? NO_FILE_SETTINGS : readConfigFile(path, givenPath !== '')
  const ossutilPath = home === undefined ? '' : join(home, '.ossutilconfig')
  const ossutil = home === undefined ? parseOssutilConfig('') : readOssutilConfig(ossutilPath)
  const environment = (variableOf: (setting: SettingDefinition) => string | undefined) =>
    environmentSource(env, new Set(settings), variableOf)
  const sources: readonly ConfigSource[] = [
    {
      originOf: ({ name }) => ({ from: toFlag(name), subject: toFlag(name) }),
      find: ({ name, secret }) => (secret === undefined ? flags[name] : undefined),
    },
    environment(setting => setting.env),
    environment(setting => setting.sharedEnv),
    {
      originOf: ({ name }) => ({
        from: path ?? '',
        subject: `"${name}" in ${path}, line ${file.lines.get(name)},`,
      }),
      find: ({ name }) => file.values[name],
    },
    {
      originOf: ({ ossutilName }) => ({
        from: ossutilPath,
        subject: `"${ossutilName}" in ${ossutilPath}`,
      }),
      find: ({ ossutilName }) => (ossutilName && ossutil.settings[ossutilName]) || undefined,
    },
  ]
  const found = findAll(sources)
  const { credentials, origins: secretOrigins } = findCredentials(sources)
  const ranked = {
    endpoint: asString(found.get('endpoint')),
    region: asString(found.get('region')),
    cname: found.get('cname'),
  }
  const isEndpointFromOssutil = (ranked.endpoint?.rank ?? OSSUTIL_RANK) === OSSUTIL_RANK
  const bucketEndpoints = isEndpointFromOssutil ? ossutil.bucketEndpoints : new Map()
  const placeOf = (bucket?: string): PlaceSettings =>
    placeFor(ranked, bucket === undefined ? undefined : bucketEndpoints.get(bucket), OSSUTIL_RANK)
  const { values, origins } = valuesAndOrigins(found, placeOf(), sources)
  return {
    values,
    credentials,
    origins: new Map([...origins, ...secretOrigins]),
    path,
    bucketEndpoints,
    placeFor: placeOf,
  }
}

/**
 * Returns the configured values of the given settings, of the passwords, and of the settings that select an OSS, which
 * decide what `show` proposes. A setting of other commands must not change this one: `once` is not for `split`.
 */
export function valuesFor(
  settings: readonly SettingDefinition[],
  { values }: Configuration,
): Readonly<Record<string, unknown>> {
  const passwords = SETTING_DEFINITIONS.filter(({ secret }) => secret === 'password')
  const names = new Set([
    ...[...settings, ...passwords].map(each => each.name),
    ...CONNECTION_SETTINGS,
  ])
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)))
}

/** An XDG directory must be absolute; a relative one is ignored. */
function defaultConfigPath(env: NodeJS.ProcessEnv, home: string | undefined): string | undefined {
  const configHome = env['XDG_CONFIG_HOME'] ?? ''
  if (isAbsolute(configHome)) return join(configHome, 'oss-spool', 'config.json')
  return home === undefined ? undefined : join(home, '.config', 'oss-spool', 'config.json')
}

/** Settings in variables. An empty variable counts as unset, as usual in Unix. */
function environmentSource(
  env: NodeJS.ProcessEnv,
  settings: ReadonlySet<SettingDefinition>,
  variableOf: (setting: SettingDefinition) => string | undefined,
): ConfigSource {
  return {
    originOf: setting => {
      const variable = variableOf(setting) ?? ''
      return { from: `$${variable}`, subject: variable }
    },
    find: setting => {
      const variable = variableOf(setting) ?? ''
      const text = env[variable] ?? ''
      if (text === '') return undefined
      try {
        return setting.type.parseText(text)
      } catch (error) {
        if (!settings.has(setting)) return undefined
        throw new UsageError(`${variable}: ${errorMessage(error)}`)
      }
    },
  }
}

/** Returns the value of the first source of each setting, and the rank of that source. */
function findAll(sources: readonly ConfigSource[]): ReadonlyMap<string, Ranked<unknown>> {
  const found = new Map<string, Ranked<unknown>>()
  for (const setting of SETTING_DEFINITIONS.filter(({ secret }) => secret !== 'access key')) {
    for (const [rank, source] of sources.entries()) {
      const value = source.find(setting)
      if (value === undefined) continue
      found.set(setting.name, { value, rank })
      break
    }
  }
  return found
}

/** Leaves out the settings of the place that a setting of a higher source overrules. */
function valuesAndOrigins(
  found: ReadonlyMap<string, Ranked<unknown>>,
  place: PlaceSettings,
  sources: readonly ConfigSource[],
): Pick<Configuration, 'values' | 'origins'> {
  const rankOf = (name: string): number => found.get(name)?.rank ?? sources.length
  // A flag that selects an OSS is not meant for the embedded one of a variable.
  const isLocalOverruled =
    rankOf('local') > 0 && Math.min(rankOf('endpoint'), rankOf('region')) === 0
  // `--zstd` is not meant for an object that a variable compresses with gzip, nor the other way round.
  const isCompressionOverruled = (other: string, name: string): boolean =>
    rankOf(other) < rankOf(name) && found.get(other)?.value !== false
  const isOverruled = (name: string): boolean => {
    if (name === 'local') return isLocalOverruled
    if (name === 'gzip') return isCompressionOverruled('zstd', name)
    if (name === 'zstd') return isCompressionOverruled('gzip', name)
    return (
      (name === 'endpoint' || name === 'region' || name === 'cname') && place[name] === undefined
    )
  }
  const used = [...found].filter(([name]) => !isOverruled(name))
  return {
    values: Object.fromEntries(used.map(([name, { value }]) => [name, value])),
    origins: new Map(
      used.flatMap(([name, { rank }]) => {
        const origin = sources[rank]?.originOf(settingNamed(name))
        return origin === undefined ? [] : [[name, origin] as const]
      }),
    ),
  }
}

function asString(found: Ranked<unknown> | undefined): Ranked<string> | undefined {
  return found === undefined ? undefined : { value: String(found.value), rank: found.rank }
}

function findCredentials(
  sources: readonly ConfigSource[],
): Pick<Configuration, 'credentials' | 'origins'> {
  const secretSettings = SETTING_DEFINITIONS.filter(({ secret }) => secret === 'access key')
  for (const source of sources) {
    const found = secretSettings.flatMap(setting => {
      const value = source.find(setting)
      return typeof value === 'string' ? [[setting, value] as const] : []
    })
    const credentials: Partial<ConfiguredCredentials> = omitUndefined(
      Object.fromEntries(found.map(([{ name }, value]) => [name, value])),
    )
    const { accessKeyId, accessKeySecret } = credentials
    if (accessKeyId === undefined || accessKeySecret === undefined) continue
    return {
      credentials: { ...credentials, accessKeyId, accessKeySecret },
      origins: new Map(found.map(([setting]) => [setting.name, source.originOf(setting)])),
    }
  }
  return { credentials: undefined, origins: new Map() }
}
