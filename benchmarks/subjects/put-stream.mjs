/** `putStream` of `ali-oss`: one request of at most 5 GB, no spool, no retries. */
import OSS from 'ali-oss'

export const where = 'oss'

export async function run({ places, key, source }) {
  await new OSS({ ...places.oss, timeout: 600_000 }).putStream(key, source)
}
