/**
 * The command line. Each command describes itself in its own module, of which only the one that is
 * called is loaded; what it works with is loaded when it works.
 */
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { EXIT_SUCCESS, EXIT_USAGE, UsageError } from './exit-status.js'
import { reportError } from './report.js'
import { Session, type ProcessIo } from './session.js'

type DefineCommand = (program: Command, session: Session) => void

/** In the order of the help. */
const COMMAND_LOADERS: ReadonlyMap<string, () => Promise<DefineCommand>> = new Map([
  ['put', async () => (await import('./commands/put.js')).definePut],
  ['run', async () => (await import('./commands/run.js')).defineRun],
  ['ls', async () => (await import('./commands/ls.js')).defineLs],
  ['show', async () => (await import('./commands/show.js')).defineShow],
  ['resume', async () => (await import('./commands/resume.js')).defineResume],
  ['abort', async () => (await import('./commands/abort.js')).defineAbort],
  ['prune', async () => (await import('./commands/prune.js')).definePrune],
  ['worker', async () => (await import('./commands/worker.js')).defineWorker],
  ['doctor', async () => (await import('./commands/doctor.js')).defineDoctor],
  ['config', async () => (await import('./commands/config.js')).defineConfig],
  ['completion', async () => (await import('./commands/completion.js')).defineCompletion],
  ['emulator', async () => (await import('./commands/emulator.js')).defineEmulator],
])

/** Runs one command; resolves to the exit status and never rejects. */
export async function main(argv: readonly string[], io: ProcessIo): Promise<number> {
  const session = new Session(io)
  const args = expandLocalFlag(argv)
  try {
    const program = await buildProgram(session, args[0])
    await program.parseAsync(stripUnknownFlagValues(args, program), { from: 'user' })
  } catch (error) {
    session.commandStatus = reportFailure(session, error, args)
  }
  await session.close()
  return session.exitStatus()
}

/** The program with the one command that is called, or with all of them. */
async function buildProgram(session: Session, name: string | undefined): Promise<Command> {
  const { stdout, stderr } = session.io
  const program = new Command('oss-spool')
    .description('Streams into Alibaba Cloud OSS that survive failure.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: text => void stdout.write(text),
      writeErr: text => void stderr.write(text),
      getOutHelpWidth: () => (stdout.isTTY ? stdout.columns : 100),
      getErrHelpWidth: () => (stderr.isTTY ? stderr.columns : 100),
      outputError: () => {}, // `fail` says it
    })
    .addHelpText(
      'after',
      `
Examples:
  oss-spool run "oss://backups/mydb-$(date +%F).dump" -- pg_dump -Fc mydb
  tar c photos | zstd | oss-spool put oss://backups/photos.tar.zst
  oss-spool resume --all

Exit status: 0 done; 75 failed, "oss-spool resume" will finish it; 1 failed, nothing to
resume; 2 wrong usage; of run, the command's own; 130 or 143 after SIGINT or SIGTERM.`,
    )
  if (name === '--version' || name === '-V') return program
  const calledLoader = name === 'completion' ? undefined : COMMAND_LOADERS.get(name ?? '')
  const loaders = calledLoader === undefined ? [...COMMAND_LOADERS.values()] : [calledLoader]
  for (const define of await Promise.all(loaders.map(load => load()))) define(program, session)
  return program
}

/** What went wrong outside of any upload. Help and version are "errors" of commander's, too. */
function reportFailure(session: Session, error: unknown, args: readonly string[]): number {
  const context = {
    command: COMMAND_LOADERS.has(args[0] ?? '') ? `oss-spool ${args[0]}` : 'oss-spool',
  }
  const separatorIndex = args.indexOf('--')
  const ownArgs = separatorIndex < 0 ? args : args.slice(0, separatorIndex)
  const flags = { json: ownArgs.includes('--json'), debug: ownArgs.includes('--debug') }
  if (!(error instanceof CommanderError)) return reportError(session, error, flags, context)
  if (error.exitCode === 0) return EXIT_SUCCESS
  if (error.code === 'commander.help') return EXIT_USAGE // help is what it showed
  // What follows the letter of an option that is none may be a secret, as behind `-k` of ossutil.
  const message = error.message.replace(/^error: /, '').replace(/'(-[^-])[^']*'/s, "'$1'")
  return reportError(session, new UsageError(message), flags, context)
}

/** `--local[=DIR]`: its value is never the next argument, which may be the object. */
function expandLocalFlag(argv: readonly string[]): string[] {
  const separatorIndex = argv.indexOf('--')
  return argv.map((arg, i) =>
    arg === '--local' && (separatorIndex < 0 || i < separatorIndex)
      ? `--local=${DEFAULT_LOCAL_DIR}`
      : arg,
  )
}

/** `--partsize=8MiB` → `--partsize`: what is no option is to be found by its name alone. */
function stripUnknownFlagValues(args: readonly string[], program: Command): string[] {
  const commands = program.commands.flatMap(command => [command, ...command.commands])
  const knownFlags = new Set(commands.flatMap(({ options }) => options.map(({ long }) => long)))
  const separatorIndex = args.indexOf('--')
  return args.map((arg, i) => {
    const flag = /^(--[^=]+)=/s.exec(arg)?.[1]
    return flag === undefined || knownFlags.has(flag) || (separatorIndex >= 0 && i > separatorIndex)
      ? arg
      : flag
  })
}

const DEFAULT_LOCAL_DIR = './oss-data'

function packageVersion(): string {
  return String(createRequire(import.meta.url)('oss-spool/package.json').version)
}
