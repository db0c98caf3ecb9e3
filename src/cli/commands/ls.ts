/** `oss-spool ls`: what is in the spool. Needs no credentials: it reads the spool directory only. */
import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import type { UploadStatus } from '../../upload/status.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE } from '../exit-status.js'
import { connectionOptions, examples } from '../option.js'
import { formatBytes, formatDuration } from '../quantities.js'
import type { Session, SpoolFlags } from '../session.js'
import { look, type Quarantined } from '../spool-content.js'
import { printable } from '../text.js'

type LsFlags = SpoolFlags & { readonly all?: boolean }

export function defineLs(program: Command, session: Session): void {
  const command = connectionOptions(program.command('ls'))
    .description('list the unfinished uploads, and what is in the quarantine')
    .addOption(new Option('--all', 'receipts, too; with --json also the quarantine'))
    .action((flags: LsFlags) => session.run(flags, merged => ls(session, merged, flags)))
  examples(command, ['oss-spool ls', `oss-spool ls --json | jq -r 'select(.phase == "sealed").id'`])
}

async function ls(session: Session, flags: LsFlags, asked: ConnectionFlags): Promise<number> {
  const { uploads, quarantine } = await look(session, flags)
  const chosen = uploads.filter(
    status => concerns(status, asked) && (flags.all || status.phase !== 'receipt'),
  )
  if (flags.json) {
    for (const status of chosen) session.print(JSON.stringify(status))
    if (flags.all)
      for (const each of quarantine) session.print(JSON.stringify({ quarantine: each }))
    return EXIT_DONE
  }
  if (chosen.length + quarantine.length > 0) {
    const lines = await describe(chosen, quarantine, session.io.stdout)
    for (const line of lines) session.print(line)
  } else if (session.io.stdout.isTTY && !flags.quiet) {
    session.say('no unfinished uploads')
  }
  return EXIT_DONE
}

/** Only what was asked for counts: a configured endpoint does not hide the uploads of another one. */
function concerns(status: UploadStatus, { local, endpoint, region }: ConnectionFlags): boolean {
  if (local !== undefined) return status.endpoint === `local:${realPathOf(local)}`
  const same = endpoint === undefined || status.endpoint.endsWith(`//${hostOf(endpoint)}`)
  return same && (region === undefined || status.region.replace(/^oss-/, '') === bare(region))
}

/** As it is recorded. */
function realPathOf(directory: string): string {
  return existsSync(directory) ? realpathSync(directory) : resolve(directory)
}

function hostOf(endpoint: string): string {
  return endpoint.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/, '')
}

function bare(region: string): string {
  return region.replace(/^oss-/, '')
}

async function describe(
  uploads: readonly UploadStatus[],
  quarantine: readonly Quarantined[],
  { isTTY, columns }: NodeJS.WriteStream,
): Promise<string[]> {
  const { table } = await import('../table.js')
  const width = isTTY ? columns : undefined
  const now = Date.now()
  const age = (since: string): string => formatDuration(Math.max(0, now - Date.parse(since)))
  const rows = uploads.map(status => [
    status.id,
    printable(`oss://${status.bucket}/${status.key}`),
    status.phase,
    progressOf(status),
    age(status.createdAt),
    status.owner === undefined ? '-' : `${status.owner.pid}@${status.owner.host}`,
    status.error?.code ?? '-',
  ])
  const set = quarantine.map(({ name, path, since }) => [name, printable(path), age(since)])
  return [
    ...(rows.length === 0 ? [] : table(UPLOADS, rows, width)),
    ...(rows.length === 0 || set.length === 0 ? [] : ['']),
    ...(set.length === 0 ? [] : table(QUARANTINE, set, width)),
  ]
}

const UPLOADS = [
  { name: 'ID' },
  { name: 'OBJECT', min: 16 },
  { name: 'PHASE' },
  { name: 'SENT' },
  { name: 'AGE' },
  { name: 'OWNER', min: 6 },
  { name: 'LAST ERROR', min: 10 },
]

const QUARANTINE = [{ name: 'QUARANTINE' }, { name: 'PATH', min: 16 }, { name: 'SINCE' }]

function progressOf({ uploaded, size, spooled }: UploadStatus): string {
  const total = size ?? spooled
  const percent = total === 0 ? '' : ` (${Math.floor((uploaded / total) * 100)}%)`
  return `${formatBytes(uploaded)} / ${formatBytes(total)}${percent}`
}
