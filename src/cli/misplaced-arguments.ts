/**
 * Explains arguments that would be misread, before any work and with the corrected command: a directory after
 * `--local`, a level after `--gzip` or `--zstd`, a command of `run` without `--`, and a pipeline as one argument.
 */
import { existsSync, type Stats } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { statsOf } from './file-stats.js'
import { UsageError } from './exit-status.js'
import { isExecutable } from './executable.js'
import { shellQuoted } from './command-words.js'

/**
 * Checks the arguments of the called command.
 * @param args – the command's name and its arguments, as given
 * @param path – the value of `PATH`
 * @throws UsageError with the corrected command
 */
export function checkArgumentPlaces(args: readonly string[], program: Command, path = ''): void {
  const command = program.commands.find(each => each.name() === args[0])
  if (command === undefined || command.commands.length > 0 || asksForHelp(args)) return
  const attached = attachValue(args, command)
  const fixed = command.name() === 'run' ? separateCommand(attached.args, command, path) : undefined
  const problem = attached.problem ?? fixed?.problem
  if (problem === undefined) return
  const corrected = ['oss-spool', ...redactSecrets(fixed?.args ?? attached.args)]
  const commandText = corrected.map(word => (word === OMITTED ? word : shellQuoted(word))).join(' ')
  throw new UsageError(problem, { hint: `Nothing was read or published. Run "${commandText}".` })
}

interface CorrectedArgs {
  readonly args: readonly string[]
  /** What was wrong with the arguments, if anything. */
  readonly problem?: string
}

/** Stands for words that may contain a secret. */
const OMITTED = '...'

function asksForHelp(args: readonly string[]): boolean {
  const separatorIndex = args.indexOf('--')
  const ownArgs = separatorIndex < 0 ? args : args.slice(0, separatorIndex)
  return ownArgs.includes('--help') || ownArgs.includes('-h')
}

/** Yields the indices of the operands: up to `--`, or to an option that the command does not have. */
function* operandIndices(args: readonly string[], { options }: Command): Generator<number> {
  for (let i = 1; i < args.length; i++) {
    const arg = args[i] ?? ''
    if (arg === '--') return
    if (/^-./.test(arg)) {
      const option = options.find(({ long }) => long === arg.replace(/=.*$/s, ''))
      if (option === undefined) return
      if (option.required && !arg.includes('=')) i++
    } else {
      yield i
    }
  }
}

/**
 * Writes the directory after a bare `--local`, which would be read as an operand, as `--local=DIR`, and the level after
 * a bare `--gzip` or `--zstd` likewise.
 */
function attachValue(args: readonly string[], command: Command): CorrectedArgs {
  let position = 0
  for (const index of operandIndices(args, command)) {
    const value = args[index] ?? ''
    const flag = args[index - 1] ?? ''
    const isMisplaced =
      flag === '--local'
        ? !isOperand(value, position, args, command)
        : /^--(gzip|zstd)$/.test(flag) && /^\d{1,2}$/.test(value) && !isFile(value)
    if (isMisplaced) {
      const noun = flag === '--local' ? 'directory' : 'level'
      return {
        args: args.toSpliced(index - 1, 2, `${flag}=${value}`),
        problem: `${flag} takes its ${noun} in the same argument, as in ${flag}=${value}`,
      }
    }
    position++
  }
  return { args }
}

/** Returns whether an argument after a bare `--local` is an operand of the command. */
function isOperand(
  argument: string,
  position: number,
  args: readonly string[],
  { registeredArguments }: Command,
): boolean {
  const name = registeredArguments[Math.min(position, registeredArguments.length - 1)]?.name()
  if (argument.startsWith('oss://')) return true
  switch (name) {
    case 'FILE':
      return argument === '-' || isFile(argument) || /[*?[{]/.test(argument)
    case 'CMD':
      return !args.includes('--') && (argument.includes('/') ? isFile : isNoDirectory)(argument)
    case 'ID':
      // In the spool directory, each id is also the name of a directory.
      return !/[/~]|^\./.test(argument) && (isNoDirectory(argument) || isUpload(argument))
    default: // an oss:// URL, or no operand at all
      return false
  }
}

/** Inserts the `--` before the command of `run`, or passes a pipeline to `--shell`. */
function separateCommand(args: readonly string[], command: Command, path: string): CorrectedArgs {
  const [, commandIndex] = operandIndices(args, command)
  const separatorIndex = args.indexOf('--')
  const end = commandIndex ?? (separatorIndex < 0 ? args.length : separatorIndex)
  const ownArgs = args.slice(0, end)
  if (ownArgs.some(isShellOption)) return { args }
  const commandLine = args.slice(commandIndex ?? end + 1)
  const [line = ''] = commandLine
  if (commandLine.length === 1 && isShellLine(line, path)) {
    const problem =
      'The command is one argument and not a program. A line for a shell needs --shell'
    return { args: ['run', '--shell', line, ...ownArgs.slice(1)], problem }
  }
  if (commandIndex === undefined) return { args }
  return { args: [...ownArgs, '--', ...commandLine], problem: 'Expected "--" before the command' }
}

/** Returns whether a command that is not found would be one or several commands for a shell. */
function isShellLine(line: string, path: string): boolean {
  if (isExecutable(line, path) || !isExecutable('bash', path)) return false
  const [firstWord = '', ...otherWords] = line.trim().split(/\s+/)
  return /[|;&<>]/.test(line) || (otherWords.length > 0 && isExecutable(firstWord, path))
}

/**
 * Omits the arguments of the command of `run`, or its shell line, if one of them may be a password. Our own
 * options never have one.
 */
function redactSecrets(args: readonly string[]): readonly string[] {
  const separatorIndex = args.indexOf('--')
  const ownEnd = separatorIndex < 0 ? args.length : separatorIndex + 2
  const ownArgs = args.slice(0, ownEnd).map((arg, i) => {
    const isShellLineArg = isShellOption(arg) || isShellOption(args[i - 1] ?? '')
    return isShellLineArg && arg.split(/\s+/).some(mayBeSecret) ? OMITTED : arg
  })
  const commandArgs = args.slice(ownEnd)
  return [...ownArgs, ...(commandArgs.some(mayBeSecret) ? [OMITTED] : commandArgs)]
}

function isShellOption(arg: string): boolean {
  return /^--shell(=|$)/.test(arg)
}

/** Matches `-pSECRET`, `-k`, `--password`, `TOKEN=...` and `https://user:password@host`. */
function mayBeSecret(word: string): boolean {
  return /^-p\D|^-[aku]$|pass|pwd|secret|token|key|credential|auth|:\/\/[^/]*@/i.test(word)
}

function isFile(path: string): boolean {
  return statsIfExists(path)?.isDirectory() === false
}

function isNoDirectory(path: string): boolean {
  return statsIfExists(path)?.isDirectory() !== true
}

function isUpload(directory: string): boolean {
  return existsSync(join(directory, 'checkpoint.json'))
}

function statsIfExists(path: string): Stats | undefined {
  try {
    return statsOf(path)
  } catch {
    return undefined
  }
}
