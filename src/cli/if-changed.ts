/** `--if-changed`: compares an object with a file by size and CRC64. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { ObjectInfo } from '../oss/bucket.js'
import type { CliConnection } from './connection.js'
import type { CliUploadResult } from './report.js'
import type { Session } from './session.js'

/**
 * Resolves to a result if the object equals the file, otherwise, or after a signal, to `undefined`. Reads the file only
 * if the sizes are equal. If HeadObject fails, the file counts as changed, and the upload handles further failures.
 */
export async function resultIfUnchanged(
  connection: CliConnection,
  key: string,
  file: string,
  id: string,
  session: Session,
): Promise<CliUploadResult | undefined> {
  const startedAt = performance.now()
  const place = connection.place()
  const { signal } = session
  const object = await connection
    .open(place)
    .head(key, { signal })
    .catch((error: Error) => {
      if (signal.aborted) return
      session.logLine(`${file} counts as changed because HeadObject failed: ${error.message}`, {
        level: 'warn',
      })
    })
  if (object?.crc64 === undefined || object.size !== (await stat(file)).size) return undefined
  if ((await fileCrc64(file, signal)) !== object.crc64) return undefined
  const target = { id, bucket: place.bucket, key }
  return unchangedResult(target, object, object.crc64, performance.now() - startedAt)
}

/** Resolves to `undefined` after a signal. */
async function fileCrc64(file: string, signal: AbortSignal): Promise<bigint | undefined> {
  const { Crc64 } = await import('../crc64.js')
  const crc = new Crc64()
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    if (signal.aborted) return undefined
    crc.update(chunk as Buffer) // no encoding is set, so chunks are buffers
  }
  return crc.digest()
}

function unchangedResult(
  target: { id: string; bucket: string; key: string },
  { size, etag, lastModified, requestId, versionId }: ObjectInfo,
  crc64: bigint,
  elapsed: number,
): CliUploadResult {
  return {
    ...target,
    size,
    crc64: String(crc64),
    etag,
    parts: Number(/-(\d+)"?$/.exec(etag)?.[1] ?? 1),
    sent: 0,
    skipped: size,
    sourceRead: false,
    resumed: false,
    sealedAt: new Date(lastModified).toISOString(),
    elapsed: Math.round(elapsed),
    requestId,
    ...(versionId === undefined ? {} : { versionId }),
    unchanged: true,
  }
}
