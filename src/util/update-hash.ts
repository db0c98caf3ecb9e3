/** Updates a hash with any number of bytes. Node refuses more than 2 GiB at once. */

/** Largest piece that is hashed at once, in bytes. */
const MAX_BYTES = 1024 ** 3

export function updateHash(hash: { update(piece: Uint8Array): unknown }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at += MAX_BYTES) {
    hash.update(bytes.length <= MAX_BYTES ? bytes : bytes.subarray(at, at + MAX_BYTES))
  }
}
