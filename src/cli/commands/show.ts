/** `oss-spool show`: describes one upload, its state and the next step. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { isFinishable, type Checkpoint, type UploadRecord } from '../../disk/checkpoint.js'
import { freedParts } from '../../upload/model/freed-parts.js'
import { keptPlaceOf } from '../../upload/model/destination.js'
import type { UploadStatus } from '../../upload/maintenance/status.js'
import { keyTakenHint, wordHint, type HintWording, type KeptPlace } from '../../hint.js'
import { proposeFor, wordingFor } from '../all-uploads.js'
import { EXIT_SUCCESS } from '../exit-status.js'
import { ID_DESCRIPTION, addExamples, addFleetOptions, addSpoolOptions } from '../shared-options.js'
import { formatAgo, formatBytes } from '../units.js'
import { resolveIds } from '../resolve-ids.js'
import {
  hasBytesHere,
  selectedContent,
  selectedRecords,
  type FleetRecordFlags,
} from '../fleet-records.js'
import type { Session, SpoolFlags } from '../session.js'

export function defineShow(program: Command, session: Session): void {
  const command = addFleetOptions(addSpoolOptions(program.command('show')))
    .description('show the state of one upload')
    .argument('<ID>', ID_DESCRIPTION)
    .action((id: string, flags: FleetRecordFlags) =>
      session.run(flags, merged => showUpload(session, id, merged)),
    )
  addExamples(command, [
    'oss-spool show mydb-2026-11-23',
    'oss-spool show mydb-2026-11-23 --json | jq .crc64',
    'oss-spool show orders-2026-11-24 --fleet oss-spool',
  ])
}

/** Output of `--json`: the status, plus details from the checkpoint. */
interface UploadDetails extends UploadStatus {
  /** Absent if the bytes are on another host of a fleet. */
  readonly directory?: string
  /** The temp file, if it exists. */
  readonly file?: string
  readonly token: string
  readonly partSize: number
  /** Bytes that are no longer on this disk (`--max-spool`). */
  readonly freed?: number
  readonly crc64?: string
  readonly object: Checkpoint['upload']['object']
  readonly superseded: readonly string[]
  /** Upload ids whose Complete was never answered. They are aborted before anything else is published. */
  readonly unanswered: readonly string[]
}

async function showUpload(
  session: Session,
  arg: string,
  flags: SpoolFlags & FleetRecordFlags,
): Promise<number> {
  const [id = arg] = await resolveIds(session, [arg], flags)
  const { directory, uploads } = await selectedContent(session, flags)
  const records = await selectedRecords(session, flags)
  const status = uploads.find(each => each.id === id)
  const checkpoint = status && (await records.read(id))
  if (status === undefined || !checkpoint) {
    const { notFoundError } = await import('../../disk/quarantined-upload.js')
    throw await notFoundError(records, id)
  }
  const isHere = await hasBytesHere(session, flags, status)
  const details = toUploadDetails(status, checkpoint, isHere ? join(directory, id) : undefined)
  if (flags.json) {
    session.printJson(details)
    return EXIT_SUCCESS
  }
  const isOwn = (await session.ownUploads(flags))(status)
  const propose: ProposeCommand = (...args) => proposeFor(session, status, isOwn, ...args)
  const receipts = session.proposeAt(isOwn ? undefined : status, 'prune')
  const next =
    status.phase === 'receipt'
      ? `nothing; "${receipts}" removes old receipts`
      : nextStep(details, keptPlaceOf(checkpoint), propose, wordingFor(session, status, isOwn))
  for (const line of [...formatDetails(details, checkpoint), `Next: ${next}`]) session.print(line)
  return EXIT_SUCCESS
}

function toUploadDetails(
  status: UploadStatus,
  checkpoint: Checkpoint,
  directory: string | undefined,
): UploadDetails {
  const record = selectRecord(status, checkpoint)
  const { token, plan, object } = record
  const file = directory === undefined ? undefined : join(directory, record.file)
  const freed = countFreedBytes(record)
  return {
    ...status,
    ...(directory === undefined ? {} : { directory }),
    token,
    partSize: plan.base,
    object,
    ...(freed === 0 ? {} : { freed }),
    superseded: checkpoint.superseded,
    unanswered: checkpoint.unanswered ?? [],
    // Removed when the object is published, and when the source fails before the seal.
    ...(file === undefined || !existsSync(file) ? {} : { file }),
    ...('sealedAt' in record ? { crc64: record.crc64 } : {}),
  }
}

function countFreedBytes(record: UploadRecord): number {
  return freedParts(record, record.spooled).reduce((sum, { size }) => sum + size, 0)
}

/** Returns the record that the status describes. */
function selectRecord({ phase }: UploadStatus, { upload, previous }: Checkpoint): UploadRecord {
  const recordPhase = phase === 'receipt' ? 'published' : phase
  return upload.phase !== recordPhase && previous !== undefined ? previous : upload
}

