/** The command line's own description of itself, as completion needs it. */
import type { Command, Option } from 'commander'

export interface OptionWords {
  /** `--part-size` */
  readonly flag: string
  readonly about: string
  readonly takesValue: boolean
  /** The words it takes, if they are few. */
  readonly choices: readonly string[]
  /** Whether its value is a file or a directory. */
  readonly path: boolean
}

export interface CommandWords {
  readonly name: string
  readonly about: string
  readonly options: readonly OptionWords[]
  /** What follows it: names of further commands, words, ids of uploads, files. */
  readonly operands: {
    readonly words: readonly string[]
    readonly ids: boolean
    readonly files: boolean
  }
}

export function wordsOf(program: Command): CommandWords[] {
  return program.commands.map(command => {
    const names = command.registeredArguments.map(argument => argument.name())
    const nested = command.commands
    const own = nested.length === 0 ? [command] : nested
    return {
      name: command.name(),
      about: command.description(),
      options: own.flatMap(each => each.options.map(describe)),
      operands: {
        words: nested.length > 0 ? nested.map(each => each.name()) : shells(names),
        ids: names.some(name => name.startsWith('ID')),
        files: names.some(name => /FILE|CMD/.test(name)),
      },
    }
  })
}

function shells(names: readonly string[]): string[] {
  return names.includes('SHELL') ? ['bash', 'zsh', 'fish'] : []
}

function describe(option: Option): OptionWords {
  const { long, flags, description, argChoices } = option
  return {
    flag: long ?? flags,
    about: description,
    takesValue: option.required,
    choices: argChoices ?? [],
    path: /<(DIR|FILE)>/.test(flags),
  }
}
