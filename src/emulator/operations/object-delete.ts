/** DeleteObject, and the deletion of one key for DeleteMultipleObjects. */
import { isoTime } from '../iso-time.js'
import { emptyReply, type Reply } from '../reply.js'
import type { ObjectRecord } from '../store/record.js'
import { newVersionId, NULL_VERSION } from '../store/versions.js'
import type { OperationContext } from './operation-context.js'
import { deleteMarkerHeaders, versionHeader } from './versioning.js'

/** Deletes an object: the version that the request names, or else the current one. */
export async function deleteObject(context: OperationContext): Promise<Reply> {
  const { key, query } = context
  const versionId = query.get('versionId')
  const deleted = await deleteVersion(context, key, versionId)
  if (deleted?.type === 'DeleteMarker') return emptyReply(204, deleteMarkerHeaders(deleted))
  return emptyReply(204, versionId === undefined ? {} : versionHeader(context, { versionId }))
}

/**
 * Removes a version. With versioning and without a version id, adds a delete marker instead, also to a missing object.
 *
 * @returns the removed version or the new delete marker; undefined if there was no such version
 */
export function deleteVersion(
  {
    store,
    bucket,
    versioning,
    now,
  }: Pick<OperationContext, 'store' | 'bucket' | 'versioning' | 'now'>,
  key: string,
  versionId: string | undefined,
): Promise<ObjectRecord | undefined> {
  if (versioning === undefined || versionId !== undefined)
    return store.objects.remove(bucket, key, versionId ?? NULL_VERSION)
  return store.objects.put(bucket, key, { kind: 'none' }, () => ({
    key,
    ...newVersionId(versioning),
    type: 'DeleteMarker',
    headers: {},
    meta: {},
    storageClass: 'Standard',
    acl: 'default',
    tags: [],
    size: 0,
    etag: '',
    modified: isoTime(now),
  }))
}
