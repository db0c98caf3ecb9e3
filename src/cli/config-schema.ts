/**
 * The table of settings. A line defines a setting everywhere: its flag, help, completion, environment variable, key
 * of the configuration file and, by `npm run build:schema`, the entry in `schema/config.schema.json`. A flag that is
 * not in this table exists on the command line only.
 */
import { InvalidArgumentError } from 'commander'
import { quoteHarmless } from '../util/secret-mask.js'
import {
  COMPRESSION_LEVELS,
  type CompressionFormat,
  type CompressionLevels,
} from '../util/compression.js'
import { ACLS, STORAGE_CLASSES } from '../oss/object-headers.js'
import { LOG_FORMATS } from './log-format.js'
import { DEFAULT_LOCAL_DIR } from './raw-flags.js'
import { INVALID_PING_URL, isPingUrl, redactPingUrl } from './ping-url.js'
import { redactRedisUrl } from './redis-url.js'
import {
  digestParser,
  parseAddress,
  parseCount,
  parseDuration,
  parseNonEmpty,
  parseParallel,
  parsePort,
  parseRate,
  parseSize,
} from './units.js'

/** How values of a kind are read from text (a flag, a variable) and from JSON (the configuration file). */
export interface SettingType {
  /** Identifies the JSON schema of the type. */
  readonly name:
    | 'boolean'
    | 'choice'
    | 'count'
    | 'count or auto'
    | 'duration'
    | 'level'
    | 'pairs'
    | 'size'
    | 'string'
    | 'string or default'
  /** Allowed values, if they are fixed. */
  readonly choices?: readonly string[]
  /** Lowest and highest value of a level. */
  readonly range?: CompressionLevels
  /** Parses the value of a variable, and of a flag unless `parseFlag` is set. @throws InvalidArgumentError */
  readonly parseText: (text: string) => unknown
  readonly parseFlag?: (text: string) => unknown
  /** Parses the value of the configuration file. @throws InvalidArgumentError */
  readonly parseJson: (value: unknown) => unknown
}

export interface SettingDefinition {
  /** Key of the configuration file, and name of the parsed flag. */
  readonly name: string
  /** Flag and placeholder, such as `--part-size <SIZE>`. Absent for secrets, which are never arguments. */
  readonly flags?: string
  readonly description: string
  readonly type: SettingType
  /** Environment variable. */
  readonly env: string
  /** Variable of other tools, which counts if `env` is not set. */
  readonly sharedEnv?: string
  /** Name in `~/.ossutilconfig`, in lower case. */
  readonly ossutilName?: string
  /** Name of the library's option, if it is another one. */
  readonly option: string
  /** Never shown, and no flag. All access keys are taken from the same source. */
  readonly secret?: 'access key' | 'password'
  /** Not accepted in the configuration file, because it concerns single calls. */
  readonly perCall?: true
  /** Hides the secret parts of a value that is shown. */
  readonly redact?: (value: string) => string
}

type SettingDetails = Partial<
  Pick<
    SettingDefinition,
    'sharedEnv' | 'ossutilName' | 'option' | 'env' | 'secret' | 'perCall' | 'redact'
  >
>

/** A flag with the value of an unset variable must not mean a default, or everything. */
const STRING: SettingType = {
  name: 'string',
  parseFlag: parseNonEmpty,
  parseText: text => text,
  parseJson: parseString,
}
const BOOLEAN: SettingType = {
  name: 'boolean',
  parseText(text) {
    if (text === '1' || text === '0') return text === '1'
    throw new InvalidArgumentError(`Expected 1 or 0, got ${quoteHarmless(text)}.`)
  },
  parseJson(value) {
    if (typeof value === 'boolean') return value
    throw new InvalidArgumentError('Expected true or false.')
  },
}
const SIZE = numberType('size', parseSize, 'a number, or a string such as "8MiB"')
const RATE = numberType('size', parseRate, 'a number, or a string such as "500KB"')
const PORT = numberType('count', parsePort, 'a number')
const COUNT = numberType('count', parseCount, 'a number')
const PARALLEL = numberType('count or auto', parseParallel, 'a number or "auto"')
const DURATION = textType('duration', parseDuration, 'a string such as "7d"')
/** Repeatable `NAME=VALUE`: one per line of a variable, an object in the configuration file. */
const PAIRS: SettingType = {
  name: 'pairs',
  parseFlag: text => text,
  parseText: text => text.split(/\r?\n/).filter(line => line.trim() !== ''),
  parseJson(value) {
    const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [['', 0]]
    if (Array.isArray(value) || !entries.every(([, each]) => typeof each === 'string')) {
      throw new InvalidArgumentError('Expected an object of strings.')
    }
    return entries.map(([name, each]) => `${name}=${each}`)
  },
}

