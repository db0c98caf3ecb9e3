/** `multipartUpload` of `ali-oss` alone, from an existing file (it accepts no stream). */
import OSS from 'ali-oss'

export const where = 'oss'
export const needsFile = true

export async function run({ places, key, partSize, parallel, file }) {
  const client = new OSS({ ...places.oss, timeout: 600_000 })
  await client.multipartUpload(key, file, { partSize, parallel })
}
