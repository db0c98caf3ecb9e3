/**
 * Options as all commands declare them. One that takes a value is refused when it is given twice:
 * of two ids, the last one is not more likely to be meant than the first.
 */
import { Command, InvalidArgumentError, Option } from 'commander'
import {
  parseAddress,
  parseCount,
  parseDigest,
  parsePeriod,
  parseRate,
  parseSize,
} from './quantities.js'

/** An option with one value. */
export function single(flags: string, about: string, parse = (text: string): unknown => text) {
  return new Option(flags, about).argParser((text: string, before: unknown) => {
    if (before !== undefined) throw new InvalidArgumentError('It is given twice.')
    return parse(text)
  })
}

/** An option with one of a few words. */
export function choice(flags: string, about: string, words: readonly string[]): Option {
  const option = single(flags, about, text => {
    if (words.includes(text)) return text
    throw new InvalidArgumentError(`Expected ${words.join(', ')}, got "${text}".`)
  })
  option.argChoices = [...words]
  return option
}

function several(flags: string, about: string): Option {
  const collect = (text: string, before: string[] = []): string[] => [...before, text]
  return new Option(flags, about).argParser(collect)
}

function add(command: Command, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option)
  return command
}

/** What every command has. */
export function outputOptions(command: Command): Command {
  return add(command, [
    single('--config <FILE>', 'configuration (default: ~/.config/oss-spool/config.json)'),
    new Option('--json', 'the result as JSON, one object a line'),
    new Option('--quiet', 'no progress and no notices; errors only'),
    new Option('--debug', 'requests and stack traces on standard error'),
  ])
}

/** What every command that looks into the spool has. */
export function spoolOptions(command: Command): Command {
  const about = 'spool directory (default: $OSS_SPOOL_DIR, else the XDG state directory)'
  return add(outputOptions(command), [single('--spool <DIR>', about)])
}

/** What every command that talks to OSS has. */
export function connectionOptions(command: Command): Command {
  return add(spoolOptions(command), [
    single(
      '--local [DIR]',
      'an embedded OSS over DIR (default: ./oss-data); no credentials needed',
    ),
    single('--endpoint <URL>', 'endpoint of OSS (default: the public one of the region)'),
    single('--region <REGION>', 'region, such as cn-hangzhou'),
    new Option('--internal', "the region's internal endpoint"),
    new Option('--cname', "the endpoint is the bucket's own domain"),
  ])
}

/** How bytes are sent. */
function sending(): Option[] {
  return [
    single('--parallel <N>', 'parts in flight per upload (default: 5)', parseCount),
    single(
      '--retries <N>',
      'attempts per part after the source has ended (default: 5)',
      parseCount,
    ),
    single('--max-rate <SIZE>', 'bytes per second to send at most, such as 500KB', parseRate),
  ]
}

/** How bytes are spooled. */
function spooling(): Option[] {
  return [
    single('--part-size <SIZE>', 'size of the first parts (default: 8MiB)', parseSize),
    single(
      '--max-spool <SIZE>',
      'bytes on the disk until the source waits (default: all of them)',
      parseSize,
    ),
  ]
}

/** How bytes are sent, and how that is shown. */
export function transferOptions(command: Command): Command {
  return add(connectionOptions(command), [
    ...sending(),
    choice('--progress <HOW>', 'auto: what suits standard error; json: lines for programs', [
      'auto',
      'json',
    ]),
  ])
}

/** What an object is like, and what its bytes must be. */
export function uploadOptions(command: Command): Command {
  return add(transferOptions(command), [
    single('--id <ID>', 'name of the upload (default: made from endpoint, bucket and key)'),
    ...spooling(),
    single(
      '--size <SIZE>',
      'bytes of the whole stream, if known: planned for and checked',
      parseSize,
    ),
    single('--expect-bytes <SIZE>', 'publish nothing unless it has so many bytes', parseSize),
    single('--expect-md5 <HEX>', 'publish nothing unless this is its MD5', parseDigest(32)),
    single('--expect-sha256 <HEX>', 'publish nothing unless this is its SHA-256', parseDigest(64)),
    new Option('--once', 'leave a receipt: the same id again touches nothing'),
    new Option('--no-overwrite', 'never replace an object'),
    several('--meta <K=V>', 'user metadata; may be repeated'),
    several('--header <K=V>', 'any other header; may be repeated'),
    single('--content-type <TYPE>', 'default: by the extension of the key'),
    single('--storage-class <CLASS>', 'Standard, IA, Archive, ColdArchive or DeepColdArchive'),
  ])
}

/** What a worker of a fleet is: its queue, its place in the fleet, and how it sends. */
export function workerOptions(command: Command): Command {
  return add(connectionOptions(command), [
    single('--redis <URL>', 'Redis, without its password (default: $REDIS_URL, with it)'),
    single('--sources <FILE>', 'module whose functions make the bytes').makeOptionMandatory(),
    single('--bucket <BUCKET>', 'where the objects go (default: $OSS_BUCKET)'),
    single('--concurrency <N>', 'jobs at a time (default: 4)', parseCount),
    single('--queue <NAME>', 'name of the queue (default: oss-spool)'),
    single('--host <NAME>', 'name of this machine in the fleet (default: its host name)'),
    single('--health <[HOST:]PORT>', 'answer GET /healthz there; on 127.0.0.1 alone', parseAddress),
    single('--fleet-rate <SIZE>', 'bytes per second of all workers together', parseRate),
    ...sending(),
    ...spooling(),
    periodOption('--host-timeout <TIME>', 'silence after which a host is gone (default: 15m)'),
    periodOption('--host-queue-timeout <TIME>', 'a job waits so long for its host (default: 1m)'),
    periodOption('--lock-timeout <TIME>', 'jobs of a silent worker are free then (default: 30s)'),
  ])
}

export function periodOption(flags: string, about: string): Option {
  return single(flags, about, parsePeriod)
}

export function countOption(flags: string, about: string): Option {
  return single(flags, about, parseCount)
}

/** Ends a command's help with commands as people really type them. */
export function examples(command: Command, lines: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${lines.map(line => `  ${line}\n`).join('')}`)
}
