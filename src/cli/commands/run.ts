/**
 * `oss-spool run`: starts the producer itself, so that the output of a failed dump is never published. A
 * sealed upload with the same id is finished without starting the producer again.
 */
import type { Command } from 'commander'
import { EXIT_SUCCESS, UsageError } from '../exit-status.js'
import { addExamples, addSettings, addUploadOptions, valueOption } from '../shared-options.js'
import { Producer, programCommand, shellCommand, type ProducerCommand } from '../child-command.js'
import { isExecutable } from '../executable.js'
import { startProgressDisplay } from '../progress.js'
import { monitored } from '../monitoring.js'
import { reportError, reportResult } from '../report.js'
import type { Session } from '../session.js'
import { parseTarget } from '../target.js'
import { toUploadOptions, type UploadFlags } from '../upload-flags.js'

type RunFlags = UploadFlags & { readonly maxAge?: number; readonly shell?: string }

export function defineRun(program: Command, session: Session): void {
  const command = addUploadOptions(program.command('run'))
    .description('upload the output of a command; publish it only if the command exits with 0')
    .usage('[options] oss://BUCKET/KEY -- CMD [ARGS...]')
    .argument(
      '<oss://BUCKET/KEY>',
      'the object; include the date, because the same id means the same bytes',
    )
    .argument('[CMD...]', 'the command and its arguments, run without a shell')
    .addOption(
      valueOption(
        '--shell <LINE>',
        'run a line of bash instead of CMD, and publish only if each command of its pipeline succeeds',
      ),
    )
    .action((target: string, commandLine: string[], flags: RunFlags) =>
      session.run(
        flags,
        monitored(session, 'run', merged => runProducer(session, target, commandLine, merged)),
      ),
    )
  addExamples(addSettings(command, 'maxAge'), [
    'oss-spool run "oss://backups/mydb-$(date +%F).dump" -- pg_dump -Fc mydb',
    `oss-spool run --shell 'tar c /var/log/web | zstd' oss://logs/web1.tar.zst`,
  ])
}

async function runProducer(
  session: Session,
  target: string,
  commandLine: readonly string[],
  flags: RunFlags,
): Promise<number> {
  const { bucket, key } = parseTarget(target)
  const options = await toUploadOptions(flags)
  const command = producerCommand(commandLine, flags.shell, session.io.env['PATH'])
  if (flags.dryRun) {
    const { reportDryRun } = await import('../dry-run.js')
    const { size, maxAge } = flags
    const reuses = 'receipt or sealed bytes'
    const from = `the output of ${command.name}`
    const { compression } = options
    const planned = { bucket, key, from, size, maxAge, compression, reuses } as const
    return reportDryRun(session, planned, flags, 'oss-spool run')
  }
  const spool = await session.openSpool(flags, await session.connect(flags, bucket))
  const producer = new Producer(command)
  const progress = startProgressDisplay(session, target, flags)
  try {
    const result = await spool.upload(key, ({ signal }) => producer.output(signal), {
      ...options,
      ...(flags.maxAge === undefined ? {} : { maxAge: flags.maxAge }),
      signal: session.signal,
      onProgress: event => progress.update(key, event),
    })
    if (!result.sourceRead && !flags.quiet && (result.resumed || result.receipt)) {
      session.logLine(
        `${command.name} was not started: its output was sealed at ${result.sealedAt}`,
        { id: result.id },
      )
    }
    progress.stop()
    reportResult(session, result, flags)
    return EXIT_SUCCESS
  } catch (error) {
    progress.stop()
    return reportError(session, error, flags, { command: 'oss-spool run', object: target })
  } finally {
    await producer.waitForExit()
  }
}

/** @throws UsageError unless there is one command or one line for bash, which is installed */
function producerCommand(
  commandLine: readonly string[],
  shellLine: string | undefined,
  path = '',
): ProducerCommand {
  if (shellLine === undefined) {
    if (!commandLine[0]) throw new UsageError('Expected a command after "--", or --shell')
    return programCommand(commandLine)
  }
  if (commandLine.length > 0) throw new UsageError('Expected --shell or a command, not both')
  if (shellLine.trim() === '') throw new UsageError('Expected a line of bash after --shell')
  if (!isExecutable('bash', path)) throw new UsageError('--shell needs bash, which is not in PATH')
  return shellCommand(shellLine)
}
