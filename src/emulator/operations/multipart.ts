/** Initiate, UploadPart and Abort; reading and completing have files of their own. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { Part } from '../store/parts.js'
import type { UploadRecord } from '../store/record.js'
import { isoTime, type Call } from './call.js'
import { bucketClass, encryptionHeader, forbidsOverwrite, refuseExisting } from './object-write.js'
import { encodedKey } from './encoding.js'
import { digestHeaders, receive } from './receive.js'
import { uploadTraitsOf } from './traits.js'

const MAX_PART_NUMBER = 10_000

/** The ECs that NoSuchUpload carries, by who says it. */
export const NO_SUCH_UPLOAD_EC = {
  abort: '0042-00000002',
  part: '0042-00000104',
  complete: '0042-00000203',
  copy: '0042-00000311',
  list: '0042-00000002',
} as const

export async function initiateMultipartUpload(call: Call): Promise<Reply> {
  const { store, bucket, key, headers, query, now } = call
  const traits = uploadTraitsOf(headers, await bucketClass(call))
  if (forbidsOverwrite(call)) refuseExisting(await store.objects.get(bucket, key))
  const upload = await store.uploads.create(bucket, {
    ...traits,
    key,
    initiated: isoTime(now),
    sequential: query.has('sequential'),
  })
  const { name, encoding } = encodedKey(call)
  return xmlReply(
    'InitiateMultipartUploadResult',
    { ...encoding, Bucket: bucket, Key: name(key), UploadId: upload.id },
    encryptionHeader(traits),
  )
}

export async function uploadPart(call: Call): Promise<Reply> {
  const number = partNumberOf(call)
  const upload = await theUpload(call, 'part')
  return receive(call, async ({ file, digest }) => {
    const { store, bucket } = call
    const check = upload.sequential
      ? (parts: readonly Part[]) => checkSequence(parts, number)
      : undefined
    const part = await store.uploads.putPart(bucket, upload, number, file, digest, check)
    if (part === undefined) throw noSuchUpload(upload.id, 'part')
    return emptyReply(200, { ...digestHeaders(digest), ...encryptionHeader(upload) })
  })
}

export async function abortMultipartUpload(call: Call): Promise<Reply> {
  const upload = await theUpload(call, 'abort')
  const aborted = await call.store.uploads.abort(call.bucket, upload)
  if (!aborted) throw noSuchUpload(upload.id, 'abort')
  return emptyReply(204)
}

/** The upload that the request names, or 404. */
export async function theUpload(
  { store, bucket, key, query }: Call,
  who: keyof typeof NO_SUCH_UPLOAD_EC,
): Promise<UploadRecord> {
  const id = query.get('uploadId') ?? ''
  const upload = await store.uploads.get(bucket, key, id)
  if (upload === undefined) throw noSuchUpload(id, who)
  return upload
}

export function noSuchUpload(id: string, who: keyof typeof NO_SUCH_UPLOAD_EC): OssError {
  return new OssError('NoSuchUpload', { ec: NO_SUCH_UPLOAD_EC[who], extra: { UploadId: id } })
}

/** The part number of the request, or 400. */
export function partNumberOf({ query }: Call): number {
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

function checkSequence(parts: readonly Part[], number: number): void {
  if (parts.some(part => part.number === number)) throw new OssError('PartAlreadyExist')
  if (number !== parts.length + 1) throw new OssError('PartNotSequential')
}
