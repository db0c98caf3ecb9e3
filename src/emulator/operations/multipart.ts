/** InitiateMultipartUpload, UploadPart and AbortMultipartUpload. The rest have their own files. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { StoredPart } from '../store/parts.js'
import type { MultipartUploadRecord } from '../store/record.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { encryptionHeaders } from './encryption.js'
import { defaultStorageClass, forbidsOverwrite, throwIfExists } from './object-write.js'
import { readNameEncoding } from './name-encoding.js'
import { digestHeaders, receiveBody } from './receive-body.js'
import { uploadMetadataOf } from './object-metadata.js'

const MAX_PART_NUMBER = 10_000

/** ECs of NoSuchUpload by operation. */
export const NO_SUCH_UPLOAD_EC_BY_OPERATION = {
  abort: '0042-00000002',
  part: '0042-00000104',
  complete: '0042-00000203',
  copy: '0042-00000311',
  list: '0042-00000002',
} as const

export async function initiateMultipartUpload(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, headers, query, now } = context
  const metadata = uploadMetadataOf(headers, await defaultStorageClass(context))
  if (forbidsOverwrite(context)) throwIfExists(await store.objects.get(bucket, key))
  const upload = await store.uploads.create(bucket, {
    ...metadata,
    key,
    initiated: isoTime(now),
    sequential: query.has('sequential'),
  })
  const { encodeName, encoding } = readNameEncoding(context)
  return xmlReply(
    'InitiateMultipartUploadResult',
    { ...encoding, Bucket: bucket, Key: encodeName(key), UploadId: upload.id },
    encryptionHeaders(metadata),
  )
}

export async function uploadPart(context: OperationContext): Promise<Reply> {
  const number = parsePartNumber(context)
  const upload = await requireUpload(context, 'part')
  return receiveBody(context, async ({ staged, digest }) => {
    const { store, bucket } = context
    const check = upload.sequential
      ? (parts: readonly StoredPart[]) => checkPartSequence(parts, number)
      : undefined
    const source = staged.kind === 'file' ? staged.path : undefined
    const part = await store.uploads.putPart(bucket, upload, number, source, digest, check)
    if (part === undefined) throw noSuchUpload(upload.id, 'part')
    return emptyReply(200, { ...digestHeaders(digest, context), ...encryptionHeaders(upload) })
  })
}

export async function abortMultipartUpload(context: OperationContext): Promise<Reply> {
  const upload = await requireUpload(context, 'abort')
  const aborted = await context.store.uploads.abort(context.bucket, upload)
  if (!aborted) throw noSuchUpload(upload.id, 'abort')
  return emptyReply(204)
}

/** Resolves with the upload that the request names; throws 404 NoSuchUpload. */
export async function requireUpload(
  { store, bucket, key, query }: OperationContext,
  operation: keyof typeof NO_SUCH_UPLOAD_EC_BY_OPERATION,
): Promise<MultipartUploadRecord> {
  const id = query.get('uploadId') ?? ''
  const upload = await store.uploads.get(bucket, key, id)
  if (upload === undefined) throw noSuchUpload(id, operation)
  return upload
}

export function noSuchUpload(
  id: string,
  operation: keyof typeof NO_SUCH_UPLOAD_EC_BY_OPERATION,
): OssError {
  return new OssError('NoSuchUpload', {
    ec: NO_SUCH_UPLOAD_EC_BY_OPERATION[operation],
    extra: { UploadId: id },
  })
}

/** Returns the part number of the request; throws 400 InvalidArgument. */
export function parsePartNumber({ query }: OperationContext): number {
  const text = query.get('partNumber') ?? ''
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < 1 || number > MAX_PART_NUMBER)
    throw invalidArgument(
      'PartNumber',
      text,
      'Part number must be an integer between 1 and 10000, inclusive.',
      '0017-00000220',
    )
  return number
}

function checkPartSequence(parts: readonly StoredPart[], number: number): void {
  if (parts.some(part => part.number === number)) throw new OssError('PartAlreadyExist')
  if (number !== parts.length + 1) throw new OssError('PartNotSequential')
}
