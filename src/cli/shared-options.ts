/**
 * Option definitions shared by the commands. An option with a value is rejected if it is given twice, because
 * the last of two ids is no more likely to be intended than the first.
 */
import { Command, InvalidArgumentError, Option } from 'commander'
import { ACLS, STORAGE_CLASSES } from '../oss/object-headers.js'
import {
  parseAddress,
  parseCount,
  digestParser,
  parseDuration,
  parseRate,
  parseSize,
} from './units.js'

/** Description of the argument `ID`. */
export const ID_DESCRIPTION =
  'id of the upload, the start of one, or the URL of its object, oss://BUCKET/KEY'

/** Creates an option with one value. */
export function valueOption(
  flags: string,
  description: string,
  parse = (text: string): unknown => text,
) {
  return new Option(flags, description).argParser((text: string, previous: unknown) => {
    if (previous !== undefined) throw new InvalidArgumentError('The option was given twice.')
    return parse(text)
  })
}

/** Creates an option with a fixed set of values. */
export function choiceOption(
  flags: string,
  description: string,
  choices: readonly string[],
): Option {
  const option = valueOption(flags, description, text => {
    if (choices.includes(text)) return text
    throw new InvalidArgumentError(`Expected one of ${choices.join(', ')}, got "${text}".`)
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

/** Adds the options of every command. */
export function addOutputOptions(command: Command): Command {
  return addOptions(command, [
    valueOption('--config <FILE>', 'configuration file (default: ~/.config/oss-spool/config.json)'),
    new Option('--json', 'print results as JSON, one object per line'),
    new Option('--quiet', 'print no progress or notices, only results, warnings and errors'),
    new Option('--debug', 'print requests and stack traces to standard error'),
  ])
}

/** Adds the options of every command that reads the spool. */
export function addSpoolOptions(command: Command): Command {
  const description = 'spool directory (default: $OSS_SPOOL_DIR, otherwise the XDG state directory)'
  return addOptions(addOutputOptions(command), [valueOption('--spool <DIR>', description)])
}

/** Adds the options of every command that connects to OSS. */
export function addConnectionOptions(command: Command): Command {
  return addOptions(addSpoolOptions(command), [
    valueOption(
      '--local [DIR]',
      'use an embedded OSS that stores objects in DIR (default: ./oss-data); needs no credentials',
    ),
    valueOption('--endpoint <URL>', "endpoint of OSS (default: the region's public endpoint)"),
    valueOption('--region <REGION>', 'region, such as cn-hangzhou'),
    new Option('--internal', "use the region's internal endpoint"),
    new Option('--cname', 'the endpoint is a custom domain of the bucket'),
    new Option('--request-payer', "pay for the requests to someone else's bucket"),
  ])
}

/** Creates the options for sending. */
function sendingOptions(): Option[] {
  return [
    valueOption('--parallel <N>', 'parts in flight per upload (default: 5)', parseCount),
    valueOption(
      '--retries <N>',
      'attempts per part after the source has ended (default: 5)',
      parseCount,
    ),
    valueOption(
      '--max-rate <SIZE>',
      'send at most this many bytes per second, such as 500KB',
      parseRate,
    ),
  ]
}

/** Creates the options for spooling. */
function spoolingOptions(): Option[] {
  return [
    valueOption('--part-size <SIZE>', 'size of the first parts (default: 8MiB)', parseSize),
    valueOption(
      '--max-spool <SIZE>',
      'pause the source when this much is spooled (default: no limit)',
      parseSize,
    ),
  ]
}

/** Adds the options for sending and for progress. */
export function addTransferOptions(command: Command): Command {
  return addOptions(addConnectionOptions(command), [
    ...sendingOptions(),
    choiceOption(
      '--progress <HOW>',
      'auto: bar on a terminal, plain lines otherwise; json: one JSON object per line',
      ['auto', 'json'],
    ),
  ])
}

/** Adds the options of `put` and `run`: properties of the object, and the expected bytes. */
export function addUploadOptions(command: Command): Command {
  return addOptions(addTransferOptions(command), [
    valueOption('--id <ID>', 'id of the upload (default: derived from endpoint, bucket and key)'),
    ...spoolingOptions(),
    valueOption(
      '--size <SIZE>',
      'size of the whole stream, if known; used to plan the parts, and verified',
      parseSize,
    ),
    valueOption('--expect-bytes <SIZE>', 'publish only if the stream has this size', parseSize),
    valueOption('--expect-md5 <HEX>', 'publish only if the stream has this MD5', digestParser(32)),
    valueOption(
      '--expect-sha256 <HEX>',
      'publish only if the stream has this SHA-256',
      digestParser(64),
    ),
    valueOption(
      '--expect-crc64 <DECIMAL>',
      'publish only if the stream has this CRC64, as results print it',
    ),
    new Option('--once', 'keep a receipt, so that a rerun with the same id does nothing'),
    new Option('--no-overwrite', 'never replace an existing object'),
    repeatableOption('--meta <K=V>', 'user metadata (repeatable)'),
    repeatableOption('--header <K=V>', 'any other object header (repeatable)'),
    valueOption(
      '--content-type <TYPE>',
      'content type (default: derived from the extension of the key)',
    ),
    choiceOption(
      '--storage-class <CLASS>',
      `${STORAGE_CLASSES.join(', ')} (default: that of the bucket)`,
      STORAGE_CLASSES,
    ),
    choiceOption('--acl <ACL>', `${ACLS.join(', ')} (default: that of the bucket)`, ACLS),
    repeatableOption('--tag <K=V>', 'tag of the object (repeatable)'),
  ])
}

/** Adds the options of a worker: its queue, its host in the fleet, and how it sends. */
export function addWorkerOptions(command: Command): Command {
  return addOptions(addConnectionOptions(command), [
    valueOption(
      '--redis <URL>',
      'Redis URL without a password (default: $REDIS_URL, which may contain one)',
    ),
    valueOption(
      '--sources <FILE>',
      'module whose functions produce the bytes of objects',
    ).makeOptionMandatory(),
    valueOption('--bucket <BUCKET>', 'bucket of the objects (default: $OSS_BUCKET)'),
    valueOption('--concurrency <N>', 'jobs processed concurrently (default: 4)', parseCount),
    valueOption('--queue <NAME>', 'name of the queue (default: oss-spool)'),
    valueOption('--host <NAME>', 'name of this machine in the fleet (default: its host name)'),
    valueOption(
      '--health <[HOST:]PORT>',
      'serve GET /healthz on this address (default host: 127.0.0.1)',
      parseAddress,
    ),
    valueOption(
      '--fleet-rate <SIZE>',
      'send at most this many bytes per second, over all workers',
      parseRate,
    ),
    ...sendingOptions(),
    ...spoolingOptions(),
    durationOption(
      '--host-timeout <TIME>',
      'consider a host dead after this long without a heartbeat (default: 15m)',
    ),
    durationOption(
      '--host-queue-timeout <TIME>',
      'how long a job waits for its host (default: 1m)',
    ),
    durationOption(
      '--lock-timeout <TIME>',
      "release a worker's jobs after this long without a heartbeat (default: 30s)",
    ),
  ])
}

export function durationOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseDuration)
}

export function countOption(flags: string, description: string): Option {
  return valueOption(flags, description, parseCount)
}

/** Appends realistic examples to the help of a command. */
export function addExamples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map(line => `  ${line}\n`).join('')}`)
}
