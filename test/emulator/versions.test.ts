/** Versions of objects, by raw requests and by ali-oss, and the version ids that a Spool reports. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { bench, BUCKET } from '../support/oss.js'
import { aliOss, ask, tag, type Answer, type Client } from './clients.js'

const setVersioning = (oss: Emulator, status: string, bucket = 'bkt') =>
  ask(oss, 'PUT', `/${bucket}/?versioning`, {
    body: `<VersioningConfiguration><Status>${status}</Status></VersioningConfiguration>`,
  })

/** Starts an emulator whose bucket has this state. */
async function start(t: Test, versioning?: 'Enabled' | 'Suspended') {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  if (versioning !== undefined) await setVersioning(oss, versioning)
  return oss
}

const idOf = ({ headers }: Answer): string => String(headers['x-oss-version-id'])

const put = (oss: Emulator, body: string, key = 'k') => ask(oss, 'PUT', `/bkt/${key}`, { body })

/** Ids of all versions and delete markers of a list, in its order. */
const idsIn = (xml: string): string[] =>
  [...xml.matchAll(/<VersionId>([^<]*)</g)].map(([, id = '']) => id)

const list = (oss: Emulator, query = '') => ask(oss, 'GET', '/bkt/?versions', { query })

t.test('a bucket without versioning has objects of the version null only', async t => {
  const oss = await start(t)
  const created = await put(oss, 'a')
  t.notHas(created.headers, { 'x-oss-version-id': /./ })
  t.notHas((await ask(oss, 'GET', '/bkt/k')).headers, { 'x-oss-version-id': /./ })
  t.equal((await ask(oss, 'GET', '/bkt/k?versionId=null')).body, 'a')
  const unknown = await ask(oss, 'GET', '/bkt/k?versionId=CAEQ1')
  t.same([unknown.status, tag(unknown.body, 'Code')], [404, 'NoSuchVersion'])
  t.equal((await ask(oss, 'GET', '/bkt/?versioning')).body.includes('<Status>'), false)
  const deleted = await ask(oss, 'DELETE', '/bkt/k')
  t.notHas(deleted.headers, { 'x-oss-delete-marker': /./ })
  t.same(idsIn((await list(oss)).body), [])
})

t.test('PutBucketVersioning accepts Enabled and Suspended only', async t => {
  const oss = await start(t)
  for (const status of ['Enabled', 'Suspended']) {
    t.equal((await setVersioning(oss, status)).status, 200)
    t.equal(tag((await ask(oss, 'GET', '/bkt/?versioning')).body, 'Status'), status)
    t.equal(tag((await ask(oss, 'GET', '/bkt/?bucketInfo')).body, 'Versioning'), status)
  }
  for (const answer of [setVersioning(oss, 'Off'), ask(oss, 'PUT', '/bkt/?versioning')])
    t.equal(tag((await answer).body, 'Code'), 'MalformedXML')
  t.equal((await setVersioning(oss, 'Enabled', 'none')).status, 404)
})

t.test('each write adds a version, which can be read by its id', async t => {
  const oss = await start(t)
  await put(oss, 'before')
  await setVersioning(oss, 'Enabled')
  const ids = [idOf(await put(oss, 'one')), idOf(await put(oss, 'second'))]
  t.equal(new Set(ids).size, 2)
  for (const [id, body] of [
    ['null', 'before'],
    [ids[0], 'one'],
    [ids[1], 'second'],
  ] as const) {
    const read = await ask(oss, 'GET', `/bkt/k?versionId=${id}`)
    t.same([read.body, idOf(read)], [body, id])
    const head = await ask(oss, 'HEAD', `/bkt/k?versionId=${id}`)
    t.same([head.headers['content-length'], idOf(head)], [String(body.length), id])
    const meta = await ask(oss, 'HEAD', `/bkt/k?objectMeta&versionId=${id}`)
    t.same([meta.headers['content-length'], idOf(meta)], [String(body.length), id])
  }
  const current = await ask(oss, 'GET', '/bkt/k')
  t.same([current.body, idOf(current)], ['second', ids[1]])
  const ranged = await ask(oss, 'GET', `/bkt/k?versionId=${ids[0]}`, {
    headers: { Range: 'bytes=1-1' },
  })
  t.same([ranged.status, ranged.body], [206, 'n'])
  t.same(idsIn((await list(oss)).body), [ids[1], ids[0], 'null'])
  t.match((await ask(oss, 'GET', '/bkt/?stat')).body, /<Storage>15<[^]*<ObjectCount>3</)
})

