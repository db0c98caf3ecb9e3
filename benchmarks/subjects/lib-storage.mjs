/** `@aws-sdk/lib-storage`, parts in memory; its checksums are on by default. */
import { S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

export const where = 's3'

export function run(env) {
  return upload(env, {})
}

export async function upload({ places, key, partSize, parallel, source }, options) {
  const client = new S3Client({
    endpoint: places.s3,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'bench', secretAccessKey: 'bench' },
    ...options,
  })
  const params = { Bucket: 'bench', Key: key, Body: source }
  await new Upload({ client, params, partSize, queueSize: parallel }).done()
  client.destroy()
}
