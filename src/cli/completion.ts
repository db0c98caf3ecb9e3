/** Completion scripts, made from the commands as they are. Ids are asked of `oss-spool ls`. */
import type { CommandWords, OptionWords } from './words.js'

const IDS = `oss-spool ls --json 2>/dev/null | sed -n 's/^{"id":"\\([^"]*\\)".*/\\1/p'`

export function bash(commands: readonly CommandWords[]): string {
  const cases = commands.map(({ name, options, operands }) => {
    const flags = ['--help', ...options.map(({ flag }) => flag)].join(' ')
    const words = [...operands.words, ...(operands.ids ? [`$(${IDS})`] : [])].join(' ')
    return `    ${name})
      flags="${flags}"
      words="${words}"
      files=${operands.files ? 'yes' : ''}
      ;;`
  })
  const values = unique(commands).map(option => {
    if (option.choices.length > 0)
      return `    ${option.flag}) COMPREPLY=($(compgen -W "${option.choices.join(' ')}" -- "$cur")); return ;;`
    const action = option.path ? 'COMPREPLY=($(compgen -f -- "$cur")); return' : 'return'
    return `    ${option.flag}) ${action} ;;`
  })
  return `# oss-spool completion for bash
_oss_spool() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} flags= words= files=
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} --help --version" -- "$cur"))
    return
  fi
  case $prev in
${values.join('\n')}
  esac
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
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

export function zsh(commands: readonly CommandWords[]): string {
  const escape = (text: string): string => text.replaceAll(/['[\]:\\]/g, ' ')
  const cases = commands.map(({ name, options, operands }) => {
    const flags = options.map(({ flag, about, takesValue, choices, path }) => {
      const value = choices.length > 0 ? `(${choices.join(' ')})` : path ? '_files' : ''
      return `        '${flag}${takesValue ? '=' : ''}[${escape(about)}]${takesValue ? `:value:${value}` : ''}'`
    })
    const rest = operands.ids
      ? [`        '*:id:($(${IDS.replaceAll("'", `'\\''`)}))'`]
      : operands.words.length > 0
        ? [`        '*:word:(${operands.words.join(' ')})'`]
        : operands.files
          ? [`        '*:file:_files'`]
          : []
    return `    ${name})
      _arguments \\
${[...flags, ...rest].join(' \\\n') || `        '*: :'`}
      ;;`
  })
  const names = commands.map(({ name, about }) => `    '${name}:${escape(about)}'`)
  return `#compdef oss-spool
_oss_spool() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _oss_spool ]; then _oss_spool "$@"; else compdef _oss_spool oss-spool; fi
`
}

export function fish(commands: readonly CommandWords[]): string {
  const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
  const lines = commands.flatMap(({ name, about, options, operands }) => {
    const when = `-n '__fish_seen_subcommand_from ${name}'`
    const words = [
      ...(operands.words.length > 0 ? [quote(operands.words.join(' '))] : []),
      ...(operands.ids
        ? [
            `"(${IDS.replaceAll('"', '\\"').replaceAll('\\(', '\\\\(').replaceAll('\\)', '\\\\)').replaceAll('\\1', '\\\\1')})"`,
          ]
        : []),
    ]
    return [
      `complete -c oss-spool -f -n __fish_use_subcommand -a ${name} -d ${quote(about)}`,
      ...(operands.files ? [`complete -c oss-spool ${when} -F`] : []),
      ...words.map(each => `complete -c oss-spool -f ${when} -a ${each}`),
      ...options.map(({ flag, about: what, takesValue, choices, path }) => {
        const value = takesValue ? ` -r${path ? ' -F' : ' -f'}` : ''
        const of = choices.length > 0 ? ` -a ${quote(choices.join(' '))}` : ''
        return `complete -c oss-spool ${when} -l ${flag.slice(2)}${value}${of} -d ${quote(what)}`
      }),
    ]
  })
  return `# oss-spool completion for fish\n${lines.join('\n')}\n`
}

/** Options by their flag: one flag means the same in every command. */
function unique(commands: readonly CommandWords[]): OptionWords[] {
  const known = new Map(
    commands.flatMap(({ options }) => options.map(option => [option.flag, option] as const)),
  )
  return [...known.values()].filter(({ takesValue }) => takesValue)
}
