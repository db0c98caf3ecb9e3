/**
 * A bucket as one upload sees it: each of its requests takes its turn among those of all uploads, before
 * it is signed and before its body is read, so that what waits holds no socket and no memory.
 */
import type { Bucket, Call } from './port.js'
import type { Share } from './turns.js'

export function inTurn(bucket: Bucket, share: Share): Bucket {
  const turn = <T>({ signal }: Call, request: () => Promise<T>): Promise<T> =>
    share.take(signal, request)
  return {
    initiate: (key, headers, call) => turn(call, () => bucket.initiate(key, headers, call)),
    uploadPart: (key, uploadId, part, call) =>
      turn(call, () => bucket.uploadPart(key, uploadId, part, call)),
    listParts: (key, uploadId, call) => turn(call, () => bucket.listParts(key, uploadId, call)),
    complete: (key, uploadId, parts, headers, call) =>
      turn(call, () => bucket.complete(key, uploadId, parts, headers, call)),
    abort: (key, uploadId, call) => turn(call, () => bucket.abort(key, uploadId, call)),
    put: (key, body, headers, call) => turn(call, () => bucket.put(key, body, headers, call)),
    head: (key, call) => turn(call, () => bucket.head(key, call)),
    listUploads: (key, call) => turn(call, () => bucket.listUploads(key, call)),
    now: () => bucket.now(),
  }
}
