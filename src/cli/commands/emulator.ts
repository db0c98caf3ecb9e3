/** `oss-spool emulator`: runs a local OSS until SIGINT or SIGTERM. */
import { once } from 'node:events'
import type { Command } from 'commander'
import { EXIT_SUCCESS } from '../exit-status.js'
import { addExamples, addSettings, valueOption } from '../shared-options.js'
import { DEFAULT_LOCAL_DIR } from '../raw-flags.js'
import type { GlobalFlags, Session } from '../session.js'

type EmulatorFlags = GlobalFlags & {
  readonly dir?: string
  readonly port?: number
  readonly host?: string
}

export function defineEmulator(program: Command, session: Session): void {
  const command = program
    .command('emulator')
    .description('run a local OSS')
    .addOption(
      valueOption(
        '--dir <DIR>',
        `directory of buckets and objects (default: ${DEFAULT_LOCAL_DIR})`,
      ),
    )
    .addOption(valueOption('--host <H>', 'address to listen on (default: 127.0.0.1)'))
    .action((flags: EmulatorFlags) => session.run(flags, merged => runEmulator(session, merged)))
  addSettings(command, 'port', 'logFormat')
  addExamples(command, ['oss-spool emulator', 'oss-spool emulator --dir /var/tmp/oss --port 9000'])
}

async function runEmulator(
  session: Session,
  { dir = DEFAULT_LOCAL_DIR, port = 0, host = '127.0.0.1' }: EmulatorFlags,
): Promise<number> {
  const { describeEmulator, startEmulator } = await import('../../emulator/index.js')
  const emulator = await startEmulator({ dir, port, host, createBuckets: true })
  session.onClose(() => emulator.close())
  for (const line of describeEmulator(emulator).split('\n')) session.print(line)
  if (!session.signal.aborted) await once(session.signal, 'abort')
  return EXIT_SUCCESS
}
