/** DeleteMultipleObjects. Deletes up to 1000 objects or versions; missing ones are not an error. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { percentDecode } from '../http/request-target.js'
import { versionIdOf } from '../store/versions.js'
import type { OperationContext } from './operation-context.js'
import { readNameEncoding } from './name-encoding.js'
import { deleteVersion } from './object-delete.js'
import { readXmlBody } from './xml-body.js'

const MAX_DELETE_KEYS = 1000

export async function deleteMultipleObjects(context: OperationContext): Promise<Reply> {
  const { encodeName, encoding } = readNameEncoding(context)
  const xml = await readXmlBody(context, 'Delete')
  const objects = xml?.children('Object') ?? []
  if (objects.length === 0 || objects.length > MAX_DELETE_KEYS) throw new OssError('MalformedXML')
  const requested = objects.map(object => {
    const key = object.text('Key')
    if (key === undefined || key === '') throw new OssError('MalformedXML')
    // clients that request encoded names also send them encoded
    const name = encoding.EncodingType === undefined ? key : (percentDecode(key) ?? key)
    return { key: name, versionId: object.text('VersionId') || undefined }
  })
  const deleted = []
  for (const { key, versionId } of requested) {
    const version = await deleteVersion(context, key, versionId)
    const isMarker = version?.type === 'DeleteMarker'
    deleted.push({
      Key: encodeName(key),
      VersionId: versionId,
      DeleteMarker: isMarker || undefined,
      DeleteMarkerVersionId: isMarker ? versionIdOf(version) : undefined,
    })
  }
  if (xml?.text('Quiet')?.trim().toLowerCase() === 'true') return emptyReply(200)
  return xmlReply('DeleteResult', {
    ...encoding,
    Deleted: deleted,
  })
}
