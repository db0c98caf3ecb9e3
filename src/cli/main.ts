/**
 * The command line. Each command describes itself in its own module, of which only the one that is
 * called is loaded; what it works with is loaded when it works.
 */
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { EXIT_DONE, EXIT_USAGE, UsageError } from './exit-status.js'
import { reportError } from './report.js'
import { Session, type Io } from './session.js'

type Define = (program: Command, session: Session) => void

/** In the order of the help. */
const COMMANDS: ReadonlyMap<string, () => Promise<Define>> = new Map([
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
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const session = new Session(io)
  const args = spellOutLocal(argv)
  try {
    const program = await build(session, args[0])
    await program.parseAsync(withoutStrangeValues(args, program), { from: 'user' })
  } catch (error) {
    session.status = fail(session, error, args)
  }
  await session.close()
  return session.exitStatus()
}

/** The program with the one command that is called, or with all of them. */
async function build(session: Session, name: string | undefined): Promise<Command> {
  const { stdout, stderr } = session.io
  const program = new Command('oss-spool')
    .description('Streams into Alibaba Cloud OSS that survive failure.')
    .version(version(), '-V, --version')
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
  const called = name === 'completion' ? undefined : COMMANDS.get(name ?? '')
  const loading = called === undefined ? [...COMMANDS.values()] : [called]
  for (const define of await Promise.all(loading.map(load => load()))) define(program, session)
  return program
}

/** What went wrong outside of any upload. Help and version are "errors" of commander's, too. */
function fail(session: Session, error: unknown, args: readonly string[]): number {
  const about = { command: COMMANDS.has(args[0] ?? '') ? `oss-spool ${args[0]}` : 'oss-spool' }
  const end = args.indexOf('--')
  const own = end < 0 ? args : args.slice(0, end)
  const flags = { json: own.includes('--json'), debug: own.includes('--debug') }
  if (!(error instanceof CommanderError)) return reportError(session, error, flags, about)
  if (error.exitCode === 0) return EXIT_DONE
  if (error.code === 'commander.help') return EXIT_USAGE // help is what it showed
  // What follows the letter of an option that is none may be a secret, as behind `-k` of ossutil.
  const message = error.message.replace(/^error: /, '').replace(/'(-[^-])[^']*'/s, "'$1'")
  return reportError(session, new UsageError(message), flags, about)
}

/** `--local[=DIR]`: its value is never the next argument, which may be the object. */
function spellOutLocal(argv: readonly string[]): string[] {
  const end = argv.indexOf('--')
  return argv.map((arg, i) =>
    arg === '--local' && (end < 0 || i < end) ? `--local=${DEFAULT_LOCAL}` : arg,
  )
}

/** `--partsize=8MiB` → `--partsize`: what is no option is to be found by its name alone. */
function withoutStrangeValues(args: readonly string[], program: Command): string[] {
  const all = program.commands.flatMap(command => [command, ...command.commands])
  const known = new Set(all.flatMap(({ options }) => options.map(({ long }) => long)))
  const end = args.indexOf('--')
  return args.map((arg, i) => {
    const name = /^(--[^=]+)=/s.exec(arg)?.[1]
    return name === undefined || known.has(name) || (end >= 0 && i > end) ? arg : name
  })
}

const DEFAULT_LOCAL = './oss-data'

function version(): string {
  return String(createRequire(import.meta.url)('oss-spool/package.json').version)
}
