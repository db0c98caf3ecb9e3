/** `oss-spool completion`: prints completion scripts, generated from the command definitions. */
import type { Command } from 'commander'
import { bashCompletion, fishCompletion, zshCompletion } from '../completion.js'
import { EXIT_SUCCESS, UsageError } from '../exit-status.js'
import { addExamples, addSettings } from '../shared-options.js'
import type { GlobalFlags, Session } from '../session.js'
import { commandSpecsOf } from '../command-spec.js'
import { quoteHarmless } from '../../util/secret-mask.js'

const COMPLETION_BY_SHELL: Readonly<Record<string, typeof bashCompletion>> = {
  bash: bashCompletion,
  zsh: zshCompletion,
  fish: fishCompletion,
}

export function defineCompletion(program: Command, session: Session): void {
  const command = program
    .command('completion')
    .description('print a shell completion script')
    .argument('<SHELL>', 'bash, zsh or fish')
    .action((shell: string, flags: GlobalFlags) =>
      session.run(flags, async () => {
        const renderCompletion = COMPLETION_BY_SHELL[shell]
        if (renderCompletion === undefined)
          throw new UsageError(`Expected bash, zsh or fish, got ${quoteHarmless(shell)}`)
        const script = renderCompletion(commandSpecsOf(program)).trimEnd()
        for (const line of script.split('\n')) session.print(line)
        return EXIT_SUCCESS
      }),
    )
  addSettings(command, 'logFormat')
  addExamples(command, [
    'oss-spool completion bash > ~/.local/share/bash-completion/completions/oss-spool',
    'oss-spool completion fish > ~/.config/fish/completions/oss-spool.fish',
    'oss-spool completion zsh > "${fpath[1]}/_oss-spool"',
  ])
}
