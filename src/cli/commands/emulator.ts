/** `oss-spool emulator`: a local OSS until SIGINT or SIGTERM. */
import { once } from 'node:events'
import { Option, type Command } from 'commander'
import { EXIT_DONE } from '../exit-status.js'
import { countOption, examples } from '../option.js'
import type { Flags, Session } from '../session.js'

type EmulatorFlags = Flags & { readonly dir: string; readonly port?: number; readonly host: string }

export function defineEmulator(program: Command, session: Session): void {
  const command = program
    .command('emulator')
    .description('a local OSS')
    .addOption(
      new Option('--dir <DIR>', 'where buckets and objects are kept').default('./oss-data'),
    )
    .addOption(countOption('--port <N>', 'port; a free one if it is left out or 0'))
    .addOption(new Option('--host <H>', 'address to listen on').default('127.0.0.1'))
    .action((flags: EmulatorFlags) => session.run(flags, merged => emulator(session, merged)))
  examples(command, ['oss-spool emulator', 'oss-spool emulator --dir /var/tmp/oss --port 9000'])
}

async function emulator(session: Session, { dir, port = 0, host }: EmulatorFlags): Promise<number> {
  const { describeEmulator, startEmulator } = await import('../../emulator/index.js')
  const oss = await startEmulator({ dir, port, host, createBuckets: true })
  session.onClose(() => oss.close())
  session.print(describeEmulator(oss))
  if (!session.signal.aborted) await once(session.signal, 'abort')
  return EXIT_DONE
}
