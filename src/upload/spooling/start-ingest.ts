/**
 * Starts an upload from a source: reconciles or reuses earlier runs, then creates the spool file, the first
 * checkpoint and the other dependencies of an `Ingest`.
 */
import { resumableSlot, type Checkpoint, type Spooling } from '../../disk/checkpoint.js'
import { createSpoolFile } from '../../disk/open-spool-file.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { SpoolError } from '../../errors.js'
import type { Place } from '../../oss/bucket.js'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { DiskQuota } from './disk-quota.js'
import { addFreed, freedParts, type FreedRanges } from '../model/freed-parts.js'
import { isOver, isSameObject, moveTo } from '../model/destination.js'
import { Ingest } from './ingest.js'
import type { UploadSettings } from '../model/options.js'
import {
  filesOf,
  newCheckpoint,
  withHost,
  startSpooling,
  startSuccessor,
  withLostInitiates,
} from '../model/phase.js'
import { createPlan, plannedPartCount, type CutPart } from '../model/plan.js'
import {
  chooseUploadId,
  findReusableBytes,
  listPartsWithRetry,
  reconcileCompletingRecords,
  takeOverIfBytesLost,
  type ReusableBytes,
} from './previous-run.js'
import { RecordWriter } from '../run/record-writer.js'
import { PartCutter } from './part-cutter.js'
import { SourceCompressor } from './source-compressor.js'
import { refuseIfMovedTo } from '../finish/relocate.js'
import { sealAtLastCommit } from '../finish/seal-at-commit.js'
import { UploadResources } from '../finish/upload-resources.js'

/**
 * Resolves when the first bytes can be written.
 * @param resumeAtOffset – the caller skips the first `ingest.offset` bytes of the source
 */
export async function startIngest(
  context: UploadContext,
  place: Place,
  settings: UploadSettings,
  { resumeAtOffset }: { resumeAtOffset: boolean },
): Promise<Ingest> {
  const { claim } = context
  const destination = { ...place, key: context.key }
  if (claim.checkpoint !== null) checkSameDestination(claim.checkpoint, place, context.key)
  await claim.records.forgetMoves(context.id, destination)
  await refuseIfMovedTo(claim.records, context.id, destination)
  return context.runUntilAborted(settings.signal, async () => {
    const takenOverFrom = claim.bytesLost ? claim.checkpoint?.host : undefined
    if (claim.checkpoint !== null) {
      await reconcileCompletingRecords(context)
      await takeOverIfBytesLost(context)
      await sealCommitted(context)
    }
    // An earlier upload of this id may be published elsewhere, and only be cleaned up there.
    const before =
      claim.checkpoint === null ? null : withLostInitiates(moveTo(claim.checkpoint, destination))
    const plan = createPlan(settings.partSize, objectSize(settings), settings.maxPartSize)
    const reused =
      resumeAtOffset && before !== null
        ? await findReusableBytes(context, before, settings, plan)
        : undefined
    const file =
      reused?.file ?? (await createSpoolFile(claim.directory, claim.host, settings.inPlace))
    try {
      const record = firstRecord(before, settings, plan, file, reused)
      const start = { before, record, reused, takenOverFrom }
      return await createIngest(context, place, settings, file, start)
    } catch (error) {
      await file.close()
      if (reused === undefined) await file.remove()
      throw error
    }
  })
}

/** Returns the size of the object, if it is known. That of a compressed one is not. */
function objectSize({ size, compression }: UploadSettings): number | undefined {
  return compression === undefined ? size : undefined
}

/** Keeps the bytes of a committed predecessor until the new stream is sealed. Damaged ones cannot be kept. */
async function sealCommitted(context: UploadContext): Promise<void> {
  try {
    await sealAtLastCommit(context)
  } catch (error) {
    if (!(error instanceof TempFileDamagedError)) throw error
    context.warn(`The committed bytes of the previous stream are lost: ${error.message}`, {
      cause: error,
    })
  }
}

function firstRecord(
  before: Checkpoint | null,
  settings: UploadSettings,
  plan: Spooling['plan'],
  file: SpoolFile,
  reused: ReusableBytes | undefined,
): Spooling {
  const { object, replay, once } = settings
  const fresh = startSpooling({ plan, object, replay, once, file: file.name })
  return {
    ...chooseUploadId(before, fresh, settings),
    crcs: reused?.crcs ?? [],
    spooled: reused?.spooled ?? 0,
    ...(reused?.freed === undefined ? {} : { freed: reused.freed }),
  }
}

