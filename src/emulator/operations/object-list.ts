/** ListObjects, version 1 and 2. */
import { invalidArgument } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import type { ObjectRecord } from '../store/record.js'
import type { Call } from './call.js'
import { encodedKey } from './encoding.js'
import { compareKeys, page, type Page } from './listing.js'
import { count } from './multipart-list.js'

export async function listObjects(call: Call): Promise<Reply> {
  const marker = call.query.get('marker') ?? ''
  const { prefix, delimiter, max } = scope(call)
  const listed = await listPage(call, marker)
  const { name, encoding } = encodedKey(call)
  return xmlReply('ListBucketResult', {
    ...encoding,
    Name: call.bucket,
    Prefix: name(prefix),
    Marker: name(marker),
    MaxKeys: max,
    Delimiter: name(delimiter),
    IsTruncated: listed.truncated,
    NextMarker: listed.truncated ? name(listed.last ?? '') : undefined,
    Contents: listed.items.map(object => contents(object, name, true)),
    CommonPrefixes: listed.prefixes.map(found => ({ Prefix: name(found) })),
  })
}

export async function listObjectsV2(call: Call): Promise<Reply> {
  const { query } = call
  const startAfter = query.get('start-after') ?? ''
  const token = query.get('continuation-token')
  const { prefix, delimiter, max } = scope(call)
  const listed = await listPage(call, token === undefined ? startAfter : readToken(token))
  const { name, encoding } = encodedKey(call)
  const owner = query.get('fetch-owner') === 'true'
  return xmlReply('ListBucketResult', {
    ...encoding,
    Name: call.bucket,
    Prefix: name(prefix),
    StartAfter: startAfter === '' ? undefined : name(startAfter),
    MaxKeys: max,
    Delimiter: name(delimiter),
    IsTruncated: listed.truncated,
    ContinuationToken: token,
    NextContinuationToken: listed.truncated ? makeToken(listed.last ?? '') : undefined,
    Contents: listed.items.map(object => contents(object, name, owner)),
    CommonPrefixes: listed.prefixes.map(found => ({ Prefix: name(found) })),
    KeyCount: listed.items.length + listed.prefixes.length,
  })
}

function scope({ query }: Call) {
  return {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    max: count(query, 'max-keys', 100, 1000),
  }
}

async function listPage(call: Call, marker: string): Promise<Page<ObjectRecord>> {
  const { store, bucket } = call
  const { prefix, delimiter, max } = scope(call)
  const keys = (await store.objects.keys(bucket)).filter(key => key.startsWith(prefix))
  return page(keys.toSorted(compareKeys), {
    keyOf: key => key,
    prefix,
    delimiter,
    max,
    after: key => compareKeys(key, marker) > 0,
    afterPrefix: marker,
    load: key => store.objects.get(bucket, key),
  })
}

function contents(object: ObjectRecord, name: (text: string) => string, owner: boolean) {
  return {
    Key: name(object.key),
    LastModified: object.modified,
    ETag: `"${object.etag}"`,
    Type: object.type,
    Size: object.size,
    StorageClass: object.storageClass,
    Owner: owner ? OWNER : undefined,
  }
}

// Opaque to clients; the service's own look like `CgJiYw--`.
const makeToken = (key: string): string =>
  Buffer.from(key).toString('base64').replaceAll('=', '-').replaceAll('+', '.').replaceAll('/', '_')

function readToken(token: string): string {
  const plain = token.replaceAll('-', '=').replaceAll('.', '+').replaceAll('_', '/')
  const key = Buffer.from(plain, 'base64').toString()
  if (makeToken(key) !== token)
    throw invalidArgument('continuation-token', token, 'The continuation-token is incorrect.')
  return key
}
