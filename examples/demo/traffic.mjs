/** What the embedded OSS saw, by its own request log: the demo does not take our word for it. */

/** Bytes in parts that it has acknowledged. */
export function partsOn({ requests }) {
  return bodies(requests.filter(r => r.operation === 'UploadPart' && r.status === 200))
}

/** Bytes of content that came in, whether their request was brought to its end or not. */
export function bodies(requests) {
  return requests
    .filter(({ operation }) => operation === 'UploadPart' || operation === 'PutObject')
    .reduce((sum, { bytes }) => sum + bytes, 0)
}

/** A stream that fits into one part comes as a single PutObject. */
export function isSinglePut({ requests }) {
  return requests.some(({ operation }) => operation === 'PutObject')
}
