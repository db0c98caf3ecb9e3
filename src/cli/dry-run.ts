/** `--dry-run` of `put` and `run`: describes each upload. Reads the spool; sends and writes nothing. */
import { isFinishable, resumableSlot, type Checkpoint } from '../disk/checkpoint.js'
import { LocalRecordStore } from '../disk/local-record-store.js'
import { SpoolError } from '../errors.js'
import { defaultId } from '../upload/model/names.js'
import { isTooOld } from '../upload/model/phase.js'
import { checkSameDestination } from '../upload/spooling/start-ingest.js'
import type { Compression } from '../util/compression.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { EXIT_SUCCESS } from './exit-status.js'
import { reportError } from './report.js'
import type { Session } from './session.js'
import { spoolDirectoryOf } from './spool-content.js'
import { formatBytes } from './units.js'
import type { UploadFlags } from './upload-flags.js'

/** An upload that was asked for. */
export interface PlannedUpload {
  readonly bucket: string
  readonly key: string
  /** Source, for messages: a file, or a description. */
  readonly from: string
  /** Bytes of the source, if known. */
  readonly size?: number | undefined
  /** How the source's bytes are compressed. */
  readonly compression?: Compression | undefined
  /** What may take the place of the source. Standard input is always read. */
  readonly reuses: 'nothing' | 'receipt' | 'receipt or sealed bytes'
  /** Sealed bytes that are older are not reused, in ms. */
  readonly maxAge?: number | undefined
  /** Nothing is sent if the object equals the file, which only OSS can tell. */
  readonly ifChanged?: true | undefined
}

/** JSON of `--dry-run`. */
interface DryRunReport {
  readonly dryRun: true
  /** `upload` reads the source, `finish` sends sealed bytes, `none` returns a receipt. */
  readonly action: 'upload' | 'finish' | 'none'
  readonly id: string
  readonly bucket: string
  readonly key: string
  readonly from: string
  readonly size?: number
  readonly sealedAt?: string
  readonly compression?: Compression
  readonly ifChanged?: true
}

/** Prints what an upload would do. Resolves to its exit status. */
export async function reportDryRun(
  session: Session,
  planned: PlannedUpload,
  flags: UploadFlags,
  command: string,
): Promise<number> {
  try {
    const report = await planUpload(session, planned, flags)
    if (flags.json) session.printJson(report)
    else session.print(formatReport(report))
    return EXIT_SUCCESS
  } catch (error) {
    const object = `oss://${planned.bucket}/${planned.key}`
    return reportError(session, error, flags, { command, object })
  }
}

async function planUpload(
  session: Session,
  { bucket, key, from, size, reuses, maxAge = Infinity, compression, ifChanged }: PlannedUpload,
  flags: UploadFlags,
): Promise<DryRunReport> {
  const connection = await session.connectOffline(flags, bucket)
  const place = connection.place(bucket)
  const id = flags.id ?? defaultId(place, key)
  const checkpoint = await readCheckpoint(await spoolDirectoryOf(session, flags), id)
  if (checkpoint !== undefined) checkSameDestination(checkpoint, place, key)
  const object = { id, bucket, key, from }
  const receipt = reuses === 'nothing' ? undefined : receiptOf(checkpoint)
  if (receipt !== undefined) return { dryRun: true, action: 'none', ...object, ...receipt }
  const sealed = reuses === 'receipt or sealed bytes' ? sealedBytesOf(checkpoint) : undefined
  return sealed !== undefined && !isTooOld(sealed, maxAge)
    ? { dryRun: true, action: 'finish', ...object, ...sealed }
    : {
        dryRun: true,
        action: 'upload',
        ...object,
        ...omitUndefined({ size, compression, ifChanged }),
      }
}

/** A damaged record does not stop an upload, which quarantines it. */
async function readCheckpoint(directory: string, id: string): Promise<Checkpoint | undefined> {
  try {
    return (await new LocalRecordStore(directory).read(id)) ?? undefined
  } catch (error) {
    if (error instanceof SpoolError && error.code === 'ERR_SPOOL_CORRUPT') return undefined
    throw error
  }
}

type ReusedBytes = Required<Pick<DryRunReport, 'size' | 'sealedAt'>>

function receiptOf(checkpoint: Checkpoint | undefined): ReusedBytes | undefined {
  const upload = checkpoint?.upload
  if (upload?.phase !== 'published' || !upload.once) return undefined
  return { size: upload.size, sealedAt: upload.sealedAt }
}

/** Returns the bytes of a whole stream. A prefix up to a commit does not replace its source. */
function sealedBytesOf(checkpoint: Checkpoint | undefined): ReusedBytes | undefined {
  const slot = checkpoint === undefined ? undefined : resumableSlot(checkpoint)
  const record = slot === undefined ? undefined : checkpoint?.[slot]
  if (!isFinishable(record) || record.prefix === true) return undefined
  return { size: record.size, sealedAt: record.sealedAt }
}

function formatReport(report: DryRunReport): string {
  const { action, id, bucket, key, from, size, sealedAt, compression, ifChanged } = report
  const sizeText = size === undefined ? '' : `, ${formatBytes(size)}`
  const compressed = compression === undefined ? '' : `, compressed with ${compression.format}`
  const unless = ifChanged ? ', unless the object is unchanged' : ''
  const textByAction = {
    upload: `${from} would be uploaded with the id ${id}${sizeText}${compressed}${unless}`,
    finish: `upload ${id}, sealed at ${sealedAt}${sizeText}, would be finished without ${from}`,
    none: `already uploaded with the id ${id}${sizeText}; nothing would be sent`,
  }
  return `oss://${bucket}/${key}: ${textByAction[action]}`
}
