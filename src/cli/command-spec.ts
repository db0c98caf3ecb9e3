/** Machine-readable description of the commands, for completion scripts. */
import type { Command, Option } from 'commander'

export interface OptionSpec {
  /** Long flag, such as `--part-size`. */
  readonly flag: string
  readonly description: string
  readonly takesValue: boolean
  /** Allowed values, if they are fixed. */
  readonly choices: readonly string[]
  /** Whether the value is a file or a directory. */
  readonly takesPath: boolean
}

export interface CommandSpec {
  readonly name: string
  readonly description: string
  readonly options: readonly OptionSpec[]
  /** Arguments: subcommands, fixed words, upload ids or files. */
  readonly operands: {
    readonly choices: readonly string[]
    readonly takesIds: boolean
    readonly takesFiles: boolean
    /** Whether another command and its arguments follow `--`. */
    readonly takesCommand: boolean
  }
}

export function commandSpecsOf(program: Command): CommandSpec[] {
  return program.commands.map(command => {
    const argumentNames = command.registeredArguments.map(argument => argument.name())
    const subcommands = command.commands
    const commandsWithOptions = subcommands.length === 0 ? [command] : subcommands
    return {
      name: command.name(),
      description: command.description(),
      options: uniqueOptions(commandsWithOptions),
      operands: {
        choices:
          subcommands.length > 0
            ? subcommands.map(each => each.name())
            : shellChoices(argumentNames),
        takesIds: argumentNames.some(name => name.startsWith('ID')),
        takesFiles: argumentNames.includes('FILE'),
        takesCommand: argumentNames.includes('CMD'),
      },
    }
  })
}

/** Returns the options of commands, once per flag. */
function uniqueOptions(commands: readonly Command[]): OptionSpec[] {
  const options = commands.flatMap(each => each.options.map(toOptionSpec))
  return [...new Map(options.map(option => [option.flag, option])).values()]
}

function shellChoices(argumentNames: readonly string[]): string[] {
  return argumentNames.includes('SHELL') ? ['bash', 'zsh', 'fish'] : []
}

function toOptionSpec(option: Option): OptionSpec {
  const { long, flags, description, argChoices } = option
  return {
    flag: long ?? flags,
    description,
    takesValue: option.required,
    choices: argChoices ?? [],
    takesPath: /<(DIR|FILE)>/.test(flags),
  }
}
