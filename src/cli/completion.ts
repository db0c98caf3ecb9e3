/**
 * Generates completion scripts from the command definitions. The scripts get upload ids from `oss-spool ls`.
 */
import type { CommandSpec, OptionSpec } from './command-spec.js'

const LIST_IDS_COMMAND = `oss-spool ls --json 2>/dev/null | sed -n 's/^{"id":"\\([^"]*\\)".*/\\1/p'`

export function bashCompletion(commands: readonly CommandSpec[]): string {
  const commandCases = commands.map(({ name, options, operands }) => {
    const flags = ['--help', ...options.map(({ flag }) => flag)].join(' ')
    const operandChoices = [
      ...operands.choices,
      ...(operands.takesIds ? [`$(${LIST_IDS_COMMAND})`] : []),
    ].join(' ')
    return `    ${name})
      flags="${flags}"
      words="${operandChoices}"
      files=${operands.takesFiles ? 'yes' : ''}
      command=${operands.takesCommand ? 'yes' : ''}
      ;;`
  })
  const valueCases = uniqueValueOptions(commands).map(option => {
    if (option.choices.length > 0)
      return `    ${option.flag}) COMPREPLY=($(compgen -W "${option.choices.join(' ')}" -- "$cur")); return ;;`
    const action = option.takesPath ? 'COMPREPLY=($(compgen -f -- "$cur")); return' : 'return'
    return `    ${option.flag}) ${action} ;;`
  })
  return `# oss-spool completion for bash
_oss_spool() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} flags= words= files= command= i
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$cur"))
    return
  fi
  case \${COMP_WORDS[1]} in
${commandCases.join('\n')}
  esac
  for ((i = 2; i < COMP_CWORD; i++)); do
    [ "\${COMP_WORDS[i]}" = -- ] || continue
    if [ -z "$command" ]; then
      break
    elif declare -F _comp_command_offset > /dev/null; then
      _comp_command_offset $((i + 1))
    elif declare -F _command_offset > /dev/null; then
      _command_offset $((i + 1))
    elif [ $((i + 1)) -eq "$COMP_CWORD" ]; then
      COMPREPLY=($(compgen -c -- "$cur"))
    else
      COMPREPLY=($(compgen -f -- "$cur"))
    fi
    return
  done
  case $prev in
${valueCases.join('\n')}
  esac
  case $cur in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *)
      COMPREPLY=($(compgen -W "$words" -- "$cur"))
      [ -n "$files" ] && COMPREPLY+=($(compgen -f -- "$cur"))
      ;;
  esac
}
complete -o filenames -F _oss_spool oss-spool
`
}

export function zshCompletion(commands: readonly CommandSpec[]): string {
  const escape = (text: string): string => text.replaceAll(/['[\]:\\]/g, ' ')
  const commandCases = commands.map(({ name, options, operands }) => {
    const optionSpecs = options.map(({ flag, description, takesValue, choices, takesPath }) => {
      const valueAction = choices.length > 0 ? `(${choices.join(' ')})` : takesPath ? '_files' : ''
      return `        '${flag}${takesValue ? '=' : ''}[${escape(description)}]${takesValue ? `:value:${valueAction}` : ''}'`
    })
    const operandSpecs = operands.takesIds
      ? [`        '*:id:($(${LIST_IDS_COMMAND.replaceAll("'", `'\\''`)}))'`]
      : operands.choices.length > 0
        ? [`        '*:word:(${operands.choices.join(' ')})'`]
        : operands.takesFiles
          ? [`        '*:file:_files'`]
          : [`        '*: :'`]
    const commandLine = operands.takesCommand
      ? `      local separator=\${words[(i)--]}
      if (( separator < CURRENT )); then
        shift $separator words
        (( CURRENT -= separator ))
        _normal
        return
      fi
`
      : ''
    return `    ${name})
${commandLine}      _arguments \\
${[...optionSpecs, ...operandSpecs].join(' \\\n')}
      ;;`
  })
  const commandNames = commands.map(
    ({ name, description }) => `    '${name}:${escape(description)}'`,
  )
  return `#compdef oss-spool
_oss_spool() {
  local -a subcommands=(
${commandNames.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command subcommands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commandCases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _oss_spool ]; then _oss_spool "$@"; else compdef _oss_spool oss-spool; fi
`
}

/** Completes the command line after `--`, if there is one. */
const FISH_COMMAND_FUNCTION = `function __oss_spool_complete_command
  set -l words (commandline -opc)
  set -l separator (contains -i -- -- $words)
  or return
  set -e words[1..$separator]
  complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end`

export function fishCompletion(commands: readonly CommandSpec[]): string {
  const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const lines = commands.flatMap(({ name, description: commandDescription, options, operands }) => {
    const condition = `-n '__fish_seen_subcommand_from ${name}'`
    const operandArguments = [
      ...(operands.choices.length > 0 ? [quote(operands.choices.join(' '))] : []),
      ...(operands.takesIds
        ? [
            `"(${LIST_IDS_COMMAND.replaceAll('"', '\\"').replaceAll('\\(', '\\\\(').replaceAll('\\)', '\\\\)').replaceAll('\\1', '\\\\1')})"`,
          ]
        : []),
    ]
    return [
      `complete -c oss-spool -f -n __fish_use_subcommand -a ${name} -d ${quote(commandDescription)}`,
      ...(operands.takesFiles ? [`complete -c oss-spool ${condition} -F`] : []),
      ...(operands.takesCommand
        ? [`complete -c oss-spool -f ${condition} -a '(__oss_spool_complete_command)'`]
        : []),
      ...operandArguments.map(each => `complete -c oss-spool -f ${condition} -a ${each}`),
      ...options.map(({ flag, description, takesValue, choices, takesPath }) => {
        const valueFlags = takesValue ? ` -r${takesPath ? ' -F' : ' -f'}` : ''
        const choicesFlag = choices.length > 0 ? ` -a ${quote(choices.join(' '))}` : ''
        return `complete -c oss-spool ${condition} -l ${flag.slice(2)}${valueFlags}${choicesFlag} -d ${quote(description)}`
      }),
    ]
  })
  return `# oss-spool completion for fish\n${FISH_COMMAND_FUNCTION}\n${lines.join('\n')}\n`
}

/** Returns the options with a value, once per flag, since a flag means the same in every command. */
function uniqueValueOptions(commands: readonly CommandSpec[]): OptionSpec[] {
  const optionByFlag = new Map(
    commands.flatMap(({ options }) => options.map(option => [option.flag, option] as const)),
  )
  return [...optionByFlag.values()].filter(({ takesValue }) => takesValue)
}