t.test(
  'CopyObject, UploadPartCopy, Complete, Append and PutSymlink report version ids',
  async t => {
    const oss = await start(t, 'Enabled')
    const source = idOf(await put(oss, 'old', 's'))
    await put(oss, 'new', 's')
    const copySource = { 'x-oss-copy-source': `/bkt/s?versionId=${source}` }
    const copy = await ask(oss, 'PUT', '/bkt/c', { headers: copySource })
    t.equal(copy.headers['x-oss-copy-source-version-id'], source)
    const copied = await ask(oss, 'GET', '/bkt/c')
    t.same([copied.body, idOf(copied)], ['old', idOf(copy)])
    t.not(idOf(copy), source)

    const started = await ask(oss, 'POST', '/bkt/m?uploads')
    const upload = `uploadId=${tag(started.body, 'UploadId')}`
    const part = await ask(oss, 'PUT', `/bkt/m?partNumber=1&${upload}`, { headers: copySource })
    t.equal(part.headers['x-oss-copy-source-version-id'], source)
    const completeAll = { 'x-oss-complete-all': 'yes' }
    const completed = await ask(oss, 'POST', `/bkt/m?${upload}`, { headers: completeAll })
    await put(oss, 'replaced', 'm')
    t.equal((await ask(oss, 'GET', `/bkt/m?versionId=${idOf(completed)}`)).body, 'old')

    const append = (position: number) =>
      ask(oss, 'POST', `/bkt/a?append&position=${position}`, { body: 'abc' })
    const appended = idOf(await append(0))
    t.equal(idOf(await append(3)), appended, 'appending to an object keeps its version')
    t.equal((await ask(oss, 'GET', `/bkt/a?versionId=${appended}`)).body, 'abcabc')
    await ask(oss, 'DELETE', '/bkt/a')
    const anew = idOf(await append(0))
    t.not(anew, appended, 'appending to a deleted object adds a version')
    t.equal((await ask(oss, 'GET', '/bkt/a')).body, 'abc')
    t.equal((await ask(oss, 'GET', `/bkt/a?versionId=${appended}`)).body, 'abcabc')

    const headers = { 'x-oss-symlink-target': 's' }
    const linked = idOf(await ask(oss, 'PUT', '/bkt/l?symlink', { headers }))
    await ask(oss, 'DELETE', '/bkt/l')
    const link = await ask(oss, 'GET', `/bkt/l?symlink&versionId=${linked}`)
    t.match(link.headers, { 'x-oss-symlink-target': 's', 'x-oss-version-id': linked })
    const read = await ask(oss, 'GET', `/bkt/l?versionId=${linked}`)
    t.same([read.body, idOf(read)], ['new', linked])
  },
)

