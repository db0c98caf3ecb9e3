/** `oss-spool completion`: the shell completes what the commands really take. */
import type { Command } from 'commander'
import { bash, fish, zsh } from '../completion.js'
import { EXIT_DONE, UsageError } from '../exit-status.js'
import { examples } from '../option.js'
import type { Session } from '../session.js'
import { wordsOf } from '../words.js'

const SHELLS: Readonly<Record<string, typeof bash>> = { bash, zsh, fish }

export function defineCompletion(program: Command, session: Session): void {
  const command = program
    .command('completion')
    .description('print a completion script for a shell')
    .argument('<SHELL>', 'bash, zsh or fish')
    .action((shell: string) =>
      session.run({}, async () => {
        const write = SHELLS[shell]
        if (write === undefined) throw new UsageError(`Expected bash, zsh or fish, got "${shell}"`)
        session.print(write(wordsOf(program)).trimEnd())
        return EXIT_DONE
      }),
    )
  examples(command, [
    'oss-spool completion bash > ~/.local/share/bash-completion/completions/oss-spool',
    'oss-spool completion fish > ~/.config/fish/completions/oss-spool.fish',
    'oss-spool completion zsh > "${fpath[1]}/_oss-spool"',
  ])
}
