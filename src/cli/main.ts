/**
 * Main function of the command line. Each command is defined in a module of its own. Only the called
 * command's module is loaded, and its dependencies only when it runs.
 */
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { EXIT_SUCCESS, EXIT_USAGE, UsageError } from './exit-status.js'
import { HELP_LAYOUT } from './help-layout.js'
import { BARE_FLAG_VALUES, ownArguments, rawFlagValue } from './raw-flags.js'
import { Session, type ProcessIo } from './session.js'
import { hideLongWords } from '../util/secret-mask.js'

type DefineCommand = (program: Command, session: Session) => void

/** Commands in the order of the help. */
const COMMAND_LOADERS: ReadonlyMap<string, () => Promise<DefineCommand>> = new Map([
  ['put', async () => (await import('./commands/put.js')).definePut],
  ['run', async () => (await import('./commands/run.js')).defineRun],
  ['split', async () => (await import('./commands/split.js')).defineSplit],
  ['ls', async () => (await import('./commands/ls.js')).defineLs],
  ['show', async () => (await import('./commands/show.js')).defineShow],
  ['resume', async () => (await import('./commands/resume.js')).defineResume],
  ['abort', async () => (await import('./commands/abort.js')).defineAbort],
  ['prune', async () => (await import('./commands/prune.js')).definePrune],
  ['worker', async () => (await import('./commands/worker.js')).defineWorker],
  ['jobs', async () => (await import('./commands/jobs.js')).defineJobs],
  ['doctor', async () => (await import('./commands/doctor.js')).defineDoctor],
  ['config', async () => (await import('./commands/config.js')).defineConfig],
  ['completion', async () => (await import('./commands/completion.js')).defineCompletion],
  ['emulator', async () => (await import('./commands/emulator.js')).defineEmulator],
])

/** Runs one command. Resolves to the exit status and never rejects. */
export async function main(argv: readonly string[], io: ProcessIo): Promise<number> {
  const session = new Session(io)
  const args = expandBareFlags(argv)
  const logFormat = rawFlagValue(args, '--log-format') ?? io.env['OSS_SPOOL_LOG_FORMAT']
  if (logFormat === 'json') session.logFormat = logFormat // also for errors before the flags are parsed
  let program: Command | undefined
  try {
    program = await buildProgram(session, args[0])
    await checkPlaces(argv, program, io.env['PATH'])
    await program.parseAsync(stripUnknownFlagValues(args, program), { from: 'user' })
  } catch (error) {
    session.commandStatus = await reportFailure(session, error, args, program)
    if (!session.hasBegun && session.commandStatus !== EXIT_SUCCESS) {
      const command = program?.commands.find(each => each.name() === args[0])
      const { pingWrongUsage } = await import('./monitoring.js')
      await pingWrongUsage(session, command, args)
    }
  }
  return session.close()
}