/** Repeatable values: one per line of a variable. */
const LIST: SettingType = { ...PAIRS, parseJson: parseString }

/** A flag is checked where it is used, because commander quotes the values that its parsers reject. */
const PING_URL: SettingType = {
  name: 'string',
  parseFlag: text => text,
  parseText: parsePingUrl,
  parseJson: parsePingUrl,
}

/** A flag with the value of an unset variable must not mean the current directory. */
const DIRECTORY: SettingType = { ...STRING, parseFlag: parseDirectory }

/** A value that may be left out: `1` selects the default, `0` clears it. */
const LOCAL_DIR: SettingType = {
  name: 'string or default',
  parseFlag: parseDirectory,
  parseText: text => (text === '1' ? DEFAULT_LOCAL_DIR : text === '0' ? undefined : text),
  parseJson: parseString,
}

/** All settings, in the order of `config show`. */
export const SETTING_DEFINITIONS: readonly SettingDefinition[] = [
  // The connection.
  setting('--endpoint <URL>', STRING, "endpoint of OSS (default: the region's public endpoint)", {
    sharedEnv: 'OSS_ENDPOINT',
    ossutilName: 'endpoint',
    option: 'client.endpoint',
  }),
  setting('--region <REGION>', STRING, 'region, such as cn-hangzhou', {
    sharedEnv: 'OSS_REGION',
    ossutilName: 'region',
    option: 'client.region',
  }),
  setting('--internal', BOOLEAN, "use the region's internal endpoint", {
    option: 'client.internal',
  }),
  setting('--cname', BOOLEAN, 'the endpoint is a custom domain of the bucket', {
    option: 'client.cname',
  }),
  setting('--path-style', BOOLEAN, 'put the bucket into the path, for an OSS on your own machine', {
    option: 'client.sldEnable',
  }),
  setting('--request-payer', BOOLEAN, "pay for the requests to someone else's bucket", {
    option: 'client.isRequestPay',
  }),
  secret('accessKeyId', 'OSS_ACCESS_KEY_ID', 'accesskeyid', 'access key id; requires its secret'),
  secret('accessKeySecret', 'OSS_ACCESS_KEY_SECRET', 'accesskeysecret', 'secret of the key id'),
  secret('sessionToken', 'OSS_SESSION_TOKEN', 'ststoken', 'security token of temporary keys'),
  setting(
    '--local [DIR]',
    LOCAL_DIR,
    `use an embedded OSS that stores objects in DIR (default: ${DEFAULT_LOCAL_DIR}); needs no credentials`,
    { perCall: true },
  ),
  // The spool and the output.
  setting('--spool <DIR>', DIRECTORY, 'spool directory (default: in the XDG state directory)', {
    env: 'OSS_SPOOL_DIR',
    option: 'dir',
  }),
  setting(
    '--config <FILE>',
    STRING,
    'configuration file (default: ~/.config/oss-spool/config.json)',
    { perCall: true },
  ),
  setting('--json', BOOLEAN, 'print results as JSON, one object per line', { perCall: true }),
  setting('--quiet', BOOLEAN, 'print no progress or notices, only results, warnings and errors'),
  setting('--debug', BOOLEAN, 'print requests and stack traces to standard error', {
    perCall: true,
  }),
  setting(
    '--progress <HOW>',
    choice('auto', 'json'),
    'auto: bar on a terminal, plain lines otherwise; json: one JSON object per line',
  ),
  setting('--log-format <FORMAT>', choice(...LOG_FORMATS), 'format of the lines on standard error'),
  setting(
    '--ping <URL>',
    PING_URL,
    'POST to URL/start at the start, then to URL on success or URL/fail (as healthchecks.io)',
    { redact: redactPingUrl },
  ),
  setting(
    '--metrics <FILE>',
    STRING,
    "write metrics for node_exporter's textfile collector to FILE, which must end in .prom",
  ),
  // How to send.
  setting('--parallel <N>', PARALLEL, 'parts in flight per upload (default: auto, 5 to 32)'),
  setting('--parallel-uploads <N>', COUNT, 'concurrent uploads (default: 4)'),
  setting('--retries <N>', COUNT, 'attempts per part after the source has ended (default: 5)', {
    option: 'retry.attempts',
  }),
  setting('--max-rate <SIZE>', RATE, 'send at most this many bytes per second, such as 500KB'),
  setting('--part-size <SIZE>', SIZE, 'size of the first parts (default: 8MiB)'),
  setting(
    '--max-spool <SIZE>',
    SIZE,
    'pause the source when this much is spooled (default: no limit)',
    { option: 'maxSpoolBytes' },
  ),
  // The expected bytes.
  setting(
    '--size <SIZE>',
    SIZE,
    'size of the whole stream, if known; used to plan the parts, and verified',
    { perCall: true },
  ),
  setting('--expect-bytes <SIZE>', SIZE, 'publish only if the stream has this size', {
    perCall: true,
    option: 'expect.bytes',
  }),
  setting('--expect-md5 <HEX>', digest(32), 'publish only if the stream has this MD5', {
    perCall: true,
    option: 'expect.md5',
  }),
  setting('--expect-sha256 <HEX>', digest(64), 'publish only if the stream has this SHA-256', {
    perCall: true,
    option: 'expect.sha256',
  }),
  setting(
    '--expect-crc64 <DECIMAL>',
    STRING,
    'publish only if the stream has this CRC64, as results print it',
    { perCall: true, option: 'expect.crc64' },
  ),
  // The object.
  setting('--once', BOOLEAN, 'keep a receipt, so that a rerun with the same id does nothing'),
  setting('--no-overwrite', BOOLEAN, 'never replace an existing object', { option: 'overwrite' }),
  setting('--meta <K=V>', PAIRS, 'user metadata (repeatable)'),
  setting('--header <K=V>', PAIRS, 'any other object header (repeatable)', { option: 'headers' }),
  setting(
    '--content-type <TYPE>',
    STRING,
    'content type (default: derived from the extension of the key)',
    { option: 'mime' },
  ),
  setting(
    '--storage-class <CLASS>',
    choice(...STORAGE_CLASSES),
    'storage class of the object (default: that of the bucket)',
  ),
  setting(
    '--acl <ACL>',
    choice(...ACLS),
    'access control list of the object (default: that of the bucket)',
  ),
  setting('--tag <K=V>', PAIRS, 'tag of the object (repeatable)', { option: 'tags' }),
  compression('gzip'),
  compression('zstd'),
  // Lines into objects.
  setting(
    '--every <LIMIT>',
    LIST,
    'end an object at this size (64MiB, as stored), age (10m) or number of lines (1000lines); repeatable: at the first one',
    { perCall: true },
  ),
  setting(
    '--partition <FIELD>',
    STRING,
    'property of JSON lines whose value replaces {partition}',
    {
      perCall: true,
    },
  ),
  setting(
    '--job <NAME>',
    STRING,
    'name for {job}, followed by start time and process id (default: host name)',
    { perCall: true },
  ),
  setting(
    '--commit <TIME>',
    DURATION,
    'make lines durable this long after they were read (default: 1s)',
    {
      perCall: true,
    },
  ),
  // One command.
  setting('--max-age <TIME>', DURATION, 'run the command again if the sealed bytes are older'),
  setting('--if-changed', BOOLEAN, 'skip files whose size and CRC64 equal those of the object'),
  setting('--in-place', BOOLEAN, 'read FILE where it is instead of copying it; it must not change'),
  setting(
    '--older-than <TIME>',
    DURATION,
    'remove only what has been idle for this long (default: 7d)',
  ),
  setting('--sealed', BOOLEAN, 'also remove sealed and committed uploads; their bytes are lost', {
    perCall: true,
  }),
  setting(
    '--orphans',
    BOOLEAN,
    'also abort empty multipart uploads left on OSS by lost Initiate responses',
  ),
  setting(
    '--unknown-jobs',
    BOOLEAN,
    'also remove uploads whose jobs are in no queue of the fleet',
    {
      perCall: true,
    },
  ),
  setting(
    '--stale-after <TIME>',
    DURATION,
    'with --all: exit with 1 if an upload remains whose seal, last commit or quarantine is older',
  ),
  setting(
    '--no-remote',
    BOOLEAN,
    'give up on this disk only, without a request; parts may remain on OSS',
    { perCall: true, option: 'remote' },
  ),
  setting('--dry-run', BOOLEAN, 'only print what would be sent or removed', { perCall: true }),
  setting('--port <N>', PORT, 'port to listen on (default: any free port)', { perCall: true }),
  // The worker.
  setting('--redis <URL>', STRING, 'Redis URL; a flag must not contain its password', {
    sharedEnv: 'REDIS_URL',
    redact: redactRedisUrl,
  }),
  setting(
    '--fleet <NAME>',
    STRING,
    'name of the fleet, which shares records, hosts and --fleet-rate (default: that of the queue)',
  ),
  setting('--redis-prefix <PREFIX>', STRING, "prefix of BullMQ's keys (default: bull)"),
  setting(
    '--redis-ca <FILE>',
    STRING,
    'certificates of the authority of Redis (default: those of Node.js)',
  ),
  setting('--redis-cert <FILE>', STRING, 'client certificate for Redis'),
  setting('--redis-key <FILE>', STRING, 'key of the client certificate'),
  password('redisPassword', 'REDIS_PASSWORD', 'password of Redis, unless its URL contains one'),
  password('redisSentinelPassword', 'REDIS_SENTINEL_PASSWORD', 'password of the Sentinels'),
  setting('--sources <FILE>', STRING, 'module whose functions produce the bytes of objects'),
  setting('--bucket <BUCKET>', STRING, 'bucket of the objects', {
    sharedEnv: 'OSS_BUCKET',
    option: 'client.bucket',
  }),
  setting('--concurrency <N>', COUNT, 'jobs processed concurrently (default: 4)'),
  setting('--queue <NAME>', STRING, 'name of the queue (default: oss-spool)', { option: 'name' }),
  setting('--host <NAME>', STRING, 'name of this machine in the fleet (default: its host name)'),
  setting(
    '--health <[HOST:]PORT>',
    textType('string', parseAddress, 'a string such as "9091"'),
    'serve GET /healthz on this address (default host: 127.0.0.1)',
  ),
  setting('--fleet-rate <SIZE>', RATE, 'send at most this many bytes per second, over all workers'),
  setting(
    '--host-timeout <TIME>',
    DURATION,
    'consider a host dead after this long without a heartbeat (default: 15m)',
  ),
  setting(
    '--host-queue-timeout <TIME>',
    DURATION,
    'how long a job waits for its host (default: 1m)',
  ),
  setting(
    '--lock-timeout <TIME>',
    DURATION,
    "release a worker's jobs after this long without a heartbeat (default: 30s)",
  ),
  setting(
    '--source-idle-timeout <TIME>',
    DURATION,
    'fail an attempt whose source produces no byte for this long (default: no limit)',
  ),
  setting(
    '--source-timeout <TIME>',
    DURATION,
    'fail an attempt whose source does not end within this time (default: no limit)',
  ),
  setting('--sandbox', BOOLEAN, 'run each source in a process of its own'),
  setting(
    '--drain <TIME>',
    DURATION,
    'how long active jobs may go on after SIGTERM or SIGINT (default: not at all)',
  ),
]