async function createIngest(
  context: UploadContext,
  place: Place,
  settings: UploadSettings,
  file: SpoolFile,
  start: {
    before: Checkpoint | null
    record: Spooling
    reused: ReusableBytes | undefined
    takenOverFrom: string | undefined
  },
): Promise<Ingest> {
  const { claim, progress } = context
  const { before, record, reused } = start
  const cut: CutPart[] = []
  const { compression } = settings
  const compressor =
    compression === undefined ? undefined : new SourceCompressor(compression, settings.expect)
  const expect = compressor === undefined ? settings.expect : {}
  const cutter = new PartCutter(file, record.plan, expect, part => cut.push(part))
  const writer = new RecordWriter(claim, 'upload', () => ({
    ...progress.acknowledged,
    spooled: cutter.size,
    ...(settings.replay === 'offset' ? { crcs: [...cutter.crcs] } : {}),
  }))
  if (before === null) {
    writer.start(withHost(newCheckpoint(claim.id, place, context.key, record), claim.host))
  } else {
    const checkpoint = startSuccessor(before, record)
    await writer.save(checkpoint)
    await context.cleanUp(() => claim.removeOtherFiles(filesOf(checkpoint)))
  }
  const offset =
    reused === undefined ? 0 : await replayEarlierBytes(context, cutter, writer, record, reused)

  const limit = settings.maxSpoolBytes ?? Infinity
  const saveFreed = (freed: FreedRanges): Promise<void> => writer.write({ ...writer.record, freed })
  const alreadyFreed = freedParts(writer.record, offset)
  const quota = new DiskQuota(limit, file, alreadyFreed, saveFreed, context.signal)
  const resources = new UploadResources(context, writer, file)
  const fatal = new AbortController()
  const transfer = resources.startTransfer(file, {
    onDone: part => quota.acknowledge(part),
    onRestart: () => quota.reset(),
    onFailure: error => {
      // No failure of OSS or the network stops reading (rule 3), except an existing object.
      if (!(error instanceof OssRequestError) || errorKind(error) === 'exists') fatal.abort(error)
    },
  })
  const { lockLost } = claim
  lockLost?.addEventListener('abort', () => fatal.abort(lockLost.reason), { once: true })
  context.diagnostics.started({ resumed: false, spooled: offset }, start.takenOverFrom)
  const size = objectSize(settings)
  if (size !== undefined) {
    const parts = { ...progress.state.parts, total: plannedPartCount(record.plan, size) }
    progress.update({ size, parts })
  }
  const parts = {
    context,
    settings,
    writer,
    file,
    compressor,
    cutter,
    cut,
    quota,
    resources,
    transfer,
  }
  return new Ingest({ ...parts, offset, fatal: fatal.signal })
}

/** Verifies the bytes of an earlier run, in the file or on OSS. @returns how many were verified */
async function replayEarlierBytes(
  context: UploadContext,
  cutter: PartCutter,
  writer: RecordWriter,
  record: Spooling,
  reused: ReusableBytes,
): Promise<number> {
  const { freed, crcs } = reused
  const listed =
    freed === undefined ? undefined : (reused.listed ?? (await listPartsWithRetry(context, record)))
  const offset = await cutter.replay(crcs.map(BigInt), { freed, listed })
  if (freed === undefined) return offset
  const stillFreed = addFreed([], freedParts(record, offset))
  await writer.write({ ...writer.record, freed: stillFreed })
  return offset
}

/** Checks that the upload has the same destination. @throws SpoolError `ERR_SPOOL_ID_IN_USE` if it has not */
export function checkSameDestination(checkpoint: Checkpoint, place: Place, key: string): void {
  if (isSameObject(checkpoint, { ...place, key }) || isOver(checkpoint)) return
  const { id, endpoint, bucket, movedFrom } = checkpoint
  const object = `oss://${bucket}/${checkpoint.key} at ${endpoint}`
  const what = movedFrom === undefined ? 'belongs to' : 'was moved to'
  const at = endpoint === place.endpoint ? undefined : checkpoint
  const isResumable = resumableSlot(checkpoint) !== undefined
  throw new SpoolError('ERR_SPOOL_ID_IN_USE', `The id ${id} ${what} ${object}`, {
    id,
    hint: say => {
      const finish = isResumable
        ? ` To finish the other upload first, ${say.resume(id, { at })}.`
        : ''
      return `Use another ${say.option('id')}.${finish} To discard the other upload, ${say.abort(id, { at })}.`
    },
  })
}
