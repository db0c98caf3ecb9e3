/** DeleteMultipleObjects. Deletes up to 1000 keys; missing ones are not an error. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { percentDecode } from '../http/request-target.js'
import type { OperationContext } from './operation-context.js'
import { readNameEncoding } from './name-encoding.js'
import { readXmlBody } from './xml-body.js'

const MAX_DELETE_KEYS = 1000

export async function deleteMultipleObjects(context: OperationContext): Promise<Reply> {
  const { store, bucket } = context
  const { encodeName, encoding } = readNameEncoding(context)
  const xml = await readXmlBody(context, 'Delete')
  const objects = xml?.children('Object') ?? []
  if (objects.length === 0 || objects.length > MAX_DELETE_KEYS) throw new OssError('MalformedXML')
  const keys = objects.map(object => {
    const key = object.text('Key')
    if (key === undefined || key === '') throw new OssError('MalformedXML')
    // clients that request encoded names also send them encoded
    return encoding.EncodingType === undefined ? key : (percentDecode(key) ?? key)
  })
  for (const key of keys) await store.objects.remove(bucket, key)
  if (xml?.text('Quiet')?.trim().toLowerCase() === 'true') return emptyReply(200)
  return xmlReply('DeleteResult', {
    ...encoding,
    Deleted: keys.map(key => ({ Key: encodeName(key) })),
  })
}