t.test('a deletion adds a delete marker, whose own deletion restores the object', async t => {
  const oss = await start(t, 'Enabled')
  const version = idOf(await put(oss, 'bytes'))
  const deleted = await ask(oss, 'DELETE', '/bkt/k')
  t.match([deleted.status, deleted.headers], [204, { 'x-oss-delete-marker': 'true' }])
  const marker = idOf(deleted)
  for (const method of ['GET', 'HEAD']) {
    const missing = await ask(oss, method, '/bkt/k')
    t.match([missing.status, missing.headers], [404, { 'x-oss-delete-marker': 'true' }])
    const refused = await ask(oss, method, `/bkt/k?versionId=${marker}`)
    t.match([refused.status, refused.headers], [405, { 'x-oss-delete-marker': 'true' }])
  }
  t.equal(tag((await ask(oss, 'GET', '/bkt/k')).body, 'Code'), 'NoSuchKey')
  t.equal((await ask(oss, 'GET', '/bkt/')).body.includes('<Key>'), false)
  t.equal((await ask(oss, 'GET', `/bkt/k?versionId=${version}`)).body, 'bytes')
  const { body } = await list(oss)
  t.equal(tag(/<DeleteMarker>[^]*?<.DeleteMarker>/.exec(body)?.[0] ?? '', 'IsLatest'), 'true')
  t.equal(tag(/<Version>[^]*<.Version>/.exec(body)?.[0] ?? '', 'IsLatest'), 'false')

  const undone = await ask(oss, 'DELETE', `/bkt/k?versionId=${marker}`)
  t.match(undone.headers, { 'x-oss-delete-marker': 'true', 'x-oss-version-id': marker })
  t.equal((await ask(oss, 'GET', '/bkt/k')).body, 'bytes')
  const removed = await ask(oss, 'DELETE', `/bkt/k?versionId=${version}`)
  t.equal(idOf(removed), version)
  t.notHas(removed.headers, { 'x-oss-delete-marker': /./ })
  t.same(idsIn((await list(oss)).body), [])
  t.equal((await ask(oss, 'DELETE', `/bkt/k?versionId=${version}`)).status, 204)
})

t.test('a bucket with old versions or delete markers only is not empty', async t => {
  const oss = await start(t, 'Enabled')
  const marker = idOf(await ask(oss, 'DELETE', '/bkt/missing'))
  t.equal(tag((await ask(oss, 'DELETE', '/bkt/')).body, 'Code'), 'BucketNotEmpty')
  t.match((await ask(oss, 'GET', '/bkt/?stat')).body, /<DeleteMarkerCount>1</)
  await ask(oss, 'DELETE', `/bkt/missing?versionId=${marker}`)
  t.equal((await ask(oss, 'DELETE', '/bkt/')).status, 204)
})

t.test('suspended versioning replaces the version null and keeps the others', async t => {
  const oss = await start(t, 'Enabled')
  const kept = idOf(await put(oss, 'kept'))
  await setVersioning(oss, 'Suspended')
  t.equal(idOf(await put(oss, 'first')), 'null')
  t.equal(idOf(await put(oss, 'next')), 'null')
  t.same(idsIn((await list(oss)).body), ['null', kept])
  t.equal((await ask(oss, 'GET', '/bkt/k?versionId=null')).body, 'next')
  t.equal(idOf(await ask(oss, 'DELETE', '/bkt/k')), 'null')
  t.same(idsIn((await list(oss)).body), ['null', kept])
  t.equal((await ask(oss, 'GET', '/bkt/k?versionId=null')).status, 405)
  await ask(oss, 'DELETE', '/bkt/k?versionId=null')
  t.equal((await ask(oss, 'GET', '/bkt/k')).body, 'kept')

  await put(oss, 'null again')
  await setVersioning(oss, 'Enabled')
  const newest = idOf(await put(oss, 'newest'))
  t.same(idsIn((await list(oss)).body), [newest, 'null', kept])
})

t.test('x-oss-forbid-overwrite has no effect with versioning', async t => {
  const oss = await start(t)
  const forbid = () =>
    ask(oss, 'PUT', '/bkt/k', { body: 'x', headers: { 'x-oss-forbid-overwrite': 'true' } })
  await put(oss, 'old')
  t.equal((await forbid()).status, 409)
  for (const status of ['Enabled', 'Suspended']) {
    await setVersioning(oss, status)
    t.equal((await forbid()).status, 200)
  }
})

