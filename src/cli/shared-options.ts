/**
 * Options as all commands declare them. One that takes a value is refused when it is given twice:
 * of two ids, the last one is not more likely to be meant than the first.
 */
import { Command, InvalidArgumentError, Option } from 'commander'
import {
  parseAddress,
  parseCount,
  digestParser,
  parseDuration,
  parseRate,
  parseSize,
} from './units.js'

/** An option with one value. */
export function valueOption(
  flags: string,
  description: string,
  parse = (text: string): unknown => text,
) {
  return new Option(flags, description).argParser((text: string, previous: unknown) => {
    if (previous !== undefined) throw new InvalidArgumentError('It is given twice.')
    return parse(text)
  })
}

/** An option with one of a few words. */
export function choiceOption(
  flags: string,
  description: string,
  choices: readonly string[],
): Option {
  const option = valueOption(flags, description, text => {
    if (choices.includes(text)) return text
    throw new InvalidArgumentError(`Expected ${choices.join(', ')}, got "${text}".`)
  })
  option.argChoices = [...choices]
  return option
}

function repeatableOption(flags: string, description: string): Option {
  const collect = (text: string, previous: string[] = []): string[] => [...previous, text]
  return new Option(flags, description).argParser(collect)
}

function addOptions(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option)
  return command
}

/** What every command has. */
export function addOutputOptions(command: Command): Command {
  return addOptions(command, [
    valueOption('--config <FILE>', 'configuration (default: ~/.config/oss-spool/config.json)'),
    new Option('--json', 'the result as JSON, one object a line'),
    new Option('--quiet', 'no progress and no notices; errors only'),
    new Option('--debug', 'requests and stack traces on standard error'),
  ])
}

/** What every command that looks into the spool has. */
export function addSpoolOptions(command: Command): Command {
  const description = 'spool directory (default: $OSS_SPOOL_DIR, else the XDG state directory)'
  return addOptions(addOutputOptions(command), [valueOption('--spool <DIR>', description)])
}

/** What every command that talks to OSS has. */
export function addConnectionOptions(command: Command): Command {
  return addOptions(addSpoolOptions(command), [
    valueOption(
      '--local [DIR]',
      'an embedded OSS over DIR (default: ./oss-data); no credentials needed',
    ),
    valueOption('--endpoint <URL>', 'endpoint of OSS (default: the public one of the region)'),
    valueOption('--region <REGION>', 'region, such as cn-hangzhou'),
    new Option('--internal', "the region's internal endpoint"),
    new Option('--cname', "the endpoint is the bucket's own domain"),
  ])
}

/** How bytes are sent. */
function sendingOptions(): Option[] {
  return [
    valueOption('--parallel <N>', 'parts in flight per upload (default: 5)', parseCount),
    valueOption(
      '--retries <N>',
      'attempts per part after the source has ended (default: 5)',
      parseCount,
    ),
    valueOption('--max-rate <SIZE>', 'bytes per second to send at most, such as 500KB', parseRate),
  ]
}

/** How bytes are spooled. */
function spoolingOptions(): Option[] {
  return [
    valueOption('--part-size <SIZE>', 'size of the first parts (default: 8MiB)', parseSize),
    valueOption(
      '--max-spool <SIZE>',
      'bytes on the disk until the source waits (default: all of them)',
      parseSize,
    ),
  ]
}

/** How bytes are sent, and how that is shown. */
export function addTransferOptions(command: Command): Command {
  return addOptions(addConnectionOptions(command), [
    ...sendingOptions(),
    choiceOption('--progress <HOW>', 'auto: what suits standard error; json: lines for programs', [
      'auto',
      'json',
    ]),
  ])
}

/** What an object is like, and what its bytes must be. */
export function addUploadOptions(command: Command): Command {
  return addOptions(addTransferOptions(command), [
    valueOption('--id <ID>', 'name of the upload (default: made from endpoint, bucket and key)'),
    ...spoolingOptions(),
    valueOption(
      '--size <SIZE>',
      'bytes of the whole stream, if known: planned for and checked',
      parseSize,
    ),
    valueOption('--expect-bytes <SIZE>', 'publish nothing unless it has so many bytes', parseSize),
    valueOption('--expect-md5 <HEX>', 'publish nothing unless this is its MD5', digestParser(32)),
    valueOption(
      '--expect-sha256 <HEX>',
      'publish nothing unless this is its SHA-256',
      digestParser(64),
    ),
    new Option('--once', 'leave a receipt: the same id again touches nothing'),
    new Option('--no-overwrite', 'never replace an object'),
    repeatableOption('--meta <K=V>', 'user metadata; may be repeated'),
    repeatableOption('--header <K=V>', 'any other header; may be repeated'),
    valueOption('--content-type <TYPE>', 'default: by the extension of the key'),
    valueOption('--storage-class <CLASS>', 'Standard, IA, Archive, ColdArchive or DeepColdArchive'),
  ])
}

/** What a worker of a fleet is: its queue, its place in the fleet, and how it sends. */
export function addWorkerOptions(command: Command): Command {
  return addOptions(addConnectionOptions(command), [
    valueOption('--redis <URL>', 'Redis, without its password (default: $REDIS_URL, with it)'),
    valueOption('--sources <FILE>', 'module whose functions make the bytes').makeOptionMandatory(),
    valueOption('--bucket <BUCKET>', 'where the objects go (default: $OSS_BUCKET)'),
    valueOption('--concurrency <N>', 'jobs at a time (default: 4)', parseCount),
    valueOption('--queue <NAME>', 'name of the queue (default: oss-spool)'),
    valueOption('--host <NAME>', 'name of this machine in the fleet (default: its host name)'),
    valueOption(
      '--health <[HOST:]PORT>',
      'answer GET /healthz there; on 127.0.0.1 alone',
      parseAddress,
    ),
    valueOption('--fleet-rate <SIZE>', 'bytes per second of all workers together', parseRate),
    ...sendingOptions(),
    ...spoolingOptions(),
    durationOption('--host-timeout <TIME>', 'silence after which a host is gone (default: 15m)'),
    durationOption('--host-queue-timeout <TIME>', 'a job waits so long for its host (default: 1m)'),
    durationOption('--lock-timeout <TIME>', 'jobs of a silent worker are free then (default: 30s)'),
  ])
}

export function durationOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseDuration)
}

export function countOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseCount)
}

/** Ends a command's help with commands as people really type them. */
export function addExamples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map(line => `  ${line}\n`).join('')}`)
}
