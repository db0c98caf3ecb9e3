/** Server-side encryption: headers are checked, stored and returned. Nothing is encrypted. */
import { OssError } from '../oss-error.js'
import type { HeaderMap } from '../http/headers.js'
import type { Encryption, ObjectMetadata } from '../store/record.js'

const METHOD = 'x-oss-server-side-encryption'
const DATA_METHOD = 'x-oss-server-side-data-encryption'
const KEY_ID = 'x-oss-server-side-encryption-key-id'

/** Id of the key that KMS uses unless the client names one. */
const DEFAULT_KEY_ID = '00000000-0000-4000-8000-000000000000'

/** Returns the encryption that the headers request. */
export function parseEncryption(headers: HeaderMap): Encryption | undefined {
  const method = headers.get(METHOD)
  if (method === undefined) return undefined
  if (!['AES256', 'KMS', 'SM4'].includes(method))
    throw new OssError('InvalidEncryptionAlgorithmError')
  if (method !== 'KMS') return { method }
  const dataMethod = headers.get(DATA_METHOD)
  if (dataMethod !== undefined && dataMethod !== 'SM4')
    throw new OssError('InvalidEncryptionAlgorithmError')
  const keyId = headers.get(KEY_ID) || DEFAULT_KEY_ID
  return { method, keyId, ...(dataMethod === undefined ? {} : { dataMethod }) }
}

/** Returns the headers that name the encryption of an object. */
export function encryptionHeaders({
  encryption,
}: Pick<ObjectMetadata, 'encryption'>): Record<string, string> {
  if (encryption === undefined) return {}
  const { method, dataMethod, keyId } = encryption
  return {
    [METHOD]: method,
    ...(dataMethod === undefined ? {} : { [DATA_METHOD]: dataMethod }),
    ...(keyId === undefined ? {} : { [KEY_ID]: keyId }),
  }
}