t.test('tags, ACLs and restores belong to a version', async t => {
  const oss = await start(t, 'Enabled')
  const put = (body: string, headers: Record<string, string>) =>
    ask(oss, 'PUT', '/bkt/k', { body, headers })
  const old = idOf(await put('old', { 'x-oss-storage-class': 'Archive' }))
  await put('new', { 'x-oss-tagging': 'a=b', 'x-oss-object-acl': 'private' })
  const body = '<Tagging><TagSet><Tag><Key>of</Key><Value>old</Value></Tag></TagSet></Tagging>'
  const tagging = `/bkt/k?tagging&versionId=${old}`
  t.equal(idOf(await ask(oss, 'PUT', tagging, { body })), old)
  t.equal(tag((await ask(oss, 'GET', tagging)).body, 'Key'), 'of')
  t.equal(tag((await ask(oss, 'GET', '/bkt/k?tagging')).body, 'Key'), 'a')
  t.equal(idOf(await ask(oss, 'DELETE', tagging)), old)
  t.equal(tag((await ask(oss, 'GET', tagging)).body, 'Key'), undefined)

  const headers = { 'x-oss-object-acl': 'public-read' }
  t.equal(idOf(await ask(oss, 'PUT', `/bkt/k?acl&versionId=${old}`, { headers })), old)
  t.equal(tag((await ask(oss, 'GET', `/bkt/k?acl&versionId=${old}`)).body, 'Grant'), 'public-read')
  t.equal(tag((await ask(oss, 'GET', '/bkt/k?acl')).body, 'Grant'), 'private')
  const anonymous = (path: string) => fetch(`${oss.endpoint}${path}`).then(({ status }) => status)
  t.equal(await anonymous('/bkt/k'), 403)
  t.equal(await anonymous(`/bkt/k?versionId=${old}`), 200)

  t.equal((await ask(oss, 'POST', `/bkt/k?restore&versionId=${old}`)).status, 202)
  t.equal(tag((await ask(oss, 'POST', '/bkt/k?restore')).body, 'Code'), 'OperationNotSupported')
  t.match((await ask(oss, 'HEAD', `/bkt/k?versionId=${old}`)).headers, { 'x-oss-restore': /true/ })
  const unknown = await ask(oss, 'PUT', '/bkt/k?acl&versionId=CAEQ1', { headers })
  t.same([unknown.status, tag(unknown.body, 'Code')], [404, 'NoSuchVersion'])
})

t.test('DeleteMultipleObjects deletes versions and adds delete markers', async t => {
  const oss = await start(t, 'Enabled')
  const client = aliOss(oss, 'bkt')
  const version = idOf(await put(oss, 'a', 'a'))
  await put(oss, 'b', 'b')
  const marked = (await client.deleteMulti(['a', 'b'])).deleted
  t.match(marked, [
    { Key: 'a', DeleteMarker: 'true', DeleteMarkerVersionId: /^CAEQ/ },
    { Key: 'b', DeleteMarker: 'true', DeleteMarkerVersionId: /^CAEQ/ },
  ])
  const marker = marked[0].DeleteMarkerVersionId
  const { deleted } = await client.deleteMulti([
    { key: 'a', versionId: version },
    { key: 'a', versionId: marker },
    { key: 'a', versionId: 'CAEQ1' },
  ])
  t.same(deleted, [
    { Key: 'a', VersionId: version },
    { Key: 'a', VersionId: marker, DeleteMarker: 'true', DeleteMarkerVersionId: marker },
    { Key: 'a', VersionId: 'CAEQ1' },
  ])
  t.equal(idsIn((await list(oss, 'prefix=a')).body).length, 0)
  t.equal(idsIn((await list(oss, 'prefix=b')).body).length, 2)
})

t.test('ListObjectVersions lists in pages by key and newest first', async t => {
  const oss = await start(t, 'Enabled')
  const ids: Record<string, string[]> = {}
  for (const key of ['a', 'a', 'a', 'd/1', 'd/1', 'd/2', 'z'])
    (ids[key] ??= []).unshift(idOf(await put(oss, 'x', key)))
  const expected = ['a', 'd/1', 'd/2', 'z'].flatMap(key => ids[key])
  for (const max of [1, 2, 3, 100]) {
    const found = []
    let markers = ''
    for (;;) {
      const { body } = await list(oss, `max-keys=${max}${markers}`)
      found.push(...idsIn(body))
      t.ok(idsIn(body).length <= max)
      if (tag(body, 'IsTruncated') === 'false') break
      markers = `&key-marker=${tag(body, 'NextKeyMarker')}&version-id-marker=${tag(body, 'NextVersionIdMarker')}`
    }
    t.same(found, expected, `pages of ${max}`)
  }

  const folders = (await list(oss, 'delimiter=/')).body
  t.same(idsIn(folders), [...(ids.a ?? []), ...(ids.z ?? [])])
  t.match(folders, /<CommonPrefixes>\s*<Prefix>d\/</)
  const upToFolder = (await list(oss, 'delimiter=/&max-keys=4')).body
  t.same(
    [tag(upToFolder, 'NextKeyMarker'), tag(upToFolder, 'NextVersionIdMarker')],
    ['d/', undefined],
  )
  t.same(idsIn((await list(oss, 'delimiter=/&key-marker=d/')).body), ids.z)
  t.same(idsIn((await list(oss, 'prefix=d/2')).body), ids['d/2'])
  t.same(idsIn((await list(oss, 'key-marker=d/1')).body), [...(ids['d/2'] ?? []), ...(ids.z ?? [])])
  const encoded = await list(oss, 'prefix=d/2&encoding-type=url')
  t.equal(tag(encoded.body, 'Key'), 'd%2F2')
})

