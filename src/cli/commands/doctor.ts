/** `oss-spool doctor`: whether an upload would work here, what is wrong, and how to mend it. */
import type { Command } from 'commander'
import type { CliConnection } from '../connection.js'
import type { Finding } from '../doctor/finding.js'
import { EXIT_DONE, EXIT_FAILED, UsageError } from '../exit-status.js'
import { connectionOptions, examples } from '../option.js'
import type { Session, SpoolFlags } from '../session.js'
import { look } from '../spool-content.js'
import { bucketOf } from '../target.js'
import { printable } from '../text.js'

export function defineDoctor(program: Command, session: Session): void {
  const command = connectionOptions(program.command('doctor'))
    .description('check spool directory, credentials, clock, bucket and permissions')
    .argument('[oss://BUCKET/PREFIX]', 'where uploads are to go; without it OSS is not asked')
    .action((target: string | undefined, flags: SpoolFlags) =>
      session.run(flags, merged => doctor(session, target, merged)),
    )
  examples(command, [
    'oss-spool doctor oss://backups/nightly/',
    `oss-spool doctor --json | jq '.checks[] | select(.state != "ok")'`,
  ])
}

async function doctor(
  session: Session,
  target: string | undefined,
  flags: SpoolFlags,
): Promise<number> {
  const place = target === undefined ? undefined : bucketOf(target)
  const { checkContent, checkSpool } = await import('../doctor/spool.js')
  const { defaultDirectory } = await import('../../upload/names.js')
  const disk = await checkSpool(flags.spool ?? defaultDirectory(session.io.env))
  const usable = disk[0]?.state !== 'failed'
  const checks = [
    ...disk,
    ...(usable ? checkContent(await look(session, flags)) : []),
    ...(await checkService(session, flags, place)),
  ]
  const good = checks.every(({ state }) => state !== 'failed')
  if (flags.json) session.print(JSON.stringify({ ok: good, checks }))
  else for (const line of checks.flatMap(describe)) session.print(printable(line))
  return good ? EXIT_DONE : EXIT_FAILED
}

async function checkService(
  session: Session,
  flags: SpoolFlags,
  place: { bucket: string; prefix: string } | undefined,
): Promise<Finding[]> {
  const { failed, ok, skipped } = await import('../doctor/finding.js')
  let connection: CliConnection
  try {
    connection = await session.connect(flags, place?.bucket)
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof TypeError)) throw error
    const mend = '"oss-spool config show" says what is configured, and where'
    return [failed('credentials', error.message, mend), skipped('bucket', 'no connection')]
  }
  const { origins } = await session.configuration(flags)
  const from = origins.get('accessKeyId') ?? "Alibaba's default chain"
  const credentials = ok('credentials', flags.local === undefined ? `from ${from}` : 'none needed')
  if (place === undefined) {
    return [
      credentials,
      skipped('bucket', 'none was named: "oss-spool doctor oss://BUCKET/PREFIX"'),
    ]
  }
  const { checkOss } = await import('../doctor/oss.js')
  const found = await checkOss(connection, place.bucket, place.prefix, session.signal)
  // What OSS says of the credentials counts more than that there are some.
  return found.some(({ check }) => check === 'credentials') ? found : [credentials, ...found]
}

function describe({ check, state, message, mend }: Finding): string[] {
  const marks = { ok: 'ok', warning: 'WARNING', failed: 'FAILED', skipped: 'skipped' }
  const line = `${marks[state].padEnd(7)}  ${check.padEnd(15)}  ${message}`
  return mend === undefined ? [line] : [line, `         ${mend}.`]
}
