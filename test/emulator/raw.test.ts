/** Requests that ali-oss cannot send, and replies that it hides: addresses, headers, limits, errors, HTTP. */
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { request as httpsRequest } from 'node:https'
import t from 'tap'
import { describeEmulator, startEmulator, type Emulator } from '../../src/emulator/index.js'
import { candidateAddresses } from '../../src/emulator/http/bucket-address.js'
import { parseRange } from '../../src/emulator/operations/range.js'
import { aliOss, ask, rejects, send, sendBytes, signed, tag, type Answer } from './clients.js'
import { CERT, KEY } from './certificate.js'

const initiate = async (oss: Emulator, resource: string): Promise<string> =>
  tag((await ask(oss, 'POST', `${resource}?uploads`)).body, 'UploadId') ?? ''

const error = (answer: Answer) => [
  answer.status,
  tag(answer.body, 'Code'),
  tag(answer.body, 'EC') ?? '',
]

t.test('raw requests are answered as by OSS', async t => {
  const oss = await startEmulator({
    buckets: ['bkt', 'other'],
    cnames: { 'static.example.com': 'bkt', 'CDN.Example.com:80': 'bkt' },
    idleTimeout: 300,
  })
  t.teardown(() => oss.close())

  t.test(
    'bucket and key are found in path style, virtual-host style and CNAME requests',
    async t => {
      const get = async (path: string, resource: string, host?: string) =>
        (
          await send(oss, {
            path,
            headers: { ...signed(oss, { resource }), ...(host ? { Host: host } : {}) },
          })
        ).body
      await ask(oss, 'PUT', '/bkt/a/b', { body: 'found' })
      t.equal(await get('/bkt/a/b', '/bkt/a/b'), 'found', 'in path style')
      for (const host of [
        'bkt.oss-cn-hangzhou.aliyuncs.com',
        'bkt.localhost:1',
        'static.example.com',
        'cdn.example.com',
      ])
        t.equal(await get('/a/b', '/bkt/a/b', host), 'found', host)
      t.equal(
        await get('/bkt/a/b', '/bkt/a/b', 'bkt.oss-cn-hangzhou.aliyuncs.com'),
        'found',
        'with the bucket in host and path',
      )
      t.equal(
        await get('/a/b', '/bkt/a/b', 'bkt.emulator.internal:9000'),
        'found',
        'with an unknown host that begins with the bucket',
      )
      t.equal(
        await get('/bkt/a/b', '/bkt/a/b', 'emulator.internal'),
        'found',
        'with an unknown host and the bucket in the path',
      )
      const absolute = 'http://bkt.oss-cn-hangzhou.aliyuncs.com/a/b'
      t.equal(await get(absolute, '/bkt/a/b', '127.0.0.1'), 'found', 'in absolute-form')
      t.match(
        await get('/', '/', `127.0.0.1:${oss.port}`),
        /<Name>bkt</,
        'a request without a bucket lists the buckets',
      )

      const keys = [
        'a//b',
        './a',
        'a/../b',
        '..',
        'x/',
        ' lead',
        'a?b',
        'ü/%41',
        '%',
        'a%2Fb',
        '-',
        'A',
        'a',
      ]
      for (const key of keys) {
        const path = `/bkt/${encodeURIComponent(key).replaceAll('%2F', '/')}`
        const headers = signed(oss, { method: 'PUT', resource: `/bkt/${key}` })
        const put = await send(oss, {
          method: 'PUT',
          path,
          headers: { ...headers, 'Content-Length': Buffer.byteLength(key) },
          body: key,
        })
        t.equal(put.status, 200, key)
      }
      const listed = await ask(oss, 'GET', '/bkt/', { query: 'max-keys=1000&encoding-type=url' })
      const found = [...listed.body.matchAll(/<Key>([^<]*)<\/Key>/g)].map(([, key]) =>
        decodeURIComponent(key ?? ''),
      )
      t.same(found.toSorted(), [...keys, 'a/b'].toSorted(), 'no key was normalised')
      for (const key of keys) {
        const path = `/bkt/${encodeURIComponent(key)}`
        t.equal(await get(path, `/bkt/${key}`), key, `${key} with encoded slashes`)
      }
      t.same(candidateAddresses('[::1]:80', '/b/k', { cnames: {} }), [{ bucket: 'b', key: 'k' }])
      t.same(candidateAddresses('oss-cn-hangzhou.aliyuncs.com', '/', { cnames: {} }), [
        { bucket: undefined, key: undefined },
      ])
    },
  )

  t.test('every response has the headers of OSS', async t => {
    const ok = await ask(oss, 'PUT', '/bkt/k', { body: '123456789' })
    t.match(ok.headers, {
      server: 'AliyunOSS',
      connection: 'close', // as requested by the client
      'content-length': '0',
      'x-oss-request-id': /^[0-9A-F]{24}$/,
      'x-oss-server-time': /^\d+$/,
      etag: '"25F9E794323B453885F5181F1B624D0B"',
      'content-md5': 'JfnnlDI7RTiF9RgfG2JNCw==',
      'x-oss-hash-crc64ecma': '11051210869376104954',
    })
    const missing = await ask(oss, 'GET', '/bkt/missing')
    t.match(missing.headers, {
      server: 'AliyunOSS',
      'content-type': 'application/xml',
      'x-oss-ec': '0026-00000001',
    })
    t.equal(tag(missing.body, 'RequestId'), missing.headers['x-oss-request-id'])
    t.match(
      missing.body,
      /^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error>\n  <Code>NoSuchKey<\/Code>/,
    )
    t.match(missing.body, /<RecommendDoc>https:\/\/api.aliyun.com\/troubleshoot\?q=0026-00000001</)
    const head = await ask(oss, 'HEAD', '/bkt/missing')
    t.equal(head.status, 404)
    const err = Buffer.from(String(head.headers['x-oss-err']), 'base64').toString()
    t.equal(tag(err, 'Code'), 'NoSuchKey')
    t.equal(head.headers['x-oss-ec'], '0026-00000001')
    const deleted = await ask(oss, 'DELETE', '/bkt/missing')
    t.equal(deleted.status, 204)
    t.notOk('content-length' in deleted.headers)
  })

  t.test('invalid requests are refused with the status and codes of OSS', async t => {
    const put = (headers: Record<string, string>, body = 'x', resource = '/bkt/k') =>
      ask(oss, 'PUT', resource, { headers, body })
    const part = `/bkt/k?partNumber=10001&uploadId=${'0'.repeat(32)}`
    const cases: [Promise<Answer>, unknown[]][] = [
      [put({ 'Content-MD5': 'nonsense' }), [400, 'InvalidDigest', '0017-00000502']],
      [put({ 'Content-MD5': 'JfnnlDI7RTiF9RgfG2JNCw==' }), [400, 'InvalidDigest', '0017-00000503']],
      [put({ 'x-oss-hash-crc64ecma': '1' }), [400, 'InvalidCRC64', '']],
      [put({ 'If-Match': '*' }), [400, 'NotImplemented', '']],
      [put({ 'x-oss-storage-class': 'Gold' }), [400, 'InvalidArgument', '']],
      [put({ 'x-oss-object-acl': 'all' }), [400, 'InvalidArgument', '']],
      [
        put({ 'x-oss-server-side-encryption': 'ROT13' }),
        [400, 'InvalidEncryptionAlgorithmError', ''],
      ],
      [put({ 'x-oss-meta-big': 'x'.repeat(8192) }), [400, 'InvalidArgument', '0011-00000002']],
      [put({ 'x-oss-meta-a_b': 'x' }), [400, 'InvalidArgument', '0011-00000004']],
      [put({}, 'x', `/bkt/${'k'.repeat(1024)}`), [400, 'InvalidObjectName', '']],
      [put({}, 'x', '/bkt/\\k'), [400, 'InvalidObjectName', '']],
      [put({}, 'x', '/bkt//k'), [400, 'InvalidObjectName', '']],
      [put({}, 'x', '/b/k'), [400, 'InvalidBucketName', '']],
      [put({}, 'x', '/nowhere/k'), [404, 'NoSuchBucket', '0015-00000101']],
      [put({}, 'x', part), [400, 'InvalidArgument', '0017-00000220']],
      [put({}, 'x', part.replace('10001', '1')), [404, 'NoSuchUpload', '0042-00000104']],
      [ask(oss, 'PATCH', '/bkt/k'), [405, 'MethodNotAllowed', '']],
      [ask(oss, 'GET', '/bkt/?vod'), [400, 'NotImplemented', '']],
      [ask(oss, 'GET', '/bkt/?overwriteConfig'), [404, 'NoSuchOverwriteConfiguration', '']],
      [ask(oss, 'GET', '/bkt/k?retention'), [400, 'InvalidRequest', '']],
      [ask(oss, 'POST', '/bkt/k?position=0&seal'), [400, 'OperationNotSupported', '0016-00000513']],
      [
        ask(oss, 'POST', '/bkt/?metaQuery', { query: 'action=listDatasets' }),
        [400, 'OperationNotSupported', '0037-00000001'],
      ],
      [ask(oss, 'POST', '/nowhere/?metaQuery'), [400, 'NotImplemented', '']],
      [ask(oss, 'GET', '/bkt/k?x-oss-process=image/resize'), [400, 'NotImplemented', '']],
      [ask(oss, 'POST', '/bkt/', { body: 'form' }), [400, 'NotImplemented', '']],
      [ask(oss, 'GET', '/bkt/', { query: 'max-keys=1001' }), [400, 'InvalidArgument', '']],
      [
        ask(oss, 'GET', '/bkt/', { query: `prefix=${'p'.repeat(1024)}` }),
        [400, 'InvalidArgument', ''],
      ],
      [ask(oss, 'GET', '/bkt/', { query: 'encoding-type=gzip' }), [400, 'InvalidArgument', '']],
      [ask(oss, 'PUT', '/Bad_Name/'), [400, 'InvalidBucketName', '']],
      [ask(oss, 'POST', '/bkt/k?append', { body: 'x' }), [400, 'InvalidArgument', '0016-00000501']],
      [
        send(oss, { path: '/bkt/k', headers: { Authorization: 'OSS nonsense' } }),
        [400, 'InvalidArgument', ''],
      ],
      [
        send(oss, { path: '/bkt/k', headers: { Authorization: 'OSS a:b' } }),
        [403, 'AccessDenied', ''],
      ],
      [send(oss, { path: '/bkt/k' }), [403, 'AccessDenied', '0003-00000001']],
      [send(oss, { path: '/' }), [403, 'AccessDenied', '0003-00000001']],
    ]
    for (const [answer, expected] of cases)
      t.same(error(await answer), expected, expected.join(' '))
    const number = await put({}, 'x', part)
    t.match(number.body, /<ArgumentName>PartNumber<\/ArgumentName>\s*<ArgumentValue>10001</)
    const bad = await send(oss, {
      path: '/bkt/k',
      headers: { ...signed(oss, { resource: '/bkt/other' }) },
    })
    t.equal(tag(bad.body, 'Code'), 'SignatureDoesNotMatch')
    t.equal(tag(bad.body, 'OSSAccessKeyId'), oss.credentials.accessKeyId)
    t.match(tag(bad.body, 'StringToSignBytes') ?? '', /^47 45 54 0A /)
    const region = aliOss(oss, 'bkt', { region: 'oss-cn-beijing' })
    await rejects(t, region.get('k'), {
      status: 400,
      code: 'InvalidArgument',
      ecCode: '0002-00000226',
    })
    const old = new Date(Date.now() - 16 * 60_000).toUTCString()
    const skewed = await ask(oss, 'GET', '/bkt/k', { headers: { 'x-oss-date': old } })
    t.same(error(skewed), [403, 'RequestTimeTooSkewed', '0002-00000504'])
    t.match(
      skewed.body,
      /<MaxAllowedSkewMilliseconds>900000<.*<RequestTime>.*\.000Z<.*<ServerTime>/s,
    )
  })

  t.test(
    'the body of a refused request is drained, so that the client reads the response',
    async t => {
      const body = randomBytes(20_000_000)
      t.same(error(await ask(oss, 'PUT', '/nowhere/k', { body }))[1], 'NoSuchBucket')
      t.equal(oss.requests.at(-1)?.bytes, body.length)
    },
  )

  t.test('CompleteMultipartUpload checks its parts and returns OSS’s XML', async t => {
    const uploadId = await initiate(oss, '/bkt/c')
    const put = (n: number, body: string | Buffer) =>
      ask(oss, 'PUT', `/bkt/c?partNumber=${n}&uploadId=${uploadId}`, { body })
    const big = Buffer.alloc(102_400, 1)
    const one = (await put(1, big)).headers.etag ?? ''
    await put(2, 'small')
    const three = (await put(3, 'the last')).headers.etag ?? ''
    const two = '"EB5C1399A871211C7E7ED732D15E3A8B"'
    const xml = (...parts: [number, string][]) =>
      `<CompleteMultipartUpload>${parts.map(([n, etag]) => `<Part><PartNumber>${n}</PartNumber><ETag>${etag}</ETag></Part>`).join('')}</CompleteMultipartUpload>`
    const complete = (body: string, headers: Record<string, string> = {}, id = uploadId) =>
      ask(oss, 'POST', `/bkt/c?uploadId=${id}`, { body, headers })
    const cases: [string, Record<string, string>, unknown[]][] = [
      ['', {}, [400, 'MalformedXML', '0042-00000205']],
      ['<nonsense', {}, [400, 'MalformedXML', '0042-00000205']],
      ['<Other></Other>', {}, [400, 'MalformedXML', '0042-00000205']],
      [
        '<!DOCTYPE x [<!ENTITY a "b">]><CompleteMultipartUpload>&a;</CompleteMultipartUpload>',
        {},
        [400, 'MalformedXML', '0042-00000205'],
      ],
      [xml([3, three], [1, one]), {}, [400, 'InvalidPartOrder', '0042-00000209']],
      [xml([1, one], [1, one]), {}, [400, 'InvalidPartOrder', '0042-00000209']],
      [xml([1, one], [4, three]), {}, [400, 'InvalidPart', '']],
      [xml([1, three]), {}, [400, 'InvalidPart', '']],
      [xml([1, one], [2, two], [3, three]), {}, [400, 'EntityTooSmall', '0042-00000213']],
      [
        xml([1, one]),
        { 'Content-MD5': 'JfnnlDI7RTiF9RgfG2JNCw==' },
        [400, 'InvalidDigest', '0017-00000503'],
      ],
      [xml([1, one]), { 'x-oss-complete-all': 'yes' }, [400, 'InvalidArgument', '0042-00000216']],
    ]
    await put(2, 'small')
    for (const [body, headers, expected] of cases)
      t.same(
        error(await complete(body, headers)),
        expected,
        `${expected.join(' ')} ${body.slice(0, 30)}`,
      )
    t.same(error(await complete(xml([1, one]), {}, 'F'.repeat(32)))[2], '0042-00000203')

    await ask(oss, 'PUT', '/bkt/c', { body: 'in the way' })
    const forbidden = await complete(xml([1, one]), { 'x-oss-forbid-overwrite': 'true' })
    t.same(error(forbidden), [409, 'FileAlreadyExists', '0042-00000214'])
    // ETags quoted as by the official Go client and unquoted, and a gap in the part numbers
    const done = await complete(
      xml([1, one.replaceAll('"', '&#34;')], [3, three.replaceAll('"', '')]),
    )
    t.equal(done.status, 200)
    t.match(
      done.body,
      /<CompleteMultipartUploadResult>\s*<Location>http[^<]*<\/Location>\s*<Bucket>bkt<\/Bucket>\s*<Key>c<\/Key>\s*<ETag>"[0-9A-F]{32}-2"<\/ETag>/,
    )
    t.notMatch(done.body, /xmlns/)
    t.equal((await ask(oss, 'GET', '/bkt/c')).body.length, 102_400 + 8)

    const all = await initiate(oss, '/bkt/all')
    for (const n of [1, 2])
      await ask(oss, 'PUT', `/bkt/all?partNumber=${n}&uploadId=${all}`, { body: big })
    const listed = await ask(oss, 'POST', `/bkt/all?uploadId=${all}`, {
      headers: { 'x-oss-complete-all': 'yes' },
    })
    t.equal(listed.status, 200)
    t.match(listed.headers.etag, /-2"$/)
  })

  t.test('a sequential upload refuses parts out of order', async t => {
    const answer = await ask(oss, 'POST', '/bkt/seq?sequential&uploads')
    const id = tag(answer.body, 'UploadId')
    const put = (n: number) =>
      ask(oss, 'PUT', `/bkt/seq?partNumber=${n}&uploadId=${id}`, { body: 'x' })
    t.same(error(await put(2))[1], 'PartNotSequential')
    t.equal((await put(1)).status, 200)
    t.same(error(await put(1)), [409, 'PartAlreadyExist', '0042-00000108'])
  })

  t.test('undocumented behaviour matches recordings of the service', async t => {
    const plus = signed(oss, { method: 'PUT', resource: '/bkt/go go+' })
    const put = { method: 'PUT', path: '/bkt/go+go%2B', headers: { ...plus, 'Content-Length': 0 } }
    t.equal((await send(oss, put)).status, 200, 'a plus sign in a path is a space')

    const acl = (value: string) => ({ 'x-oss-object-acl': value, 'x-oss-meta-a': value })
    const append = (position: number, value: string) =>
      ask(oss, 'POST', `/bkt/acl?append&position=${position}`, { body: 'x', headers: acl(value) })
    await append(0, 'private')
    await append(1, 'public-read')
    t.equal(tag((await ask(oss, 'GET', '/bkt/acl?acl')).body, 'Grant'), 'public-read')
    t.equal((await ask(oss, 'HEAD', '/bkt/acl')).headers['x-oss-meta-a'], 'private')

    const upload = async (complete: Record<string, string>) => {
      const headers = { ...acl('public-read'), 'If-Modified-Since': new Date().toUTCString() }
      const id = tag((await ask(oss, 'POST', '/bkt/acl2?uploads', { headers })).body, 'UploadId')
      await ask(oss, 'PUT', `/bkt/acl2?partNumber=1&uploadId=${id}`, { body: 'x' })
      const all = { 'x-oss-complete-all': 'yes', ...complete }
      await ask(oss, 'POST', `/bkt/acl2?uploadId=${id}`, { headers: all })
      return tag((await ask(oss, 'GET', '/bkt/acl2?acl')).body, 'Grant')
    }
    t.equal(await upload({}), 'default', 'the ACL of Initiate is ignored')
    t.equal(
      await upload({ 'x-oss-object-acl': 'private' }),
      'private',
      'the ACL of Complete is applied',
    )

    t.equal((await ask(oss, 'GET', '/', { query: 'prefix=Bucket' })).status, 400)
    const made = await ask(oss, 'PUT', '/by-acl/?acl', { headers: { 'x-oss-acl': 'public-read' } })
    t.equal(made.status, 200)
    t.equal(tag((await ask(oss, 'GET', '/by-acl/?bucketInfo')).body, 'Grant'), 'public-read')
  })

  t.test('lists of multipart uploads are filtered, grouped and paged', async t => {
    const ids: string[] = []
    for (const key of ['u/1', 'u/1', 'u/2/x', 'v', 'w'])
      ids.push(await initiate(oss, `/other/${key}`))
    const list = (query: string) => ask(oss, 'GET', '/other/?uploads', { query })
    const keys = (answer: Answer) =>
      [...answer.body.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key)
    t.same(keys(await list('')), ['u/1', 'u/1', 'u/2/x', 'v', 'w'])
    const page = await list('max-uploads=1&prefix=u/')
    t.match(page.body, /<NextKeyMarker>u\/1<.*<IsTruncated>true</s)
    const first = ids.slice(0, 2).toSorted()
    t.equal(tag(page.body, 'NextUploadIdMarker'), first[0])
    const rest = await list(`prefix=u/&key-marker=u/1&upload-id-marker=${first[0]}`)
    t.same(keys(rest), ['u/1', 'u/2/x'])
    t.same(keys(await list('key-marker=u/1')), ['u/2/x', 'v', 'w'])
    const grouped = await list('delimiter=/&max-uploads=1000')
    t.same(keys(grouped), ['v', 'w'])
    t.match(grouped.body, /<CommonPrefixes>\s*<Prefix>u\/</)
  })

  t.test('ranges, conditional headers and response overrides are applied', async t => {
    const at = { date: '' }
    await ask(oss, 'PUT', '/bkt/r', { body: '0123456789' })
    const get = (headers: Record<string, string>) => ask(oss, 'GET', '/bkt/r', { headers })
    const range = async (value: string, extra = {}) => {
      const { status, body, headers } = await get({ Range: value, ...extra })
      at.date = headers['last-modified'] ?? at.date
      return [status, body, headers['content-range']]
    }
    t.same(await range('bytes=2-4'), [206, '234', 'bytes 2-4/10'])
    t.same(await range('bytes=7-'), [206, '789', 'bytes 7-9/10'])
    t.same(await range('bytes=-3'), [206, '789', 'bytes 7-9/10'])
    t.same(
      await range('bytes=1-2,5-6'),
      [206, '12', 'bytes 1-2/10'],
      'only the first of several ranges is returned',
    )
    for (const invalid of [
      'bytes=5-10',
      'bytes=10-',
      'bytes=4-2',
      'bytes=-11',
      'byte=1-2',
      'bytes=-',
    ])
      t.same(await range(invalid), [200, '0123456789', undefined], invalid)
    const standard = { 'x-oss-range-behavior': 'standard' }
    t.same(await range('bytes=5-10', standard), [206, '56789', 'bytes 5-9/10'])
    t.same((await range('bytes=10-20', standard))[0], 416)
    t.equal(
      (await get({ Range: 'bytes=0-1' })).headers['x-oss-hash-crc64ecma'],
      (await get({})).headers['x-oss-hash-crc64ecma'],
      'the CRC64 is that of the whole object',
    )
    t.equal(parseRange('bytes=0-', 0, false), 'whole')

    const etag = '781E5E245D69B566979B86E28D23F2C7'
    const status = async (headers: Record<string, string>) => (await get(headers)).status
    t.equal(await status({ 'If-Match': etag }), 200)
    t.equal(await status({ 'If-Match': '"0"' }), 412)
    t.equal(await status({ 'If-None-Match': `"${etag}"` }), 304)
    t.equal(await status({ 'If-None-Match': '"0"' }), 200)
    t.equal(await status({ 'If-Modified-Since': at.date }), 304)
    t.equal(await status({ 'If-Unmodified-Since': at.date }), 200)
    t.equal(await status({ 'If-Unmodified-Since': new Date(0).toUTCString() }), 412)
    const overridden = await ask(
      oss,
      'GET',
      '/bkt/r?response-cache-control=x&response-content-disposition=y',
    )
    t.match(overridden.headers, { 'cache-control': 'x', 'content-disposition': 'y' })
    t.equal(
      (await ask(oss, 'GET', '/bkt/r?response-expires=a%0d%0ab')).status,
      403,
      'the query is signed in decoded form',
    )
  })

  t.test('CopyObject copies body and metadata and checks its conditions', async t => {
    await ask(oss, 'PUT', '/bkt/ü', { body: 'copied', headers: { 'Content-Type': 'text/x' } })
    const copy = (headers: Record<string, string>) => ask(oss, 'PUT', '/other/copy', { headers })
    const source = { 'x-oss-copy-source': '/bkt/%C3%BC' }
    const done = await copy(source)
    t.match(
      done.body,
      /<CopyObjectResult>\s*<LastModified>[^<]*<\/LastModified>\s*<ETag>"[0-9A-F]{32}"</,
    )
    const got = await ask(oss, 'GET', '/other/copy')
    t.match(got, { body: 'copied', headers: { 'content-type': 'text/x' } })
    await ask(oss, 'DELETE', '/bkt/ü')
    t.equal((await ask(oss, 'GET', '/other/copy')).body, 'copied', 'the copy outlives its source')
    t.same(error(await copy(source)), [404, 'NoSuchKey', '0026-00000001'])
    t.same(error(await copy({ 'x-oss-copy-source': 'nonsense' }))[1], 'InvalidArgument')
    const self = { 'x-oss-copy-source': '/other/copy' }
    t.equal((await copy({ ...self, 'x-oss-copy-source-if-match': '"0"' })).status, 412)
    t.equal(
      (await copy({ ...self, 'x-oss-copy-source-if-none-match': String(got.headers.etag) })).status,
      304,
    )
    await copy({ ...self, 'x-oss-metadata-directive': 'REPLACE', 'x-oss-meta-n': '1' })
    t.match(await ask(oss, 'GET', '/other/copy'), {
      body: 'copied',
      headers: { 'x-oss-meta-n': '1' },
    })
  })

  t.test('anonymous access is allowed by the ACLs of bucket and object', async t => {
    const open = (acl: string) => ask(oss, 'PUT', '/other/?acl', { headers: { 'x-oss-acl': acl } })
    await ask(oss, 'PUT', '/other/k', { body: 'x' })
    const path = '/other/k'
    t.equal((await send(oss, { path })).status, 403)
    await open('public-read')
    t.equal((await send(oss, { path })).body, 'x')
    t.equal((await send(oss, { path: '/other/' })).status, 200)
    t.equal((await send(oss, { path: `${path}?response-expires=x` })).status, 400)
    t.equal(
      (await send(oss, { method: 'PUT', path, headers: { 'Content-Length': 1 }, body: 'y' }))
        .status,
      403,
    )
    await open('public-read-write')
    t.equal(
      (await send(oss, { method: 'PUT', path, headers: { 'Content-Length': 1 }, body: 'y' }))
        .status,
      200,
    )
    t.equal(
      (await send(oss, { method: 'DELETE', path: '/other/' })).status,
      403,
      'a bucket cannot be deleted anonymously',
    )
    await ask(oss, 'PUT', '/other/k?acl', { headers: { 'x-oss-object-acl': 'private' } })
    t.equal((await send(oss, { path })).status, 403, 'the ACL of the object takes precedence')
    const source = { 'x-oss-copy-source': '/bkt/r', 'Content-Length': '0' }
    t.equal(
      (await send(oss, { method: 'PUT', path: '/other/stolen', headers: source })).status,
      403,
      'a private object cannot be copied anonymously',
    )
    await open('private')
  })

  t.test(
    'HTTP: handles chunks, Expect, pipelining, garbage, idle clients and short bodies',
    async t => {
      const head = (resource: string, method = 'PUT') =>
        Object.entries(signed(oss, { method, resource }))
          .map(([k, v]) => `${k}: ${v}\r\n`)
          .join('')
      const chunked = await sendBytes(
        oss,
        `PUT /bkt/ch HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n${head('/bkt/ch')}\r\n`,
        '3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n',
      )
      t.match(chunked, /^HTTP\/1.1 200/)
      t.equal((await ask(oss, 'GET', '/bkt/ch')).body, 'abcde')

      const expected = await sendBytes(
        oss,
        `PUT /bkt/ex HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n${head('/bkt/ex')}\r\n`,
        'ab',
      )
      t.match(expected, /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200/)
      const refused = await sendBytes(
        oss,
        `PUT /nowhere/ex HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n${head('/nowhere/ex')}\r\n`,
      )
      t.match(refused, /^HTTP\/1.1 404/, 'the request is refused before its body is sent')

      const two = await sendBytes(
        oss,
        `PUT /bkt/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n${head('/bkt/p')}\r\nx`,
        `GET /bkt/p HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${head('/bkt/p', 'GET')}\r\n`,
      )
      t.match(
        two,
        /^HTTP\/1.1 200.*HTTP\/1.1 200.*x$/s,
        'bytes after Content-Length are the next request',
      )

      t.match(
        await sendBytes(
          oss,
          `PUT /bkt/l HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${head('/bkt/l')}\r\n`,
        ),
        /^HTTP\/1.1 411.*<Code>MissingContentLength<.*0017-00000101/s,
      )
      t.match(await sendBytes(oss, 'NONSENSE\r\n\r\n'), /^HTTP\/1.1 400.*<Code>BadRequest</s)
      const silent = await sendBytes(
        oss,
        `PUT /bkt/s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n${head('/bkt/s')}\r\nabc`,
      )
      t.match(silent, /^HTTP\/1.1 400.*<Code>RequestTimeout<.*0017-00000704/s)
      t.match(await ask(oss, 'HEAD', '/bkt/s'), { status: 404 }, 'an incomplete PUT stores nothing')
    },
  )

  t.test('keys that XML cannot represent are URL-encoded on request', async t => {
    const key = '\u0001<&>"\n'
    const path = `/bkt/${encodeURIComponent(key)}`
    await send(oss, {
      method: 'PUT',
      path,
      headers: { ...signed(oss, { method: 'PUT', resource: `/bkt/${key}` }), 'Content-Length': 0 },
    })
    const { body } = await ask(oss, 'GET', '/bkt/', { query: 'encoding-type=url&prefix=%01' })
    t.equal(tag(body, 'Key'), '%01%3C%26%3E%22%0A')
    t.equal(tag(body, 'EncodingType'), 'url')
    const xml =
      '<Delete><Object><Key>%01%3C%26%3E%22%0A</Key></Object><Object><Key>a&#38;b</Key></Object></Delete>'
    const deleted = await ask(oss, 'POST', '/bkt/?delete', {
      query: 'encoding-type=url',
      body: xml,
    })
    t.match(
      deleted.body,
      /<DeleteResult>\s*<EncodingType>url<.*<Key>%01%3C%26%3E%22%0A<.*<Key>a%26b</s,
    )
    t.match(await ask(oss, 'GET', '/bkt/', { query: 'prefix=%01' }), {
      status: 200,
      body: /<IsTruncated>false</,
    })
  })

  t.test('metadata keeps bytes in any encoding', async t => {
    for (const authorizationV4 of [false, true]) {
      const client = aliOss(oss, 'bkt', { headerEncoding: 'latin1', authorizationV4 })
      await client.put('meta', Buffer.from('x'), { meta: { n: 'größe 大' } })
      const { headers } = await ask(oss, 'GET', '/bkt/meta')
      t.equal(Buffer.from(String(headers['x-oss-meta-n']), 'latin1').toString(), 'größe 大')
    }
  })
})

t.test('emulator options are validated and applied', async t => {
  t.test('createBuckets, discard, maxRequests and verify are applied', async t => {
    const oss = await startEmulator({ createBuckets: true, discard: true, maxRequests: 5 })
    t.teardown(() => oss.close())
    const client = aliOss(oss, 'any-bucket')
    const body = randomBytes(150_000)
    const put = await client.put('k', body)
    t.equal(put.res.headers.etag, `"${createHash('md5').update(body).digest('hex').toUpperCase()}"`)
    t.ok(
      Buffer.alloc(150_000).equals((await client.get('k')).content),
      'discarded content is read as zeros',
    )
    const { uploadId } = await client.initMultipartUpload('m')
    const { etag } = await client.uploadPart('m', uploadId, 1, body, 0, body.length)
    t.equal((await client.listParts('m', uploadId)).parts.Size, '150000')
    await client.completeMultipartUpload('m', uploadId, [{ number: 1, etag }])
    t.equal((await client.get('m')).content.length, 150_000)
    for (let i = 0; i < 30; i++) await client.head('k')
    t.ok(oss.requests.length <= 22, 'the request log is bounded')

    const fast = await startEmulator({ createBuckets: true, verify: false })
    t.teardown(() => fast.close())
    const quick = aliOss(fast, 'any-bucket')
    const stored = await quick.put('k', body)
    t.match(stored.res.headers.etag, /^"[0-9A-F]{32}"$/)
    t.notOk('x-oss-hash-crc64ecma' in stored.res.headers)
    t.ok(body.equals((await quick.get('k')).content))

    const withoutMd5 = await startEmulator({ buckets: ['bkt'], verify: 'crc64' })
    t.teardown(() => withoutMd5.close())
    for (const method of ['PUT', 'HEAD']) {
      const { headers } = await ask(withoutMd5, method, '/bkt/k', { body: '123456789' })
      t.equal(headers['x-oss-hash-crc64ecma'], '11051210869376104954')
      t.notOk('content-md5' in headers, 'no MD5 that is not the one of the content')
    }
  })

  t.test('tls serves HTTPS, and faults apply to it', async t => {
    const oss = await startEmulator({ buckets: ['bkt'], tls: { key: KEY, cert: CERT } })
    t.teardown(() => oss.close())
    t.match(oss.clientOptions('bkt'), { endpoint: /^https:/, secure: true })
    const status = await new Promise(resolve =>
      httpsRequest(`${oss.endpoint}/bkt/k`, { rejectUnauthorized: false }, r =>
        resolve(r.resume().statusCode),
      ).end(),
    )
    t.equal(status, 403)
    const fault = oss.inject({ do: 'reset' })
    const cut = new Promise((_, reject) =>
      httpsRequest(`${oss.endpoint}/bkt/k`, { rejectUnauthorized: false, agent: false })
        .on('error', reject)
        .end(),
    )
    await t.rejects(cut)
    t.equal(fault.hits, 1)
  })

  t.test(
    'describeEmulator prints endpoint, credentials and a warning for public hosts',
    async t => {
      const oss = await startEmulator()
      t.teardown(() => oss.close())
      const text = describeEmulator(oss)
      for (const expected of [
        oss.endpoint,
        oss.dir,
        oss.credentials.accessKeySecret,
        'new OSS(',
        'ossutil ls',
      ])
        t.ok(text.includes(expected), expected)
      t.notMatch(text, /TEST SERVER/)
      for (const host of ['localhost', '::1', '127.1.2.3'])
        t.notMatch(describeEmulator({ ...oss, host }), /TEST SERVER/, host)
      const open = await startEmulator({ host: '0.0.0.0' })
      t.teardown(() => open.close())
      t.match(describeEmulator(open), /TEST SERVER listening on 0\.0\.0\.0/)
      t.match(open.endpoint, /^http:\/\/127\.0\.0\.1:/)
    },
  )

  t.test('invalid options are rejected', async t => {
    await t.rejects(startEmulator({ buckets: ['../x'] }), TypeError)
    await t.rejects(startEmulator({ idleTimeout: 0 }), RangeError)
    await t.rejects(startEmulator({ idleTimeout: 2 ** 31 }), RangeError, 'no timer is that long')
    const verify = 'nonsense' as 'crc64' // as JavaScript may pass it
    await t.rejects(startEmulator({ verify }), TypeError)
    await t.rejects(startEmulator({ link: { bandwidth: -1 } }), RangeError)
    await t.rejects(startEmulator({ port: 65_536 }), RangeError)
    await t.rejects(startEmulator({ admin: -1 }), RangeError)
    const fromJavaScript: Record<string, unknown>[] = [
      { bucket: 'photos' }, // unknown
      { Dir: '/tmp' },
      { port: '9000' },
      { credentials: { accessKeyId: 'id' } },
      { credentials: [] },
      { credentials: null },
      { buckets: 'photos' },
      { createBuckets: 1 },
      { faults: {} },
      { cnames: { 'a.example.com': 5 } },
      { cnames: { 'a.example.com': 'Bad.Name' } },
      { tls: true },
      { tls: {} },
      { tls: { key: 'no PEM', cert: CERT } },
      { dir: '' },
      { host: '' },
      { region: '' },
      { region: 'oss-' },
      { credentials: { accessKeyId: '', accessKeySecret: 'secret' } },
    ]
    for (const options of fromJavaScript)
      await t.rejects(startEmulator(options), TypeError, JSON.stringify(options))
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => taken.once('listening', resolve))
    const address = taken.address()
    const port = typeof address === 'object' && address ? address.port : 0
    await rejects(t, startEmulator({ port }), { code: 'EADDRINUSE' })
    taken.close()
  })
})