t.test('a list goes on if the versions of the page before were deleted', async t => {
  const oss = await start(t, 'Enabled')
  for (let i = 0; i < 3; i++) await put(oss, 'x')
  let markers = ''
  for (let page = 0; page < 3; page++) {
    const { body } = await list(oss, `max-keys=1${markers}`)
    const [id = ''] = idsIn(body)
    await ask(oss, 'DELETE', `/bkt/k?versionId=${id}`)
    markers = `&key-marker=k&version-id-marker=${id}`
  }
  t.same(idsIn((await list(oss)).body), [])
})

t.test('versions survive a crash, and what it left is removed', async t => {
  const dir = t.testdir()
  const first = await startEmulator({ dir, buckets: ['bkt'] })
  await setVersioning(first, 'Enabled')
  const key = 'long'.repeat(60) // its file name is a hash
  const id = idOf(await put(first, 'old', key))
  await put(first, 'new', key)
  await ask(first, 'DELETE', `/bkt/${key}`)
  await first.close()
  const objects = join(dir, 'buckets/bkt/objects')
  const [name = ''] = readdirSync(objects)
  t.equal(readdirSync(join(objects, name)).length, 3, 'a record and two bodies')
  writeFileSync(join(objects, name, 'body-of-the-killed'), 'unfinished')
  mkdirSync(join(dir, 'tmp/dead'))
  writeFileSync(join(dir, 'tmp/dead/lock'), '')

  const second = await startEmulator({ dir })
  t.teardown(() => second.close())
  t.equal(readdirSync(join(objects, name)).length, 3)
  t.equal(idsIn((await list(second)).body).length, 3)
  t.equal((await ask(second, 'GET', `/bkt/${key}?versionId=${id}`)).body, 'old')
  await ask(second, 'DELETE', `/bkt/${key}?versionId=${id}`)
  t.equal(readdirSync(join(objects, name)).length, 2, 'the body of a deleted version is removed')
})

t.test('a Spool reports the version id of its object', async t => {
  const { oss, spool } = await bench(t)
  const client: Client = aliOss(oss, BUCKET)
  t.notHas(await spool.upload('k', () => ['before']), { versionId: /./ })
  await client.putBucketVersioning(BUCKET, 'Enabled')
  const contentOf = async (versionId: string | undefined) =>
    String((await client.get('k', { versionId })).content)

  const small = await spool.upload('k', () => ['small'])
  t.equal(await contentOf(small.versionId), 'small')
  const large = await spool.upload('k', () => [Buffer.alloc(300_000, 'x')])
  t.equal((await contentOf(large.versionId)).length, 300_000)
  t.equal(await contentOf('null'), 'before')

  oss.inject({ operation: 'PutObject', do: 'answer', status: 403, code: 'AccessDenied' })
  await t.rejects(spool.upload('k', () => ['resumed'], { id: 'again' }))
  const resumed = await spool.resume('again')
  t.equal(await contentOf(resumed.versionId), 'resumed')

  oss.inject({ operation: 'PutObject', do: 'reset', at: 'done' })
  const recognised = await spool.upload('k', () => ['reply lost'])
  t.equal(await contentOf(recognised.versionId), 'reply lost')
})
