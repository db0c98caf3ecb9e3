/** ListObjectVersions. */
import { isoTime } from '../iso-time.js'
import { xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import type { ObjectRecord } from '../store/record.js'
import { versionIdOf } from '../store/versions.js'
import { readNameEncoding } from './name-encoding.js'
import { contentsElement, listParameters } from './object-list.js'
import type { OperationContext } from './operation-context.js'
import { compareKeys, paginate } from './pagination.js'

/** A version, and whether it is the newest one of its key. */
interface ListedVersion {
  readonly version: ObjectRecord
  readonly isLatest: boolean
}

export async function listObjectVersions(context: OperationContext): Promise<Reply> {
  const { query, bucket, now } = context
  const keyMarker = query.get('key-marker') ?? ''
  const versionIdMarker = query.get('version-id-marker') ?? ''
  const { prefix, delimiter, max } = listParameters(context)
  const page = await paginate(await listVersions(context, { prefix, keyMarker, versionIdMarker }), {
    keyOf: ({ version }) => version.key,
    prefix,
    delimiter,
    maxItems: max,
    isAfterMarker: () => true, // see listVersions()
    marker: keyMarker,
    loadItem: listed => Promise.resolve(listed),
  })
  const { encodeName, encoding } = readNameEncoding(context)
  const last = page.items.at(-1)?.version
  const nextVersionId = last?.key === page.lastName ? last && versionIdOf(last) : undefined
  const idElements = ({ version, isLatest }: ListedVersion) => ({
    Key: encodeName(version.key),
    VersionId: versionIdOf(version),
    IsLatest: isLatest,
  })
  const isMarker = ({ version }: ListedVersion) => version.type === 'DeleteMarker'
  return xmlReply('ListVersionsResult', {
    ...encoding,
    Name: bucket,
    Prefix: encodeName(prefix),
    KeyMarker: encodeName(keyMarker),
    VersionIdMarker: versionIdMarker,
    MaxKeys: max,
    Delimiter: encodeName(delimiter),
    IsTruncated: page.truncated,
    NextKeyMarker: page.truncated ? encodeName(page.lastName ?? '') : undefined,
    NextVersionIdMarker: page.truncated ? nextVersionId : undefined,
    DeleteMarker: page.items.filter(isMarker).map(listed => ({
      ...idElements(listed),
      LastModified: isoTime(Date.parse(listed.version.modified)),
      Owner: OWNER,
    })),
    Version: page.items
      .filter(listed => !isMarker(listed))
      .map(listed => ({
        ...idElements(listed),
        ...contentsElement(listed.version, encodeName, { now, fetchOwner: true }),
      })),
    CommonPrefixes: page.prefixes.map(commonPrefix => ({ Prefix: encodeName(commonPrefix) })),
  })
}

/** Where a list starts, and the keys that it is limited to. */
interface ListStart {
  readonly prefix: string
  readonly keyMarker: string
  /** Last version of the key `keyMarker` on the page before; '' if all were listed. */
  readonly versionIdMarker: string
}

/** Resolves with the versions after the markers, by key and newest first. */
async function listVersions(
  { store, bucket }: OperationContext,
  { prefix, keyMarker, versionIdMarker }: ListStart,
): Promise<ListedVersion[]> {
  const keys = (await store.objects.listKeys(bucket)).filter(
    key => key.startsWith(prefix) && compareKeys(key, keyMarker) >= 0,
  )
  const listed: ListedVersion[] = []
  for (const key of keys.toSorted(compareKeys)) {
    const versions = await store.objects.versions(bucket, key)
    listed.push(
      ...(key === keyMarker ? versionsAfter(versions, versionIdMarker) : versions).map(version => ({
        version,
        isLatest: version === versions[0],
      })),
    )
  }
  return listed
}

/** Returns the versions after the marker; all if it was deleted meanwhile, so that none is missed. */
function versionsAfter(
  versions: readonly ObjectRecord[],
  versionIdMarker: string,
): readonly ObjectRecord[] {
  if (versionIdMarker === '') return []
  return versions.slice(versions.findIndex(each => versionIdOf(each) === versionIdMarker) + 1)
}
