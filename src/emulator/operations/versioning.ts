/** Versioning of a bucket, and the headers that name versions. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { ObjectRecord } from '../store/record.js'
import { versionIdOf } from '../store/versions.js'
import { requireBucket, updateBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { readXmlBody } from './xml-body.js'

export async function putBucketVersioning(context: OperationContext): Promise<Reply> {
  const status = (await readXmlBody(context, 'VersioningConfiguration'))?.text('Status')
  if (status !== 'Enabled' && status !== 'Suspended') throw new OssError('MalformedXML')
  await updateBucket(context, old => ({ ...old, versioning: status }))
  return emptyReply(200)
}

/** The document is empty if versioning was never enabled. */
export async function getBucketVersioning(context: OperationContext): Promise<Reply> {
  const { versioning } = await requireBucket(context)
  return xmlReply('VersioningConfiguration', { Status: versioning })
}

/** Returns `x-oss-version-id` if the bucket has, or had, versioning. */
export function versionHeader(
  { versioning }: Pick<OperationContext, 'versioning'>,
  version: Pick<ObjectRecord, 'versionId'>,
): Record<string, string> {
  return versioning === undefined ? {} : { 'x-oss-version-id': versionIdOf(version) }
}

/** Returns the headers of a reply about a delete marker. */
export function deleteMarkerHeaders(marker: ObjectRecord): Record<string, string> {
  return { 'x-oss-delete-marker': 'true', 'x-oss-version-id': versionIdOf(marker) }
}