/** Builds the program with only the called command, or with all commands. */
async function buildProgram(session: Session, name: string | undefined): Promise<Command> {
  const { stdout, stderr } = session.io
  const program = new Command('oss-spool')
    .description('Crash-safe, resumable streaming uploads to Alibaba Cloud OSS.')
    .version(packageVersion(), '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp(HELP_LAYOUT)
    .configureOutput({
      writeOut: text => void stdout.write(text),
      writeErr: text => {
        if (session.logFormat === 'text') stderr.write(text) // the help, if the command is missing
      },
      getOutHelpWidth: () => (stdout.isTTY ? stdout.columns : 100),
      getErrHelpWidth: () => (stderr.isTTY ? stderr.columns : 100),
      outputError: () => {}, // `reportFailure` prints it
    })
    .addHelpText(
      'after',
      `
Examples:
  oss-spool run "oss://backups/mydb-$(date +%F).dump" -- pg_dump -Fc mydb
  oss-spool put oss://site/photos/ 'photos/**/*.jpg'
  oss-spool resume --all

Environment: OSS_SPOOL_PART_SIZE=8MiB sets --part-size; 1 or 0 stands for an
option without a value. Each command's --help lists its variables. Flags only:
--id, --to, --force, --yes, --all, --shell, --live-check, --dir and --host of
emulator; of jobs: --source, --args, --priority, --delay, --attempts, --state,
--limit and --failed.

Exit status: 0 success; 75 failed, but "oss-spool resume" can finish it;
1 failed, nothing to resume; 2 wrong usage; with run, the status of the failed
command; 129, 130 or 143 after SIGHUP, SIGINT or SIGTERM.`,
    )
  program.hook('preAction', async (_program, command) => {
    const { settingsOf } = await import('./shared-options.js')
    session.useSettings(settingsOf(command))
  })
  if (name === '--version' || name === '-V') return program
  const calledLoader = name === 'completion' ? undefined : COMMAND_LOADERS.get(name ?? '')
  const loaders = calledLoader === undefined ? [...COMMAND_LOADERS.values()] : [calledLoader]
  for (const define of await Promise.all(loaders.map(load => load()))) define(program, session)
  return program
}

/** Reports a failure outside any upload. Commander also throws for `--help` and `--version`. */
async function reportFailure(
  session: Session,
  error: unknown,
  args: readonly string[],
  program: Command | undefined,
): Promise<number> {
  if (error instanceof CommanderError && error.exitCode === 0) return EXIT_SUCCESS
  const { reportError } = await import('./report.js')
  const context = { command: calledCommand(args, program) }
  const ownArgs = ownArguments(args)
  const flags = {
    json: session.isEnabled('json', ownArgs),
    debug: session.isEnabled('debug', ownArgs),
  }
  if (!(error instanceof CommanderError)) return reportError(session, error, flags, context)
  if (error.code === 'commander.help') {
    // Without a command, commander printed the help.
    return session.logFormat === 'text'
      ? EXIT_USAGE
      : reportError(session, new UsageError('Expected a command'), flags, context)
  }
  return reportError(session, new UsageError(commanderMessage(error)), flags, context)
}

/** Returns the called command with its subcommand, such as `oss-spool jobs add`. */
function calledCommand([name, subname]: readonly string[], program: Command | undefined): string {
  const command = program?.commands.find(each => each.name() === name)
  const subcommand = command?.commands.find(each => each.name() === subname)
  return ['oss-spool', command?.name(), subcommand?.name()].filter(Boolean).join(' ')
}

/** Returns the message without the arguments that commander quotes, which may be secrets in the wrong place. */
function commanderMessage(error: CommanderError): string {
  const message = error.message.replace(/^error: /, '')
  // Our parsers say what they got, and what they expected may be a long word.
  const own = message.replace(/^(option '[^']*') argument '.*' is invalid\. /s, '$1: ')
  if (own !== message) return own
  // As in `-kSECRET` of ossutil.
  return hideLongWords(message.replace(/'(-[^-])[^']*'/s, "'$1'"))
}

/**
 * Expands flags such as `--local` to `--local=DIR`, so that commander does not take the next argument (the object) as
 * their value.
 */
function expandBareFlags(argv: readonly string[]): string[] {
  const own = ownArguments(argv).map(arg => {
    const value = BARE_FLAG_VALUES.get(arg)
    return value === undefined ? arg : `${arg}=${value}`
  })
  return [...own, ...argv.slice(own.length)]
}

/** Explains misplaced arguments of the commands that can have any. @throws UsageError */
async function checkPlaces(
  argv: readonly string[],
  program: Command,
  path: string | undefined,
): Promise<void> {
  if (argv[0] !== 'run' && !argv.some(arg => BARE_FLAG_VALUES.has(arg))) return
  const { checkArgumentPlaces } = await import('./misplaced-arguments.js')
  checkArgumentPlaces(argv, program, path)
}

/** Strips the values of unknown flags, which may be secrets, so that errors name the flag only. */
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

function packageVersion(): string {
  return String(createRequire(import.meta.url)('oss-spool/package.json').version)
}
