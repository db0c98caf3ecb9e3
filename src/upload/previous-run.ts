/**
 * What earlier runs left that a new stream can use: an upload id with its parts, and for a source that
 * continues, the bytes in front of it. Those are in the temp file, or only on OSS: then the file has a
 * hole in their place, and they count as freed.
 */
import type { Checkpoint, Spooling } from '../disk/checkpoint.js'
import { TempFile, TempFileDamagedError } from '../disk/temp-file.js'
import { errorKind, OssRequestError } from '../oss/request-error.js'
import type { ListedPart } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { hasFreedParts, type FreedRanges } from './freed-parts.js'
import type { UploadSettings } from './options.js'
import { adoptUploadId, initiationDigest, isTakenOver } from './phase.js'
import { firstPart, nextPart } from './plan.js'
import { withRetry } from './retry.js'
import { tryListParts } from './takeover.js'

/** What an unsealed earlier run left, for a source that continues behind it. */
export interface ReusableSpool {
  readonly file: TempFile
  readonly crcs: string[]
  /** Bytes in the file, with its holes. */
  readonly spooled: number
  readonly freed?: FreedRanges | undefined
  /** What OSS has of them, where that is known already. */
  readonly listed?: ReadonlyMap<number, ListedPart>
}

/** Where source and caller can continue: the temp file, or what OSS has of one that is gone. */
export async function findReusableSpool(
  context: UploadContext,
  { upload }: Checkpoint,
  settings: UploadSettings,
  plan: Spooling['plan'],
): Promise<ReusableSpool | undefined> {
  const wanted = settings.replay === 'offset' && upload.replay === 'offset'
  if (!wanted || upload.phase !== 'spooling') return undefined
  if (upload.plan.base !== plan.base || upload.plan.cap !== plan.cap) return undefined
  const displaced = isTakenOver(upload)
  // What is not here can neither be hashed nor be sent under another upload id.
  const { md5, sha256 } = settings.expect
  const asIs = initiationDigest(settings.object) === upload.digest && !md5 && !sha256
  if ((displaced || hasFreedParts(upload)) && !asIs) return undefined
  if (displaced)
    return settings.inPlace === undefined ? reusableFromOss(context, upload) : undefined
  try {
    const file = await TempFile.open(context.claim.directory, upload.file)
    return { file, crcs: upload.crcs, spooled: upload.spooled, freed: upload.freed }
  } catch (error) {
    if (error instanceof TempFileDamagedError) return undefined
    throw error
  }
}

/** The bytes went with another disk. As many of them as OSS lists without a gap need not come again. */
async function reusableFromOss(
  context: UploadContext,
  record: Spooling,
): Promise<ReusableSpool | undefined> {
  const { plan, crcs } = record
  const listed = await tryListParts(context, record)
  if (listed?.has(1) !== true) return undefined
  let next = firstPart(plan)
  for (let i = 0; i < crcs.length; i++) next = nextPart(plan, next)
  const file = TempFile.create(context.claim.directory, context.claim.host)
  await file.truncate(next.start)
  return { file, crcs, spooled: next.start, freed: [[1, crcs.length]], listed }
}

/** What OSS has of an earlier run. It decides where the source goes on, so it is waited for. */
export async function listPartsWithRetry(
  { bucket, key, callOptions, retryPolicy }: UploadContext,
  { uploadId }: Spooling,
): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  if (uploadId === undefined) return undefined
  const policy = { ...retryPolicy, fatalKinds: ['no-upload' as const], isUnlimited: () => true }
  return withRetry(() => bucket.listParts(key, uploadId, callOptions), policy).catch(
    (error: unknown) => {
      if (error instanceof OssRequestError && errorKind(error) === 'no-upload') return undefined
      throw error
    },
  )
}

/**
 * An upload id of an earlier run serves if all that is sent at initiation is the same (rule 4), one that
 * `ali-oss` made if nobody here has begun. A bounded spool borrows none of a sealed upload: it may have to
 * leave it, and its freed parts with it.
 */
export function chooseUploadId(
  before: Checkpoint | null,
  fresh: Spooling,
  { maxSpoolBytes, checkpoint }: UploadSettings,
): Spooling {
  if (before === null && checkpoint !== undefined) {
    return adoptUploadId(fresh, {
      token: fresh.token,
      uploadId: checkpoint.uploadId,
      imported: true,
    })
  }
  const sealed = before?.previous?.uploadId
  for (const donor of [before?.upload, before?.previous]) {
    const own = donor?.phase === 'spooling' && donor.uploadId !== sealed
    const usable = donor?.phase === 'spooling' || donor?.phase === 'sealed'
    if (maxSpoolBytes !== undefined && !own) continue
    if (usable && donor.digest === fresh.digest && donor.uploadId !== undefined) {
      return adoptUploadId(fresh, donor)
    }
  }
  return fresh
}
