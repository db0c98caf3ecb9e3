/**
 * The command line: what can be said, and nothing of how it is done. A command's module is loaded
 * when it is called, so that `--version` and `ls` need neither `ali-oss` nor the emulator.
 */
import { readFileSync } from 'node:fs'
import { Command, CommanderError, Option } from 'commander'
import type { AbortOptions } from './commands/abort.js'
import type { EmulatorOptions } from './commands/emulator.js'
import type { LsOptions } from './commands/ls.js'
import type { PruneOptions } from './commands/prune.js'
import type { PutOptions } from './commands/put.js'
import type { ResumeOptions } from './commands/resume.js'
import { DEFAULT_LOCAL } from './connection.js'
import { EXIT_USAGE } from './exit-status.js'
import { parseCount, parseDigest, parsePeriod, parseRate, parseSize } from './quantities.js'
import { reportError } from './report.js'
import { Session, type Io } from './session.js'

/** Runs one command; resolves to the exit status and never rejects. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const session = new Session(io)
  let status = 0
  const program = build(session, async run => {
    status = await run()
  })
  const args = spellOutLocal(argv)
  try {
    await program.parseAsync(args, { from: 'user' })
    return session.interruptedStatus() ?? status
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE
    const flags = { json: args.includes('--json'), debug: args.includes('--debug') }
    const failed = reportError(io, error, flags)
    return session.interruptedStatus() ?? failed
  } finally {
    await session.close()
  }
}

type Run = (command: () => Promise<number>) => Promise<void>

function build(session: Session, run: Run): Command {
  const { io } = session
  const program = new Command('oss-spool')
    .description('Streams into Alibaba Cloud OSS that survive failure.')
    .version(version(), '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: text => void io.stdout.write(text),
      writeErr: text => void io.stderr.write(text),
    })

  uploadOptions(common(program.command('put'), true))
    .description('upload a file or standard input')
    .argument('<oss://BUCKET/KEY>')
    .argument('[FILE]', '- or nothing: standard input', '-')
    .action((target: string, file: string, options: PutOptions) =>
      run(async () => (await import('./commands/put.js')).put(session, target, file, options)),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  pg_dump mydb | gzip | oss-spool put oss://backups/mydb.sql.gz\n  oss-spool put --local oss://demo/report.csv report.csv',
    )

  common(program.command('ls'), false)
    .description('list the unfinished uploads')
    .option('--all', 'of all endpoints, not only of the configured one')
    .action((options: LsOptions) =>
      run(async () => (await import('./commands/ls.js')).ls(session, options)),
    )

  common(program.command('resume'), true)
    .description('finish sealed uploads, without their sources')
    .argument('[ID...]')
    .option('--all', 'every sealed upload of this endpoint')
    .option('--force', 'publish over an object that someone else wrote')
    .option('--parallel <N>', 'parts in flight', parseCount)
    .option('--retries <N>', 'attempts per part', parseCount)
    .option('--max-rate <SIZE>', 'bytes per second to send at most, such as 500KB', parseRate)
    .action((ids: string[], options: ResumeOptions) =>
      run(async () => (await import('./commands/resume.js')).resume(session, ids, options)),
    )

  common(program.command('abort'), true)
    .description('give uploads up, here and on OSS')
    .argument('[ID...]')
    .option('--all', 'every unfinished upload of this endpoint')
    .option('--yes', 'do not ask')
    .action((ids: string[], options: AbortOptions) =>
      run(async () => (await import('./commands/abort.js')).abort(session, ids, options)),
    )

  common(program.command('prune'), true)
    .description('remove what nobody came back for')
    .option('--older-than <TIME>', 'only what was idle for so long', parsePeriod, parsePeriod('7d'))
    .option('--sealed', 'sealed uploads, too: their bytes are lost')
    .option('--orphans', 'upload ids on OSS that lost answers left behind')
    .option('--dry-run', 'remove nothing, say what would be removed')
    .option('--yes', 'do not ask')
    .action((options: PruneOptions) =>
      run(async () => (await import('./commands/prune.js')).prune(session, options)),
    )

  program
    .command('emulator')
    .description('a local OSS')
    .option('--dir <DIR>', 'where buckets and objects are kept', './oss-data')
    .option('--port <N>', 'port; 0 takes a free one', parseCount, 0)
    .option('--host <H>', 'address to listen on', '127.0.0.1')
    .action((options: EmulatorOptions) =>
      run(async () => (await import('./commands/emulator.js')).emulator(session, options)),
    )
  return program
}

/** Options that every command on the spool has; `connects`: it talks to OSS. */
function common(command: Command, connects: boolean): Command {
  command
    .option(
      '--spool <DIR>',
      'spool directory (default: $OSS_SPOOL_DIR, else the XDG state directory)',
    )
    .option('--json', 'machine-readable result on standard output')
    .option('--quiet', 'no progress')
    .option('--debug', 'stack traces')
    .addOption(new Option('--local [DIR]', 'an embedded OSS over DIR (default: ./oss-data)'))
    .option('--endpoint <URL>', 'endpoint of OSS')
    .option('--region <REGION>', 'region, such as cn-hangzhou')
    .option('--internal', "the region's internal endpoint")
  return connects ? command.option('--cname', "the endpoint is the bucket's own domain") : command
}

function uploadOptions(command: Command): Command {
  const collect = (value: string, all: string[] = []): string[] => [...all, value]
  return command
    .option('--id <ID>', 'name of the upload (default: made from bucket and key)')
    .option('--part-size <SIZE>', 'size of the first parts, such as 8MiB', parseSize)
    .option('--parallel <N>', 'parts in flight', parseCount)
    .option('--size <SIZE>', 'bytes of the whole stream, if known', parseSize)
    .option(
      '--expect-bytes <SIZE>',
      'publish nothing unless the stream has so many bytes',
      parseSize,
    )
    .option('--expect-md5 <HEX>', 'publish nothing unless this is its MD5', parseDigest(32))
    .option('--expect-sha256 <HEX>', 'publish nothing unless this is its SHA-256', parseDigest(64))
    .option('--no-overwrite', 'never replace an object')
    .option('--meta <K=V>', 'user metadata; may be repeated', collect)
    .option('--header <K=V>', 'any other header; may be repeated', collect)
    .option('--content-type <TYPE>', 'default: by the extension of the key')
    .option('--storage-class <CLASS>', 'Standard, IA, Archive, ColdArchive or DeepColdArchive')
    .option('--retries <N>', 'attempts per part after the source has ended', parseCount)
    .option('--max-rate <SIZE>', 'bytes per second to send at most, such as 500KB', parseRate)
}

/** `--local[=DIR]`: its value is never the next argument, which may be the object. */
function spellOutLocal(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  return argv.map((arg, i) =>
    arg === '--local' && (end < 0 || i < end) ? `--local=${DEFAULT_LOCAL}` : arg,
  )
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version // our own package.json
}
