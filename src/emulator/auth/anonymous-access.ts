/** Access of anonymous requests, as granted by the ACLs of bucket and object. */
import { OssError } from '../oss-error.js'
import type { Access } from '../operations/operation.js'
import type { Acl, BucketRecord, ObjectRecord } from '../store/record.js'

const ALLOWED_ACCESS: Readonly<Record<Acl, readonly Access[]>> = {
  private: [],
  'public-read': ['read'],
  'public-read-write': ['read', 'write'],
}

/** Throws 403 AccessDenied unless an anonymous request may have this access. */
export function checkAnonymousAccess(
  access: Access,
  bucket: BucketRecord | undefined,
  object: ObjectRecord | undefined,
): void {
  const acl = object === undefined || object.acl === 'default' ? bucket?.acl : object.acl
  if (ALLOWED_ACCESS[acl ?? 'private'].includes(access)) return
  throw new OssError('AccessDenied', {
    ec: '0003-00000001',
    message:
      acl === 'private' || acl === undefined
        ? 'You have no right to access this object because of bucket acl.'
        : 'You have no right to access this object.',
  })
}