function formatDetails(details: UploadDetails, checkpoint: Checkpoint): string[] {
  const { id, bucket, key, endpoint, createdAt, updatedAt, owner, error } = details
  const now = Date.now()
  const agoOf = (time: string): string => formatAgo(Date.parse(time), now)
  const { cname, previous } = checkpoint
  return [
    `Upload ${id} to oss://${bucket}/${key}`,
    `  at ${endpoint}${cname ? ' (a custom domain of the bucket)' : ''}`,
    ...(details.movedFrom ?? []).map(
      old =>
        `  moved from oss://${old.bucket}/${old.key} at ${old.endpoint}, where its upload ids are aborted after the publication`,
    ),
    `  started ${agoOf(createdAt)} (${createdAt}), last updated ${agoOf(updatedAt)}`,
    `  ${owner === undefined ? 'no process works on it' : `process ${owner.pid} on ${owner.host} works on it`}`,
    ...formatPhase(details),
    ...(details.uploadId === undefined ? [] : [`  upload id on OSS: ${details.uploadId}`]),
    ...(details.host === undefined ? [] : [`  bytes on host ${details.host}`]),
    ...(details.file === undefined ? [] : [`  bytes in ${details.file}`]),
    ...(isFinishable(previous) && details.phase === 'spooling'
      ? ['  an older sealed upload with this id is kept until this one is sealed']
      : []),
    ...details.unanswered.map(
      uploadId =>
        `  the Complete of upload id ${uploadId} was never answered; it is aborted before other content is published`,
    ),
    ...(error === undefined ? [] : [`  the last run failed with ${error.code}: ${error.message}`]),
  ]
}

function formatPhase(details: UploadDetails): string[] {
  const { phase, spooled, uploaded, parts, size, crc64, sealedAt, partSize, freed = 0 } = details
  const { committed, committedAt } = details
  const freedText = `  ${formatBytes(freed)} are only on OSS (--max-spool)`
  const freedLines = freed === 0 ? [] : [freedText]
  const sentText = `${formatBytes(uploaded)} in ${parts} ${parts === 1 ? 'part' : 'parts'} acknowledged by OSS`
  const sealedText = `${formatBytes(size ?? 0)} (${size} bytes), CRC64 ${crc64}, sealed ${sealedAt}`
  if (phase === 'spooling') {
    return [
      `  spooling: the source has not ended successfully; ${formatBytes(spooled)} read, ${sentText}`,
      ...(committed === undefined
        ? []
        : [`  committed: ${formatBytes(committed)} (${committed} bytes), at ${committedAt}`]),
      `  size of the first parts: ${formatBytes(partSize)}`,
      ...freedLines,
    ]
  }
  if (phase === 'receipt') return [`  published: ${sealedText}; this is its receipt (--once)`]
  const content = committed === undefined ? 'every byte' : 'every byte up to its last commit'
  const where = details.directory === undefined ? 'on the disk of its host' : 'on this disk'
  const sealedState = details.resumable
    ? `${content} is ${where}${freed === 0 ? '' : ' or on OSS'}; the source is no longer needed`
    : 'its bytes were in a file, read in place, that has changed since'
  const stateText =
    phase === 'sealed'
      ? `sealed: ${sealedState}`
      : 'completing: OSS was asked to publish the object; the outcome is not known'
  return [`  ${stateText}`, `  ${sealedText}`, `  ${sentText}`, ...freedLines]
}

/** Words a command for this upload. */
type ProposeCommand = (...args: string[]) => string

function nextStep(
  { id, phase, committed, owner, error, directory, host, resumable }: UploadDetails,
  kept: KeptPlace,
  propose: ProposeCommand,
  wording: HintWording,
): string {
  if (owner !== undefined) return 'wait until that process finishes'
  if (directory === undefined && resumable) {
    return `resume it on host ${host}, which has its bytes, or run "${propose('abort')}" to discard them`
  }
  if (error?.code === 'ERR_SPOOL_OBJECT_EXISTS') {
    return `the key is taken. ${wordHint(keyTakenHint(id, kept), wording)}`
  }
  if (phase === 'spooling') {
    if (committed !== undefined) {
      return `run "${propose('resume')}" to publish the bytes up to the last commit, or "${propose('abort')}" to discard them`
    }
    return `upload again from the source (parts on OSS are not sent again), or run "${propose('abort')}"`
  }
  // Its file is read in place and has changed. A committed one is not: its source failed after the commit.
  const isSourceLost = error?.code === 'ERR_SPOOL_SOURCE_FAILED' && committed === undefined
  if (!resumable || isSourceLost) {
    return `upload the current file again, or run "${propose('abort')}"`
  }
  const next = `run "${propose('resume')}"`
  // The record does not say whether the target can work. Bytes that are only on OSS cannot be moved.
  return error === undefined || kept !== 'here'
    ? next
    : `${next}, or, if its bucket, key or endpoint is wrong, ${wording.resume(id, { to: 'object' })}`
}
