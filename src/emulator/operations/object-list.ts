/** ListObjects and ListObjectsV2. */
import { invalidArgument } from '../oss-error.js'
import { isoTime } from '../iso-time.js'
import { xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import type { ObjectRecord } from '../store/record.js'
import type { OperationContext } from './operation-context.js'
import { readNameEncoding } from './name-encoding.js'
import { restoreState } from './restore-state.js'
import { compareKeys, paginate, type Page } from './pagination.js'
import { integerParameter } from './multipart-list.js'

export async function listObjects(context: OperationContext): Promise<Reply> {
  const marker = context.query.get('marker') ?? ''
  const { prefix, delimiter, max } = listParameters(context)
  const page = await listObjectPage(context, marker)
  const { encodeName, encoding } = readNameEncoding(context)
  return xmlReply('ListBucketResult', {
    ...encoding,
    Name: context.bucket,
    Prefix: encodeName(prefix),
    Marker: encodeName(marker),
    MaxKeys: max,
    Delimiter: encodeName(delimiter),
    IsTruncated: page.truncated,
    NextMarker: page.truncated ? encodeName(page.lastName ?? '') : undefined,
    Contents: page.items.map(object =>
      contentsElement(object, encodeName, { now: context.now, fetchOwner: true }),
    ),
    CommonPrefixes: page.prefixes.map(commonPrefix => ({ Prefix: encodeName(commonPrefix) })),
  })
}

export async function listObjectsV2(context: OperationContext): Promise<Reply> {
  const { query } = context
  const startAfter = query.get('start-after') ?? ''
  const token = query.get('continuation-token') || undefined // '' starts from the beginning
  const { prefix, delimiter, max } = listParameters(context)
  const page = await listObjectPage(
    context,
    token === undefined ? startAfter : decodeContinuationToken(token),
  )
  const { encodeName, encoding } = readNameEncoding(context)
  const fetchOwner = query.get('fetch-owner') === 'true'
  return xmlReply('ListBucketResult', {
    ...encoding,
    Name: context.bucket,
    Prefix: encodeName(prefix),
    StartAfter: startAfter === '' ? undefined : encodeName(startAfter),
    MaxKeys: max,
    Delimiter: encodeName(delimiter),
    IsTruncated: page.truncated,
    ContinuationToken: token,
    NextContinuationToken: page.truncated
      ? encodeContinuationToken(page.lastName ?? '')
      : undefined,
    Contents: page.items.map(object =>
      contentsElement(object, encodeName, { now: context.now, fetchOwner }),
    ),
    CommonPrefixes: page.prefixes.map(commonPrefix => ({ Prefix: encodeName(commonPrefix) })),
    KeyCount: page.items.length + page.prefixes.length,
  })
}

/** Maximum length of a prefix, which is that of a key, in bytes of UTF-8. */
const MAX_PREFIX_BYTES = 1023

/** Returns the parameters that the lists of objects and of versions share; throws 400 InvalidArgument. */
export function listParameters({ query }: OperationContext) {
  const prefix = query.get('prefix') ?? ''
  if (Buffer.byteLength(prefix) > MAX_PREFIX_BYTES)
    throw invalidArgument('prefix', prefix, 'The prefix is too long.')
  return {
    prefix,
    delimiter: query.get('delimiter') ?? '',
    max: integerParameter(query, 'max-keys', 100, 1000),
  }
}

async function listObjectPage(
  context: OperationContext,
  marker: string,
): Promise<Page<ObjectRecord>> {
  const { store, bucket } = context
  const { prefix, delimiter, max } = listParameters(context)
  const keys = (await store.objects.listKeys(bucket)).filter(key => key.startsWith(prefix))
  return paginate(keys.toSorted(compareKeys), {
    keyOf: key => key,
    prefix,
    delimiter,
    maxItems: max,
    isAfterMarker: key => compareKeys(key, marker) > 0,
    marker,
    loadItem: key => store.objects.get(bucket, key),
  })
}

/** Returns the elements of a listed object. */
export function contentsElement(
  object: ObjectRecord,
  encodeName: (text: string) => string,
  { now, fetchOwner }: { now: number; fetchOwner: boolean },
) {
  return {
    Key: encodeName(object.key),
    LastModified: isoTime(Date.parse(object.modified)),
    ETag: `"${object.etag}"`,
    Type: object.type,
    Size: object.size,
    StorageClass: object.storageClass,
    RestoreInfo: restoreState(object, now),
    Owner: fetchOwner ? OWNER : undefined,
  }
}

// Opaque to clients. Tokens of the service look like `CgJiYw--`.
const encodeContinuationToken = (key: string): string =>
  Buffer.from(key).toString('base64').replaceAll('=', '-').replaceAll('+', '.').replaceAll('/', '_')

function decodeContinuationToken(token: string): string {
  const plain = token.replaceAll('-', '=').replaceAll('.', '+').replaceAll('_', '/')
  const key = Buffer.from(plain, 'base64').toString()
  if (encodeContinuationToken(key) !== token)
    throw invalidArgument('continuation-token', token, 'The continuation-token is incorrect.')
  return key
}
