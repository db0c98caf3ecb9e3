/** Seals a committed stream at its last commit, before it is published or superseded (rule 13). */
import { isCommitted } from '../../disk/checkpoint.js'
import { openSpoolFile } from '../../disk/open-spool-file.js'
import { replacePrevious, sealAtCommit, withLostInitiates } from '../model/phase.js'
import type { UploadContext } from '../run/context.js'

/**
 * Drops the bytes after the last commit and seals the upload there. Does nothing to an upload that is not
 * committed.
 * @throws TempFileDamagedError if committed bytes are missing
 */
export async function sealAtLastCommit(context: UploadContext): Promise<void> {
  const { claim, checkpoint } = context
  const { upload, previous } = checkpoint
  if (!isCommitted(upload)) return
  const { size } = upload.committed
  const file = await openSpoolFile(claim.directory, upload.file)
  try {
    if (file.size < size) {
      throw file.damagedError(
        `The temp file has ${file.size} bytes, of which ${size} were committed`,
      )
    }
    // First, since a sealed record requires a file of exactly its size.
    await file.truncate(size)
    await file.sync()
  } finally {
    await file.close()
  }
  const current = withLostInitiates(checkpoint)
  if (!isCommitted(current.upload)) return
  await claim.db.write(replacePrevious(current, sealAtCommit(current.upload)))
  if (previous !== undefined) await context.cleanUp(() => claim.removeFile(previous.file))
}
