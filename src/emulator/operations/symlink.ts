/** PutSymlink and GetSymlink. Reads of a symlink return the bytes of the object that it names. */
import { createHash } from 'node:crypto'
import { isoTime } from '../iso-time.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { encodeRfc3986, percentDecode } from '../http/request-target.js'
import { emptyReply, type Reply } from '../reply.js'
import { newVersionId } from '../store/versions.js'
import { metadataOf } from './object-metadata.js'
import { requireLink } from './object-read.js'
import { defaultStorageClass, forbidsOverwrite, throwIfExists } from './object-write.js'
import { httpTime, type OperationContext } from './operation-context.js'
import { versionHeader } from './versioning.js'

const TARGET_HEADER = 'x-oss-symlink-target'

export async function putSymlink(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, headers, now, versioning } = context
  const value = headers.get(TARGET_HEADER) ?? ''
  const target = percentDecode(value.replaceAll('+', ' ')) // as in a path
  if (target === undefined || target === '')
    throw invalidArgument(TARGET_HEADER, value, 'The symlink target is invalid.')
  const metadata = metadataOf(headers, await defaultStorageClass(context))
  const etag = createHash('md5').update(target).digest('hex').toUpperCase()
  const record = await store.objects.put(bucket, key, { kind: 'none' }, old => {
    if (forbidsOverwrite(context)) throwIfExists(old)
    const version = { key, ...newVersionId(versioning), modified: isoTime(now) }
    return { ...metadata, ...version, type: 'Symlink', target, size: 0, etag }
  })
  return emptyReply(200, { ETag: `"${etag}"`, ...versionHeader(context, record) })
}

export async function getSymlink(context: OperationContext): Promise<Reply> {
  const link = await requireLink(context)
  const { target, etag, modified, meta } = link
  if (target === undefined) throw new OssError('NotSymlink')
  const metaHeaders = Object.entries(meta).map(([name, value]) => [`x-oss-meta-${name}`, value])
  return emptyReply(200, {
    ...(Object.fromEntries(metaHeaders) as Record<string, string>), // pairs of strings, see above
    ETag: `"${etag}"`,
    ...versionHeader(context, link),
    'Last-Modified': httpTime(modified),
    [TARGET_HEADER]: encodeRfc3986(target).replaceAll('%2F', '/'),
  })
}
