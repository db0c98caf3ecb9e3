/** `@aws-sdk/lib-storage` without checksums. */
import { upload } from './lib-storage.mjs'

export const where = 's3'

export function run(env) {
  return upload(env, { requestChecksumCalculation: 'WHEN_REQUIRED' })
}
