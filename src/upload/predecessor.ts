/**
 * Before a new stream supersedes an upload in `completing`, its fate is settled (rule 8), if OSS can
 * be asked. If it cannot, the new stream is not kept waiting: nothing stops the reading (rule 3).
 */
import { errorKind, OssRequestError } from '../oss/request-error.js'
import type { UploadContext } from './context.js'
import { RecordWriter } from './record-writer.js'
import { publish, dropPrevious, uploadIdsToAbort } from './phase.js'
import { reconcile, asUnpublished } from './reconcile.js'

/** The source is waiting. */
const RECONCILE_TIMEOUT_MS = 5_000

export async function reconcilePredecessor(context: UploadContext): Promise<void> {
  const { claim, bucket, key, signal } = context
  for (const slot of ['upload', 'previous'] as const) {
    const record = claim.checkpoint?.[slot]
    if (record?.phase !== 'completing') continue
    const writer = new RecordWriter(claim, slot)
    try {
      const call = { signal, idleTimeout: RECONCILE_TIMEOUT_MS }
      const { outcome, object } = await reconcile(record, bucket, key, call)
      if (outcome === 'ours' && object !== undefined) {
        const { etag, requestId } = object
        const published = publish(record, { etag, requestId, parts: record.crcs.length })
        const { checkpoint } = writer
        const rest = slot === 'upload' ? writer.with(published) : dropPrevious(checkpoint)
        await writer.save({ ...rest, superseded: uploadIdsToAbort(checkpoint, record, false) })
        await claim.removeFile(record.file)
      } else if (outcome === 'wrong') {
        await writer.dropWrongUploadId()
      } else if (outcome === 'alive' || outcome === 'nothing') {
        await writer.write(asUnpublished(record, outcome))
      } // a stranger's object: as long as it is there, only `--force` may write over it
    } catch (error) {
      if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
      context.warn(
        `It is not known yet whether the upload before this one succeeded: ${error.describe()}`,
      )
    }
  }
}
