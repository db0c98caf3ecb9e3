/**
 * `oss-spool run`: starts the producer itself, so that a dump that died is never published. A
 * sealed upload of the same id is finished without starting it again.
 */
import type { Command } from 'commander'
import { EXIT_DONE, UsageError } from '../exit-status.js'
import { examples, periodOption, uploadOptions as withUploadOptions } from '../option.js'
import { Producer } from '../producer.js'
import { display } from '../progress.js'
import { reportError, reportResult } from '../report.js'
import type { Session } from '../session.js'
import { parseTarget } from '../target.js'
import { uploadOptions, type UploadFlags } from '../upload-flags.js'

type RunFlags = UploadFlags & { readonly maxAge?: number }

export function defineRun(program: Command, session: Session): void {
  const command = withUploadOptions(program.command('run'))
    .description('upload what a command prints; publish it only if the command exits with 0')
    .usage('[options] oss://BUCKET/KEY -- CMD [ARGS...]')
    .argument('<oss://BUCKET/KEY>', 'put the date into it: the same id means the same bytes')
    .argument('<CMD...>', 'the command and its arguments; no shell')
    .addOption(periodOption('--max-age <TIME>', 'start it again if the sealed bytes are older'))
    .action((target: string, words: string[], flags: RunFlags) =>
      session.run(flags, merged => run(session, target, words, merged)),
    )
  examples(command, [
    'oss-spool run "oss://backups/mydb-$(date +%F).dump" -- pg_dump -Fc mydb',
    `oss-spool run oss://logs/web1.tar.zst -- bash -o pipefail -c 'tar c /var/log/web | zstd'`,
  ])
}

async function run(
  session: Session,
  target: string,
  words: readonly string[],
  flags: RunFlags,
): Promise<number> {
  const { bucket, key } = parseTarget(target)
  const options = await uploadOptions(flags)
  if (words[0] === '') throw new UsageError('Expected a command after "--"')
  const spool = await session.spool(flags, await session.connect(flags, bucket))
  const producer = new Producer(words)
  const shown = display(session, target, flags)
  try {
    const result = await spool.upload(key, ({ signal }) => producer.output(signal), {
      ...options,
      ...(flags.maxAge === undefined ? {} : { maxAge: flags.maxAge }),
      signal: session.signal,
      onProgress: event => shown.show(key, event),
    })
    if (!result.sourceRead && !flags.quiet && (result.resumed || result.receipt)) {
      session.say(`${words[0]} was not started: its bytes are those of ${result.sealedAt}`)
    }
    shown.end()
    reportResult(session, result, flags)
    return EXIT_DONE
  } catch (error) {
    shown.end()
    return reportError(session, error, flags, { command: 'oss-spool run', object: target })
  } finally {
    await producer.ended()
  }
}
