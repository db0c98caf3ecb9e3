/**
 * A bucket as one upload sees it: each of its requests takes its turn among those of all uploads, before
 * it is signed and before its body is read, so that what waits holds no socket and no memory.
 */
import type { Bucket, CallOptions } from './bucket.js'
import type { FairShare } from '../util/fair-semaphore.js'

export function withFairShare(bucket: Bucket, share: FairShare): Bucket {
  const run = <T>({ signal }: CallOptions, request: () => Promise<T>): Promise<T> =>
    share.run(signal, request)
  return {
    initiate: (key, headers, call) => run(call, () => bucket.initiate(key, headers, call)),
    uploadPart: (key, uploadId, part, call) =>
      run(call, () => bucket.uploadPart(key, uploadId, part, call)),
    listParts: (key, uploadId, call) => run(call, () => bucket.listParts(key, uploadId, call)),
    complete: (key, uploadId, parts, headers, call) =>
      run(call, () => bucket.complete(key, uploadId, parts, headers, call)),
    abort: (key, uploadId, call) => run(call, () => bucket.abort(key, uploadId, call)),
    put: (key, body, headers, call) => run(call, () => bucket.put(key, body, headers, call)),
    head: (key, call) => run(call, () => bucket.head(key, call)),
    listUploads: (key, call) => run(call, () => bucket.listUploads(key, call)),
    now: () => bucket.now(),
  }
}
