/** `oss-spool ls`: the unfinished uploads. Needs no credentials: it reads the spool directory. */
import { SpoolDirectory } from '../../disk/spool-directory.js'
import { list } from '../../upload/list.js'
import { defaultDirectory } from '../../upload/options.js'
import type { UploadStatus } from '../../upload/status.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE } from '../exit-status.js'
import { formatBytes, formatDuration } from '../quantities.js'
import type { ReportFlags } from '../report.js'
import type { Session } from '../session.js'

export type LsOptions = ConnectionFlags & ReportFlags & { spool?: string; all?: boolean }

export async function ls({ io }: Session, flags: LsOptions): Promise<number> {
  const spool = new SpoolDirectory(flags.spool ?? defaultDirectory(io.env))
  const statuses = (
    await list(spool, ({ message }) => void io.stderr.write(`oss-spool: ${message}\n`))
  ).filter(({ phase }) => phase !== 'receipt')
  if (flags.json) {
    for (const status of statuses) io.stdout.write(`${JSON.stringify(status)}\n`)
  } else if (statuses.length > 0) {
    io.stdout.write(table(statuses, Date.now()))
  }
  return EXIT_DONE
}

function table(statuses: readonly UploadStatus[], now: number): string {
  const rows = [
    ['ID', 'OBJECT', 'PHASE', 'SENT', 'AGE', 'OWNER', 'LAST ERROR'],
    ...statuses.map(s => [
      s.id,
      `oss://${s.bucket}/${s.key}`,
      s.phase,
      `${formatBytes(s.uploaded)} / ${formatBytes(s.size ?? s.spooled)}`,
      formatDuration(Math.max(0, now - Date.parse(s.createdAt))),
      s.owner === undefined ? '-' : `${s.owner.pid}@${s.owner.host}`,
      s.error?.code ?? '-',
    ]),
  ]
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map(row => row[i]!.length)))
  return rows
    .map(row =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .map(line => `${line}\n`)
    .join('')
}
