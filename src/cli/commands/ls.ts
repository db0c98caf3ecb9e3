/**
 * `oss-spool ls`: lists the uploads in the spool, or those of a fleet. Reads only their records, so it needs no
 * credentials.
 */
import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { Option, type Command } from 'commander'
import type { UploadStatus } from '../../upload/maintenance/status.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_SUCCESS } from '../exit-status.js'
import {
  addConnectionOptions,
  addExamples,
  addFleetOptions,
  addSettings,
} from '../shared-options.js'
import { measured, type MetricsFlags } from '../monitoring.js'
import { formatAge, formatBytes } from '../units.js'
import type { Session, SpoolFlags } from '../session.js'
import { selectedContent, type FleetRecordFlags } from '../fleet-records.js'
import type { QuarantinedUpload } from '../spool-content.js'

type LsFlags = SpoolFlags & MetricsFlags & FleetRecordFlags & { readonly all?: boolean }

export function defineLs(program: Command, session: Session): void {
  const command = addSettings(
    addFleetOptions(addConnectionOptions(program.command('ls'))),
    'metrics',
  )
    .description('list unfinished uploads and the quarantine')
    .addOption(new Option('--all', 'also list receipts and, with --json, the quarantine'))
    .action((flags: LsFlags) =>
      session.run(
        flags,
        measured(session, 'ls', merged => listSpool(session, merged, flags)),
      ),
    )
  addExamples(command, [
    'oss-spool ls',
    `oss-spool ls --json | jq -r 'select(.resumable).id'`,
    'oss-spool ls --fleet oss-spool   # of all hosts, with REDIS_URL set',
  ])
}

async function listSpool(
  session: Session,
  flags: LsFlags,
  givenFlags: ConnectionFlags,
): Promise<number> {
  const { uploads, quarantine } = await selectedContent(session, flags)
  const selected = uploads.filter(
    status => matchesFlags(status, givenFlags) && (flags.all || status.phase !== 'receipt'),
  )
  if (flags.json) {
    for (const status of selected) session.printJson(status)
    if (flags.all) for (const each of quarantine) session.printJson({ quarantine: each })
    return EXIT_SUCCESS
  }
  if (selected.length + quarantine.length > 0) {
    const lines = await formatTables(session, selected, quarantine)
    for (const line of lines) session.print(line)
  } else if (session.io.stdout.isTTY && !flags.quiet) {
    session.logLine('no unfinished uploads')
  }
  return EXIT_SUCCESS
}

/** Matches the given flags only. A configured endpoint does not hide the uploads of another one. */
function matchesFlags(status: UploadStatus, { local, endpoint, region }: ConnectionFlags): boolean {
  if (local !== undefined) return status.endpoint === `local:${realPathIfExists(local)}`
  const isSameEndpoint =
    endpoint === undefined || status.endpoint.endsWith(`//${endpointHost(endpoint)}`)
  return (
    isSameEndpoint &&
    (region === undefined || status.region.replace(/^oss-/, '') === withoutOssPrefix(region))
  )
}

/** Resolves a directory as checkpoints record it. */
function realPathIfExists(directory: string): string {
  return existsSync(directory) ? realpathSync(directory) : resolve(directory)
}

function endpointHost(endpoint: string): string {
  return endpoint.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/, '')
}

function withoutOssPrefix(region: string): string {
  return region.replace(/^oss-/, '')
}

async function formatTables(
  { io, selectsFleet }: Session,
  uploads: readonly UploadStatus[],
  quarantine: readonly QuarantinedUpload[],
): Promise<string[]> {
  const { isTTY, columns } = io.stdout
  const { formatTable } = await import('../table.js')
  const width = isTTY ? columns : undefined
  const now = Date.now()
  const ageOf = (since: string): string => formatAge(Date.parse(since), now)
  const uploadRows = uploads.map(status => [
    status.id,
    `oss://${status.bucket}/${status.key}`,
    status.phase,
    formatResumable(status),
    formatSent(status),
    ageOf(status.createdAt),
    ...(selectsFleet ? [status.host ?? '-'] : []),
    status.owner === undefined ? '-' : `${status.owner.pid}@${status.owner.host}`,
    status.error?.code ?? '-',
  ])
  const quarantineRows = quarantine.map(({ name, path, since }) => [
    name,
    path ?? '(another host)',
    ageOf(since),
  ])
  const uploadColumns = selectsFleet ? FLEET_COLUMNS : UPLOAD_COLUMNS
  return [
    ...(uploadRows.length === 0 ? [] : formatTable(uploadColumns, uploadRows, width)),
    ...(uploadRows.length === 0 || quarantineRows.length === 0 ? [] : ['']),
    ...(quarantineRows.length === 0 ? [] : formatTable(QUARANTINE_COLUMNS, quarantineRows, width)),
  ]
}

const UPLOAD_COLUMNS = [
  { name: 'ID' },
  { name: 'OBJECT', minWidth: 16 },
  { name: 'PHASE' },
  { name: 'RESUMABLE' },
  { name: 'SENT' },
  { name: 'AGE' },
  { name: 'OWNER', minWidth: 6 },
  { name: 'LAST ERROR', minWidth: 10 },
]

/** The host has the bytes, the owner is the process that works on them. */
const FLEET_COLUMNS = UPLOAD_COLUMNS.toSpliced(6, 0, { name: 'HOST', minWidth: 6 })

const QUARANTINE_COLUMNS = [
  { name: 'QUARANTINE' },
  { name: 'PATH', minWidth: 16 },
  { name: 'SINCE' },
]

/** Returns what `resume` can publish: the object, its bytes up to the last commit, or nothing. */
function formatResumable({ resumable, committed }: UploadStatus): string {
  if (!resumable) return 'no'
  return committed === undefined ? 'yes' : `first ${formatBytes(committed)}`
}

function formatSent({ uploaded, size, spooled }: UploadStatus): string {
  const total = size ?? spooled
  const percent = total === 0 ? '' : ` (${Math.floor((uploaded / total) * 100)}%)`
  return `${formatBytes(uploaded)} / ${formatBytes(total)}${percent}`
}
