/** Traffic seen by the embedded OSS, from its own request log, so that the demo does not rely on our own counts. */

/** Bytes in acknowledged parts. */
export function partsOn({ requests }) {
  return bodies(requests.filter(r => r.operation === 'UploadPart' && r.status === 200))
}

/** Bytes of content received, including those of incomplete requests. */
export function bodies(requests) {
  return requests
    .filter(({ operation }) => operation === 'UploadPart' || operation === 'PutObject')
    .reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Whether the stream was sent by a single PutObject because it fits into one part. */
export function isSinglePut({ requests }) {
  return requests.some(({ operation }) => operation === 'PutObject')
}
