/** Every ali-oss method that the emulator supports, with V1 and V4 signatures, IP endpoint and `sldEnable`. */
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { aliOss, CONFIGURATIONS, tag } from './clients.js'

const md5 = (...data: (string | Buffer)[]) => {
  const hash = createHash('md5')
  for (const piece of data) hash.update(piece)
  return hash.digest('hex').toUpperCase()
}

for (const configuration of CONFIGURATIONS)
  t.test(`ali-oss with ${configuration.name}`, async t => {
    const oss = await startEmulator()
    t.teardown(() => oss.close())
    const client = aliOss(oss, 'photos', configuration.options(oss))

    t.test('buckets are created, described, tagged, listed and deleted', async t => {
      const made = await client.putBucket('photos', { acl: 'private', storageClass: 'IA' })
      t.equal(made.res.headers.location, '/photos')
      await client.putBucket('photos', { acl: 'public-read' })
      t.equal((await client.getBucketACL('photos')).acl, 'public-read')
      await client.putBucketACL('photos', 'private')
      t.equal((await client.getBucketACL('photos')).acl, 'private')
      const { bucket } = await client.getBucketInfo('photos')
      t.match(bucket, {
        Name: 'photos',
        Location: 'oss-cn-hangzhou',
        StorageClass: 'IA',
        ExtranetEndpoint: 'oss-cn-hangzhou.aliyuncs.com',
        AccessControlList: { Grant: 'private' },
        Owner: { ID: String },
      })
      t.match(bucket.CreationDate, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$|\.\d{3}Z$/)
      t.equal((await client.getBucketLocation('photos')).location, 'oss-cn-hangzhou')
      await client.putBucketTags('photos', { team: 'a', stage: 'test' })
      t.same((await client.getBucketTags('photos')).tag, { team: 'a', stage: 'test' })
      await client.deleteBucketTags('photos')
      t.same((await client.getBucketTags('photos')).tag, {})
      await client.putBucket('empty')
      const { buckets } = await client.listBuckets()
      t.same(
        buckets.map((b: { name: string }) => b.name),
        ['empty', 'photos'],
      )
      await client.deleteBucket('empty')
      await t.rejects(client.getBucketInfo('empty'), { status: 404, code: 'NoSuchBucket' })
    })

    t.test('objects are put, read, copied, tagged, appended to and deleted', async t => {
      const body = randomBytes(70_000)
      const put = await client.put('a/b c+d&é%.txt', body, {
        meta: { uid: 1, place: 'x' },
        mime: 'text/x-test',
        headers: { 'Cache-Control': 'no-cache', 'x-oss-tagging': 'k=v' },
      })
      t.equal(put.res.headers.etag, `"${md5(body)}"`)
      t.match(put.res.headers['x-oss-request-id'], /^[0-9A-F]{24}$/)
      t.match(put.res.headers, { server: 'AliyunOSS', 'content-length': '0' })
      const head = await client.head('a/b c+d&é%.txt')
      t.equal(head.status, 200)
      t.same(head.meta, { uid: '1', place: 'x' })
      t.match(head.res.headers, {
        'content-length': '70000',
        'content-type': 'text/x-test',
        'cache-control': 'no-cache',
        'content-md5': createHash('md5').update(body).digest('base64'),
        'x-oss-hash-crc64ecma': put.res.headers['x-oss-hash-crc64ecma'],
        'x-oss-object-type': 'Normal',
        'x-oss-storage-class': 'IA',
        'x-oss-tagging-count': '1',
      })
      const got = await client.get('a/b c+d&é%.txt')
      t.ok(body.equals(got.content))
      const ranged = await client.get('a/b c+d&é%.txt', { headers: { Range: 'bytes=10-19' } })
      t.equal(ranged.res.status, 206)
      t.ok(body.subarray(10, 20).equals(ranged.content))
      t.equal(ranged.res.headers['content-range'], 'bytes 10-19/70000')
      const { stream } = await client.getStream('a/b c+d&é%.txt')
      t.ok(body.equals(Buffer.concat(await stream.toArray())))
      const meta = await client.getObjectMeta('a/b c+d&é%.txt')
      t.equal(meta.res.headers['content-length'], '70000')
      t.equal(meta.res.headers.etag, put.res.headers.etag)

      const streamed = await client.putStream('streamed', Readable.from([body, body]))
      t.equal(
        streamed.res.headers.etag,
        `"${md5(body, body)}"`,
        'a chunked body has the ETag of its bytes',
      )
      const empty = join(t.testdir(), 'empty')
      writeFileSync(empty, '')
      const zero = await client.put('zero', empty)
      t.equal(zero.res.headers['x-oss-hash-crc64ecma'], '0')
      t.equal((await client.get('zero')).content.length, 0)

      await client.putMeta('a/b c+d&é%.txt', { uid: 2 })
      t.same((await client.head('a/b c+d&é%.txt')).meta, { uid: '2' })
      await client.copy('copy', 'a/b c+d&é%.txt')
      t.ok(body.equals((await client.get('copy')).content))
      await client.copy('copy2', 'a/b c+d&é%.txt', { meta: { other: '1' } })
      t.same((await client.head('copy2')).meta, { other: '1' })

      await client.putACL('copy', 'public-read')
      t.equal((await client.getACL('copy')).acl, 'public-read')
      await client.putObjectTagging('copy', { a: '1', b: 'two' })
      t.same((await client.getObjectTagging('copy')).tag, { a: '1', b: 'two' })
      await client.deleteObjectTagging('copy')
      t.same((await client.getObjectTagging('copy')).tag, {})

      const first = await client.append('log', Buffer.from('one,'))
      t.equal(first.nextAppendPosition, '4')
      await client.append('log', Buffer.from('two'), { position: 4 })
      t.equal((await client.get('log')).content.toString(), 'one,two')
      await t.rejects(client.append('log', Buffer.from('x'), { position: 3 }), {
        status: 409,
        code: 'PositionNotEqualToLength',
      })
      await t.rejects(client.append('copy', Buffer.from('x'), { position: 70_000 }), {
        code: 'ObjectNotAppendable',
      })

      t.equal((await client.delete('copy')).res.status, 204)
      t.equal((await client.delete('copy')).res.status, 204, 'deleting a missing object succeeds')
      await t.rejects(client.get('copy'), {
        status: 404,
        code: 'NoSuchKey',
        ecCode: '0026-00000001',
      })
      await t.rejects(client.head('copy'), { status: 404, code: 'NoSuchKey' })
      const gone = await client.deleteMulti(['copy2', 'never', 'log'])
      t.same(
        gone.deleted.map((d: { Key: string }) => d.Key),
        ['copy2', 'never', 'log'],
      )
      t.same((await client.deleteMulti(['x'], { quiet: true })).deleted, [])
      await t.rejects(
        client.put('zero', Buffer.from('x'), { headers: { 'x-oss-forbid-overwrite': 'true' } }),
        { status: 409, code: 'FileAlreadyExists' },
      )
    })

    t.test('lists of objects are sorted, filtered, grouped and paged', async t => {
      await client.deleteMulti(
        ((await client.list({ 'max-keys': 1000 })).objects ?? []).map(
          (o: { name: string }) => o.name,
        ),
      )
      const keys = ['a', 'b/1', 'b/2', 'c/1', 'd', 'ﬁ', '😀']
      for (const key of keys) await client.put(key, Buffer.from(key))
      const names = (list: { objects?: { name: string }[] }) =>
        (list.objects ?? []).map(o => o.name)
      t.same(names(await client.list({})), keys, 'keys are in byte order')
      const page = await client.list({ 'max-keys': 2, delimiter: '/' })
      t.same([names(page), page.prefixes, page.isTruncated], [['a'], ['b/'], true])
      const rest = await client.list({ 'max-keys': 9, delimiter: '/', marker: page.nextMarker })
      t.same([names(rest), rest.prefixes, rest.isTruncated], [['d', 'ﬁ', '😀'], ['c/'], false])
      t.same(names(await client.list({ prefix: 'b/' })), ['b/1', 'b/2'])
      t.match((await client.list({ prefix: 'a' })).objects[0], {
        etag: `"${md5('a')}"`,
        size: 1,
        type: 'Normal',
        owner: { id: String },
      })
      const v2 = await client.listV2({ 'max-keys': 3 })
      t.same([names(v2), v2.keyCount], [['a', 'b/1', 'b/2'], 3])
      const more = await client.listV2({
        'max-keys': 9,
        'continuation-token': v2.nextContinuationToken,
        'fetch-owner': 'true',
      })
      t.same(names(more), ['c/1', 'd', 'ﬁ', '😀'])
      t.ok(more.objects[0].owner)
      t.same(names(await client.listV2({ 'start-after': 'd' })), ['ﬁ', '😀'])
    })

    t.test('multipart uploads are listed, completed, copied and aborted', async t => {
      const part = randomBytes(102_400)
      const last = Buffer.from('the end')
      const { uploadId } = await client.initMultipartUpload('big', {
        headers: { 'x-oss-meta-a': 'b' },
      })
      t.match(uploadId, /^[0-9A-F]{32}$/)
      const one = await client.uploadPart('big', uploadId, 1, part, 0, part.length)
      t.equal(one.etag, `"${md5(part)}"`)
      await client.uploadPart('big', uploadId, 5, last, 0, last.length)
      const five = await client.uploadPart('big', uploadId, 5, last, 0, last.length)
      const listed = await client.listParts('big', uploadId, { 'max-parts': 1 })
      t.match(listed, { isTruncated: 'true', nextPartNumberMarker: '1' })
      const next = await client.listParts('big', uploadId, { 'part-number-marker': 1 })
      t.match(next.parts, { PartNumber: '5', Size: '7', ETag: five.etag, HashCrc64ecma: /^\d+$/ })
      const uploads = await client.listUploads({ 'max-uploads': 10 })
      t.match(uploads.uploads, [{ name: 'big', uploadId }])
      const done = await client.completeMultipartUpload('big', uploadId, [
        { number: 1, etag: one.etag },
        { number: 5, etag: five.etag },
      ])
      t.equal(done.etag, `"${md5(md5(part) + md5(last))}-2"`)
      t.ok(Buffer.concat([part, last]).equals((await client.get('big')).content))
      const head = await client.head('big')
      t.match(head.res.headers, { 'x-oss-object-type': 'Multipart', 'x-oss-meta-a': 'b' })
      t.notOk('content-md5' in head.res.headers)
      t.equal(head.res.headers['x-oss-hash-crc64ecma'], done.res.headers['x-oss-hash-crc64ecma'])
      await t.rejects(client.completeMultipartUpload('big', uploadId, []), {
        status: 404,
        code: 'NoSuchUpload',
        ecCode: '0042-00000203',
      })
      t.same((await client.listUploads({ 'max-uploads': 10 })).uploads, [])

      const path = join(t.testdir(), 'file')
      const bytes = randomBytes(350_000)
      writeFileSync(path, bytes)
      await client.multipartUpload('mpu', path, { partSize: 102_400, parallel: 3 })
      t.ok(bytes.equals((await client.get('mpu')).content))
      await client.multipartUploadCopy(
        'mpucopy',
        { sourceKey: 'mpu', sourceBucketName: 'photos' },
        { partSize: 102_400 },
      )
      t.ok(bytes.equals((await client.get('mpucopy')).content))

      const { uploadId: other } = await client.initMultipartUpload('big')
      t.equal((await client.abortMultipartUpload('big', other)).res.status, 204)
      await t.rejects(client.abortMultipartUpload('big', other), {
        status: 404,
        code: 'NoSuchUpload',
      })
      await t.rejects(client.uploadPart('big', other, 1, part, 0, 9), { code: 'NoSuchUpload' })
      t.equal((await client.head('big')).status, 200, 'the object is unchanged')
    })

    t.test('callbacks are sent with expanded variables, and their failure is reported', async t => {
      let received = ''
      const server = createServer((request, response) => {
        request
          .on('data', chunk => (received += chunk))
          .on('end', () => response.end('{"Status":"OK"}'))
      }).listen(0, '127.0.0.1')
      t.teardown(() => server.close())
      await new Promise(resolve => server.once('listening', resolve))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      const callback = {
        url,
        body: 'bucket=${bucket}&object=${object}&size=${size}&who=${x:who}',
        customValue: { who: 'me' },
      }
      const put = await client.put('cb', Buffer.from('12345'), { callback })
      t.same(put.data, { Status: 'OK' })
      t.equal(received, 'bucket=photos&object=cb&size=5&who=me')
      await t.rejects(
        client.put('cb2', Buffer.from('1'), {
          callback: { ...callback, url: 'http://127.0.0.1:1/' },
        }),
        { status: 203, code: 'CallbackFailed' },
      )
      t.equal(
        (await client.head('cb2')).status,
        200,
        'the object is stored although its callback failed',
      )
      await t.rejects(
        client.put('cb3', Buffer.from('1'), {
          callback: { ...callback, url: 'http://example.com/' },
        }),
        { status: 400, code: 'InvalidArgument' },
      )
    })

    t.test('presigned URLs of V1 and V4 are accepted until they expire', async t => {
      await client.put('signed', Buffer.from('secret'))
      const sld = aliOss(oss, 'photos', {
        ...configuration.options(oss),
        sldEnable: true,
        endpoint: `http://localhost:${oss.port}`,
      })
      const v4 = await sld.signatureUrlV4('GET', 60, undefined, 'signed')
      t.equal(await (await fetch(v4)).text(), 'secret')
      const v1 = sld.signatureUrl('signed', { response: { 'content-type': 'text/x-mine' } })
      const answer = await fetch(v1)
      t.equal(await answer.text(), 'secret')
      t.equal(answer.headers.get('content-type'), 'text/x-mine')
      t.equal(tag(await (await fetch(`${v1}x`)).text(), 'Code'), 'SignatureDoesNotMatch')
      const put = await sld.signatureUrlV4('PUT', 60, undefined, 'put by url')
      t.equal((await fetch(put, { method: 'PUT', body: Buffer.from('x') })).status, 200)
      const expired = sld.signatureUrl('signed', { expires: -10 })
      t.match(await (await fetch(expired)).text(), /AccessDenied.*Request has expired/s)
    })

    t.test('temporary credentials are refused once expired or revoked', async t => {
      const token = oss.sts.issue(900)
      const sts = aliOss(oss, 'photos', {
        ...configuration.options(oss),
        ...token,
        refreshSTSToken: () => Promise.resolve(token),
        refreshSTSTokenInterval: 1e9,
      })
      await sts.put('by sts', Buffer.from('1'))
      oss.sts.expire(token.stsToken)
      await t.rejects(sts.head('by sts'), { status: 403, code: 'SecurityTokenExpired' })
      oss.sts.revoke(token.stsToken)
      await t.rejects(sts.get('by sts'), { status: 403, code: 'InvalidSecurityToken' })
    })

    t.test('wrong credentials, clocks, buckets and unsupported calls are refused', async t => {
      const wrong = aliOss(oss, 'photos', {
        ...configuration.options(oss),
        accessKeySecret: 'wrong',
      })
      await t.rejects(wrong.put('x', Buffer.from('1')), { code: 'SignatureDoesNotMatch' })
      const unknown = aliOss(oss, 'photos', {
        ...configuration.options(oss),
        accessKeyId: 'nobody',
      })
      await t.rejects(unknown.get('x'), { status: 403, code: 'InvalidAccessKeyId' })
      const late = aliOss(oss, 'photos', {
        ...configuration.options(oss),
        amendTimeSkewed: -16 * 60_000,
      })
      await t.rejects(late.get('x'), { status: 403, code: 'RequestTimeTooSkewed' })
      const nowhere = aliOss(oss, 'nowhere', configuration.options(oss))
      await t.rejects(nowhere.put('x', Buffer.from('1')), { status: 404, code: 'NoSuchBucket' })
      await t.rejects(client.get('x', { process: 'image/resize' }), {
        status: 400,
        code: 'NotImplemented',
      })
      await t.rejects(client.deleteBucket('photos'), { status: 409, code: 'BucketNotEmpty' })
    })
  })
