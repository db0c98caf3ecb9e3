/**
 * Options shared by the commands, made from the table of settings. An option with a value is rejected if it is given
 * twice, because the last of two ids is no more likely to be intended than the first.
 */
import { Command, Option } from 'commander'
import { CONNECTION_SETTINGS } from './command-words.js'
import { settingNamed, type SettingDefinition } from './config-schema.js'
import { UsageError } from './exit-status.js'
import { parseNonEmpty } from './units.js'

/** Description of the argument `ID`. */
export const ID_DESCRIPTION =
  'id of the upload, the start of one, or the URL of its object, oss://BUCKET/KEY'

/** Settings of the options that were made from the table. */
const SETTING_OF_OPTION = new WeakMap<Option, SettingDefinition>()

/** Creates an option with one value that is no setting. */
export function valueOption(
  flags: string,
  description: string,
  parse: (text: string) => unknown = parseNonEmpty,
): Option {
  return new Option(flags, description).argParser((text: string, previous: unknown) => {
    // An InvalidArgumentError would quote the value, which may be a secret.
    if (previous !== undefined) throw new UsageError(`${flags.replace(/ .*/, '')} was given twice`)
    return parse(text)
  })
}

/** Creates the option of a setting. */
function settingOption(name: string): Option {
  const definition = settingNamed(name)
  const { type, flags = '', description: text } = definition
  const option =
    type.name === 'boolean'
      ? new Option(flags, text)
      : type.name === 'pairs'
        ? new Option(flags, text).argParser((value: string, previous: string[] | undefined) => [
            ...(previous ?? []),
            value,
          ])
        : valueOption(flags, text, type.parseFlag ?? type.parseText)
  option.negate = false // `--no-overwrite` is a setting of that name, not the default of another one
  if (type.choices !== undefined) option.argChoices = [...type.choices]
  SETTING_OF_OPTION.set(option, definition)
  return option
}

/** Returns the settings that a command has options for. */
export function settingsOf(command: Command): SettingDefinition[] {
  return command.options.flatMap(option => SETTING_OF_OPTION.get(option) ?? [])
}

/** Adds the options of settings, by their names. */
export function addSettings(command: Command, ...names: readonly string[]): Command {
  for (const name of names) command.addOption(settingOption(name))
  return command
}

/** Adds the options of every command but `completion` and `emulator`. */
export function addOutputOptions(command: Command): Command {
  return addSettings(command, 'config', 'json', 'quiet', 'debug', 'logFormat')
}

/** Adds the options of every command that reads the spool. */
export function addSpoolOptions(command: Command): Command {
  return addSettings(addOutputOptions(command), 'spool')
}

/** Adds the options of every command that connects to OSS. */
export function addConnectionOptions(command: Command): Command {
  return addSettings(addSpoolOptions(command), ...CONNECTION_SETTINGS)
}

/** Adds the options for sending, for progress and for monitoring. */
export function addTransferOptions(command: Command): Command {
  return addSettings(
    addConnectionOptions(command),
    'ping',
    'metrics',
    'parallel',
    'retries',
    'maxRate',
    'progress',
  )
}

/** Settings of the objects themselves. */
const OBJECT_SETTINGS = ['meta', 'header', 'contentType', 'storageClass', 'acl', 'tag'] as const

/** Adds the options of `put` and `run`: properties of the object, and the expected bytes. */
export function addUploadOptions(command: Command): Command {
  addTransferOptions(command).addOption(
    valueOption('--id <ID>', 'id of the upload (default: derived from endpoint, bucket and key)'),
  )
  return addSettings(
    command,
    'partSize',
    'maxSpool',
    'size',
    'expectBytes',
    'expectMd5',
    'expectSha256',
    'expectCrc64',
    'once',
    'noOverwrite',
    ...OBJECT_SETTINGS,
    'gzip',
    'zstd',
    'dryRun',
  )
}

/** Adds the options of `split`: its objects and their properties. Those of one stream do not fit many objects. */
export function addSplitOptions(command: Command): Command {
  return addSettings(
    addTransferOptions(command),
    'every',
    'gzip',
    'zstd',
    'partition',
    'job',
    'commit',
    'partSize',
    'maxSpool',
    ...OBJECT_SETTINGS,
    'dryRun',
  )
}

/** Adds the options of every command that connects to the Redis of a fleet. */
export function addRedisOptions(command: Command): Command {
  return addSettings(
    command,
    'redis',
    'queue',
    'fleet',
    'redisPrefix',
    'redisCa',
    'redisCert',
    'redisKey',
  )
}

/** Adds the options that select the uploads of a fleet instead of those in the spool directory. */
export function addFleetOptions(command: Command): Command {
  return addSettings(addRedisOptions(command), 'host')
}

/** Adds the options of a worker: its queue, its host in the fleet, and how it sends. */
export function addWorkerOptions(command: Command): Command {
  return addSettings(
    addRedisOptions(addConnectionOptions(command)),
    'sources',
    'bucket',
    'concurrency',
    'host',
    'health',
    'fleetRate',
    'parallel',
    'retries',
    'maxRate',
    'partSize',
    'maxSpool',
    'metrics',
    'hostTimeout',
    'hostQueueTimeout',
    'lockTimeout',
    'sourceIdleTimeout',
    'sourceTimeout',
    'sandbox',
    'drain',
  )
}

/** Appends the environment variables of the options, and realistic examples, to the help of a command. */
export function addExamples(command: Command, lines: readonly string[]): Command {
  const examples = `\nExamples:\n${lines.map(line => `  ${line}\n`).join('')}`
  return command.addHelpText('after', () => `${environmentHelp(command)}${examples}`)
}

function environmentHelp(command: Command): string {
  const settings = settingsOf(command)
  if (settings.length === 0) return ''
  const names = settings.map(({ env, sharedEnv }) =>
    sharedEnv === undefined ? env : `${env} (or ${sharedEnv})`,
  )
  const heading = 'Environment, for options that are not given (1 or 0 for those without a value):'
  const columns = command.configureOutput().getOutHelpWidth?.() ?? HELP_COLUMNS
  const width = Math.min(columns, HELP_COLUMNS)
  const title = command.createHelp().boxWrap(heading, width)
  return `\n${[title, ...wrapped(names, width - 3)].join('\n  ')}\n`
}

/** Columns of a terminal of the usual width. Three of them are for the indentation and a comma. */
const HELP_COLUMNS = 80

/** Joins words with commas into lines of at most `width` characters. */
function wrapped(words: readonly string[], width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of words) {
    if (line !== '' && line.length + word.length + 2 > width) {
      lines.push(`${line},`)
      line = ''
    }
    line += line === '' ? word : `, ${word}`
  }
  return [...lines, line]
}