const SETTING_BY_NAME: ReadonlyMap<string, SettingDefinition> = new Map(
  SETTING_DEFINITIONS.map(each => [each.name, each]),
)
const SETTING_BY_OPTION: ReadonlyMap<string, SettingDefinition> = new Map(
  SETTING_DEFINITIONS.map(each => [each.option, each]),
)

/** Returns the setting of a name, such as `partSize`. @throws Error if there is none */
export function settingNamed(name: string): SettingDefinition {
  const definition = SETTING_BY_NAME.get(name)
  if (definition === undefined) throw new Error(`No setting "${name}"`)
  return definition
}

/** Returns the setting that sets an option of the library, such as `retry.attempts`. */
export function settingOfOption(option: string): SettingDefinition | undefined {
  return SETTING_BY_OPTION.get(option)
}

function setting(
  flags: string,
  type: SettingType,
  description: string,
  details: SettingDetails = {},
): SettingDefinition {
  const flag = flags.replace(/ .*/, '')
  const name = flag
    .slice(2)
    .replaceAll(/-([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase())
  const env = `OSS_SPOOL_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`
  return { name, flags, description, type, env, option: name, ...details }
}

function secret(
  name: string,
  env: string,
  ossutilName: string,
  description: string,
): SettingDefinition {
  return {
    name,
    description,
    type: STRING,
    env,
    ossutilName,
    option: `client.${name}`,
    secret: 'access key',
  }
}

function password(name: string, sharedEnv: string, description: string): SettingDefinition {
  const env = `OSS_SPOOL_${sharedEnv}`
  return { name, description, type: STRING, env, sharedEnv, option: name, secret: 'password' }
}

function compression(format: CompressionFormat): SettingDefinition {
  const levels = COMPRESSION_LEVELS[format]
  const text = `compress with ${format}, level ${levels.min} to ${levels.max} (default: ${levels.default})`
  return setting(`--${format} [LEVEL]`, levelType(levels), text)
}

/** A level, which the flag may leave out. A variable that is 0 switches compression off. */
function levelType(range: CompressionLevels): SettingType {
  const { min, max } = range
  const parse = (value: string | number): number => {
    const level = Number(value)
    if (/^\d{1,2}$/.test(String(value)) && level >= min && level <= max) return level
    throw new InvalidArgumentError(
      `Expected a level from ${min} to ${max}, got ${quoteHarmless(String(value))}.`,
    )
  }
  return {
    name: 'level',
    range,
    parseFlag: parse,
    parseText: text => (text === '0' ? false : parse(text)),
    parseJson(value) {
      if (typeof value === 'number') return parse(value)
      throw new InvalidArgumentError('Expected a number.')
    },
  }
}

/** The errors do not quote the value, which may be a secret. */
function parsePingUrl(value: unknown): string {
  if (typeof value === 'string' && isPingUrl(value)) return value
  throw new InvalidArgumentError(INVALID_PING_URL)
}

function choice(...choices: string[]): SettingType {
  const parse = (value: unknown): string => {
    if (typeof value === 'string' && choices.includes(value)) return value
    const received = typeof value === 'string' ? quoteHarmless(value) : `type ${typeof value}`
    throw new InvalidArgumentError(`Expected one of ${choices.join(', ')}, got ${received}.`)
  }
  return { name: 'choice', choices, parseText: parse, parseJson: parse }
}

function digest(length: number): SettingType {
  return textType('string', digestParser(length), `${length} hexadecimal digits`)
}

function parseDirectory(text: string): string {
  if (text !== '') return text
  throw new InvalidArgumentError('Expected a directory, got "".')
}

function parseString(value: unknown): string {
  if (typeof value === 'string' && value !== '') return value
  throw new InvalidArgumentError('Expected a string.')
}

/** A type whose JSON is a number, or a string in the format of the flag. */
function numberType(
  name: SettingType['name'],
  parseText: (text: string) => number | string,
  expected: string,
): SettingType {
  return {
    name,
    parseText,
    parseJson(value) {
      if (typeof value === 'number' || typeof value === 'string') return parseText(String(value))
      throw new InvalidArgumentError(`Expected ${expected}.`)
    },
  }
}

/** A type whose JSON is a string in the format of the flag. */
function textType(
  name: SettingType['name'],
  parseText: (text: string) => unknown,
  expected: string,
): SettingType {
  return {
    name,
    parseText,
    parseJson(value) {
      if (typeof value === 'string') return parseText(value)
      throw new InvalidArgumentError(`Expected ${expected}.`)
    },
  }
}
