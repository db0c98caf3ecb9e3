/** Requests of the official SDKs other than ali-oss, and uses of ali-oss beyond uploads. */
import { createPublicKey, verify } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { parseXml } from '../../src/emulator/operations/xml-body.js'
import { aliOss, ask, send, sendBytes, signed, tag } from './clients.js'

const oss = await startEmulator({ buckets: ['bkt', 'other'] })
t.teardown(() => oss.close())

const WHOLE_SECONDS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/

t.test('times in XML have whole seconds, which oss2 for Python requires', async t => {
  await ask(oss, 'PUT', '/bkt/time', { body: 'x' })
  const list = await ask(oss, 'GET', '/bkt/', { query: 'prefix=time' })
  t.match(tag(list.body, 'LastModified'), WHOLE_SECONDS)
  const upload = await ask(oss, 'POST', '/bkt/parts?uploads')
  const uploadId = tag(upload.body, 'UploadId') ?? ''
  const part = `/bkt/parts?partNumber=1&uploadId=${uploadId}`
  await ask(oss, 'PUT', part, { body: 'x' })
  const parts = await ask(oss, 'GET', `/bkt/parts?uploadId=${uploadId}`)
  t.match(tag(parts.body, 'LastModified'), WHOLE_SECONDS)
  const uploads = await ask(oss, 'GET', '/bkt/?uploads')
  t.match(tag(uploads.body, 'Initiated'), WHOLE_SECONDS)
  const buckets = await ask(oss, 'GET', '/')
  t.match(tag(buckets.body, 'CreationDate'), WHOLE_SECONDS)
  const copy = await send(oss, {
    method: 'PUT',
    path: '/bkt/copy',
    headers: signed(oss, {
      method: 'PUT',
      resource: '/bkt/copy',
      headers: { 'x-oss-copy-source': '/bkt/time' },
    }),
  })
  t.match(tag(copy.body, 'LastModified'), WHOLE_SECONDS)
})

t.test('DeleteMultipleObjects deletes the named keys only', async t => {
  const key = async (text: string) => {
    const document = `<Delete><Object><Key>${text}</Key></Object></Delete>`
    const deletion = await parseXml(document, 'Delete')
    return deletion.child('Object')?.text('Key')
  }
  t.test('references are decoded to the character that they name', async t => {
    for (const [text, expected] of [
      ['a&#11;', 'a\u000b'],
      ['a&#x1F;b', 'a\u001fb'],
      ['&#13;&#10;&#9;', '\r\n\t'],
      ['a&#127;&#133;', 'a\u007f\u0085'],
      ['a&amp;#11;', 'a&#11;'],
      ['a&#38;#11;', 'a&#11;'],
      ['&lt;&gt;&quot;&apos;&#x1F600;', '<>"\'\u{1F600}'],
      ['<![CDATA[a&#11;&b]]>', 'a&#11;&b'],
      ['\r', '\r'],
      ['a\r\nb\r<![CDATA[c]]>\r', 'a\r\nb\rc\r'],
    ] as const)
      t.equal(await key(text), expected, text)
  })
  t.test('references to no character, and unknown entities, are refused', async t => {
    for (const text of ['&#0;', '&#xD800;', '&#1114112;', '&#;', '&#xZ;', '&nbsp;', '&x;', '&'])
      await t.rejects(key(`a${text}`), { code: 'MalformedXML' }, text)
    await t.rejects(key('<![CDATA[a\r]]>'), { code: 'MalformedXML' })
  })
  t.test('documents may have any line ends', async t => {
    const document =
      '<?xml version="1.0"?>\r\n<Delete\r\n xmlns="x">\r\n<Quiet>true</Quiet>\r\n</Delete>\r\n'
    t.equal((await parseXml(document, 'Delete')).text('Quiet'), 'true')
  })
  await ask(oss, 'PUT', '/bkt/dc-report', { body: 'kept' })
  const xml = '<Delete><Object><Key>dc-report&#11;</Key></Object></Delete>'
  const deleted = await ask(oss, 'POST', '/bkt/?delete', { body: xml })
  t.equal(deleted.status, 200)
  t.equal((await ask(oss, 'GET', '/bkt/dc-report')).body, 'kept')
})

t.test('ali-oss lists and deletes keys of control characters', async t => {
  const client = aliOss(oss, 'bkt')
  const name = 'control-\u0001\n\u000c\u0007\t\r\u007f'
  await client.put(name, Buffer.from('x'))
  const listed = async () => {
    const { objects } = await client.list({ prefix: 'control-' })
    return (objects ?? []).map((object: { name: string }) => object.name)
  }
  t.same(await listed(), [name])
  const { deleted } = await client.deleteMulti([name])
  t.equal(deleted[0].Key, name)
  t.same(await listed(), [])
})

t.test('Content-Length together with chunked encoding is accepted', async t => {
  const client = aliOss(oss, 'bkt')
  const body = Readable.from([Buffer.from('abc'), Buffer.from('de')])
  await client.put('stream', body, { headers: { 'Content-Length': 5 } })
  t.equal((await ask(oss, 'GET', '/bkt/stream')).body, 'abcde')
  const head = (resource: string, method: string) =>
    Object.entries(signed(oss, { method, resource }))
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
  const put = `PUT /bkt/both HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n${head('/bkt/both', 'PUT')}\r\n3\r\nabc\r\n0\r\n\r\n`
  const next = `DELETE /bkt/dc-report HTTP/1.1\r\nHost: localhost\r\n${head('/bkt/dc-report', 'DELETE')}\r\n`
  t.test('the connection is closed after it, and what follows is ignored', async t => {
    const answers = await sendBytes(oss, put, next)
    t.match(answers, /^HTTP\/1.1 200.*Connection: close/s)
    t.equal(answers.match(/HTTP\/1.1/g)?.length, 1)
    t.equal((await ask(oss, 'GET', '/bkt/both')).body, 'abc')
    t.equal((await ask(oss, 'GET', '/bkt/dc-report')).status, 200)
  })
  t.test('nothing is done after a request that closes the connection', async t => {
    const plain = put.replace('Content-Length: 1\r\n', '')
    const closing = plain.replace('Host:', 'Connection: close\r\nHost:')
    for (const request of [closing, plain.replace('HTTP/1.1', 'HTTP/1.0')]) {
      const answers = await sendBytes(oss, request, next)
      t.equal(answers.match(/HTTP\/1.1 200/g)?.length, 1)
      t.equal((await ask(oss, 'GET', '/bkt/dc-report')).status, 200)
    }
  })
  t.test('other ambiguous or invalid requests are refused', async t => {
    const plain = put.replace('Content-Length: 1\r\n', '')
    for (const request of [
      plain.replace('Transfer-Encoding: chunked', 'Transfer-Encoding: gzip, chunked'),
      plain.replace('Transfer-Encoding: chunked', 'Transfer-Encoding: identity'),
      plain.replace(
        'Transfer-Encoding: chunked',
        'x-oss-meta-a: b\u0001c\r\nTransfer-Encoding: chunked',
      ),
      plain.replace('Transfer-Encoding: chunked', 'Content-Length: 1\r\nContent-Length: 2'),
      plain.replace('HTTP/1.1', 'HTTP/3.0'),
      put.replace('Transfer-Encoding:', 'Transfer-Encoding :'),
      plain.replace('Host: localhost', 'Host: localhost\r\nHost: other'),
    ])
      t.match(await sendBytes(oss, request), /^HTTP\/1.1 400.*<Code>BadRequest</s)
  })
})

t.test('conditions of CopyObject concern the source, with and without prefix', async t => {
  const client = aliOss(oss, 'bkt')
  const { res } = await client.put('original', Buffer.from('x'))
  const etag = String(res.headers.etag)
  await client.copy('copied', 'original', { headers: { 'If-Match': etag } })
  await t.rejects(client.copy('copied', 'original', { headers: { 'If-Match': '"other"' } }), {
    status: 412,
    code: 'PreconditionFailed',
    message: /\(condition: If-Match\)/,
  })
})

t.test('an empty continuation-token does not disable start-after', async t => {
  for (const key of ['l/a', 'l/b', 'l/c']) await ask(oss, 'PUT', `/bkt/${key}`, { body: 'x' })
  const query = 'list-type=2&prefix=l/&start-after=l/b'
  const { body } = await ask(oss, 'GET', '/bkt/?continuation-token', { query })
  t.same(
    [...body.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key),
    ['l/c'],
  )
})

t.test('tags of buckets are deleted by name and select listed buckets', async t => {
  const tags = (...names: string[]) =>
    `<Tagging><TagSet>${names.map(name => `<Tag><Key>${name}</Key><Value>v-${name}</Value></Tag>`).join('')}</TagSet></Tagging>`
  await ask(oss, 'PUT', '/bkt/?tagging', { body: tags('a', 'b', 'c') })
  await ask(oss, 'PUT', '/other/?tagging', { body: tags('c') })
  const listed = async (query: string) => {
    const { body } = await ask(oss, 'GET', '/', { query })
    return [...body.matchAll(/<Name>([^<]*)</g)].map(([, name]) => name)
  }
  t.same(await listed('tag-key=a'), ['bkt'])
  t.same(await listed('tag-key=c&tag-value=v-c'), ['bkt', 'other'])
  t.same(await listed('tag-key=c&tag-value=x'), [])
  const both = await ask(oss, 'GET', '/?tagging="a":"v-a","c":"v-c"')
  t.equal(tag(both.body, 'Name'), 'bkt')
  t.equal((await ask(oss, 'GET', '/', { query: 'tag-value=x' })).status, 400)
  t.equal((await ask(oss, 'DELETE', '/bkt/?tagging=a,b')).status, 204)
  const left = await ask(oss, 'GET', '/bkt/?tagging')
  t.same(
    [...left.body.matchAll(/<Key>([^<]*)</g)].map(([, name]) => name),
    ['c'],
  )
})

t.test('what is not implemented never answers another operation', async t => {
  for (const [method, resource, query] of [
    ['GET', '/?resourcePool', ''],
    ['GET', '/?cloudboxes', ''],
    ['GET', '/bkt/?redundancyTransition', ''],
    ['PUT', '/bkt/', 'processConfiguration'],
    ['GET', '/bkt/key?accessPointPolicyForObjectProcess', ''],
  ] as const) {
    const answer = await ask(oss, method, resource, { query })
    t.same([answer.status, tag(answer.body, 'Code')], [400, 'NotImplemented'], resource)
  }
  for (const method of ['GET', 'PUT', 'DELETE']) {
    const point = 'publicAccessBlock&x-oss-access-point-name=ap'
    const answer = await ask(oss, method, `/bkt/?${point}`)
    t.same([answer.status, tag(answer.body, 'Code')], [400, 'NotImplemented'], 'access point')
  }
  const form = { method: 'POST', path: '/bkt/', headers: { 'Content-Length': 0 } }
  const answer = await send(oss, form)
  t.same([answer.status, tag(answer.body, 'Code')], [400, 'NotImplemented'], 'PostObject')
})

t.test('a sub-resource with a method that it lacks reaches no other operation', async t => {
  await ask(oss, 'PUT', '/bkt/precious', { body: 'x' })
  for (const [method, resource] of [
    ['DELETE', '/bkt/precious?acl'],
    ['DELETE', '/bkt/precious?uploads'],
    ['PUT', '/bkt/precious?uploadId=1'],
    ['PUT', '/bkt/precious?append&position=0'],
    ['GET', '/bkt/precious?uploads'],
    ['DELETE', '/other/?acl'],
    ['DELETE', '/other/?bucketInfo'],
    ['GET', '/other/?delete'],
    ['GET', '/?acl'],
  ] as const) {
    const { status, body } = await ask(oss, method, resource)
    t.same([status, tag(body, 'Code')], [405, 'MethodNotAllowed'], `${method} ${resource}`)
  }
  t.equal((await ask(oss, 'GET', '/bkt/precious')).body, 'x')
  t.equal((await ask(oss, 'GET', '/other/?bucketInfo')).status, 200)
  const preflight = { method: 'OPTIONS', path: '/bkt/precious?restore' }
  t.equal(tag((await send(oss, preflight)).body, 'Code'), 'BadRequest', 'needs an Origin')
})

t.test('refusals name the reason that the service names', async t => {
  const code = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const answer = await send(oss, {
      method,
      path,
      headers: { 'Content-Length': '0', ...signed(oss, { method, resource: path, headers }) },
    })
    return [answer.status, tag(answer.body, 'Code')]
  }
  const longKey = 'k'.repeat(1024)
  t.same(await code('PUT', `/nowhere/${longKey}`), [404, 'NoSuchBucket'])
  t.same(await code('PUT', `/bkt/${longKey}`), [400, 'InvalidObjectName'])
  for (const limit of ['1', '245759', '838860801', 'fast', '-1'])
    t.same(await code('PUT', '/bkt/limited', { 'x-oss-traffic-limit': limit }), [
      400,
      'InvalidArgument',
    ])
  t.same(await code('PUT', '/bkt/limited', { 'x-oss-traffic-limit': '245760' }), [200, undefined])
  t.same(await code('GET', '/bkt/limited', { 'x-oss-traffic-limit': '1' }), [
    400,
    'InvalidArgument',
  ])
})

t.test('a presigned V4 URL without its additional header is 400', async t => {
  const client = aliOss(oss, 'bkt', { sldEnable: true, endpoint: `http://localhost:${oss.port}` })
  const request = { headers: { 'x-who': 'me' } }
  const url = await client.signatureUrlV4('PUT', 60, request, 'additional', ['x-who'])
  const put = (headers: Record<string, string>) =>
    fetch(url, { method: 'PUT', body: Buffer.from('x'), headers })
  t.equal((await put({ 'x-who': 'me' })).status, 200)
  t.equal((await put({})).status, 400)
  t.equal((await put({ 'x-who': 'you' })).status, 403)
})

t.test('white space before the declaration of a document is accepted', async t => {
  const body = '\n  <?xml version="1.0"?>\n<BucketLoggingStatus><A/></BucketLoggingStatus>\n'
  t.equal((await ask(oss, 'PUT', '/bkt/?logging', { body })).status, 200)
  t.match((await ask(oss, 'GET', '/bkt/?logging')).body, /^<\?xml[^>]*>\s*<BucketLoggingStatus>/)
  const policy = ' { "Statement": [] }\n'
  t.equal((await ask(oss, 'PUT', '/bkt/?policy', { body: policy })).status, 200)
  t.equal((await ask(oss, 'GET', '/bkt/?policy')).body, policy, 'a policy is returned as sent')
  await ask(oss, 'DELETE', '/bkt/?policy')
})

t.test('metadata of a later append is ignored, also if it is invalid', async t => {
  const tags = Array.from({ length: 11 }, (_, i) => `k${i}=v`).join('&')
  const append = (position: number, headers: Record<string, string>) =>
    ask(oss, 'POST', `/bkt/log?append&position=${position}`, { body: 'x', headers })
  const tooMany = { 'x-oss-tagging': tags }
  t.equal(tag((await append(0, tooMany)).body, 'Code'), 'InvalidArgument')
  t.equal((await append(0, { 'x-oss-tagging': 'a=b' })).status, 200)
  t.equal((await append(1, tooMany)).status, 200)
  t.equal(tag((await append(2, { 'If-Match': '*' })).body, 'Code'), 'NotImplemented')
  t.equal(tag((await ask(oss, 'GET', '/bkt/log?tagging')).body, 'Key'), 'a')
})

t.test('a bucket has the redundancy that it was created with', async t => {
  const create = (redundancy: string) => {
    const type = `<DataRedundancyType>${redundancy}</DataRedundancyType>`
    const body = `<CreateBucketConfiguration>${type}</CreateBucketConfiguration>`
    return ask(oss, 'PUT', '/zones/', { body })
  }
  t.equal((await create('XYZ')).status, 400)
  await create('ZRS')
  const { body } = await ask(oss, 'GET', '/zones/?bucketInfo')
  t.equal(tag(body, 'DataRedundancyType'), 'ZRS')
  await ask(oss, 'DELETE', '/zones/')
})

t.test('bucket information has the fields that SDKs read', async t => {
  const { body } = await ask(oss, 'GET', '/bkt/?bucketInfo')
  for (const name of ['DataRedundancyType', 'AccessMonitor', 'TransferAcceleration'])
    t.ok(tag(body, name), name)
  const acl = await send(oss, {
    method: 'PUT',
    path: '/bkt/?acl',
    headers: {
      'Content-Length': '0',
      ...signed(oss, {
        method: 'PUT',
        resource: '/bkt/?acl',
        headers: { 'x-oss-acl': 'private' },
      }),
    },
  })
  t.equal(acl.headers.location, '/bkt')
})

t.test('callbacks', async t => {
  /** Starts a handler of callbacks that answers with `status` and `answer`. */
  async function startHandler(status: number, answer: string) {
    const received: { headers: IncomingHttpHeaders; url: string; body: string }[] = []
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request
        .on('data', (chunk: Buffer) => chunks.push(chunk))
        .on('end', () => {
          const { headers, url = '' } = request
          received.push({ headers, url, body: Buffer.concat(chunks).toString() })
          response.writeHead(status, { Location: 'http://127.0.0.1:1/' }).end(answer)
        })
    }).listen(0, '127.0.0.1')
    t.teardown(() => server.close())
    await new Promise(resolve => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo // never a string: it listens on TCP
    return { received, url: `http://127.0.0.1:${port}/on put?a=b` }
  }
  const put = (emulator: Emulator, url: string) =>
    aliOss(emulator, 'bkt').put('called', Buffer.from('x'), {
      callback: { url, body: 'operation=${operation}&clientIp=${clientIp}' },
    })

  t.test('are signed with the key that they name', async t => {
    const { received, url } = await startHandler(200, '{}')
    await put(oss, url)
    const [callback] = received
    t.equal(callback?.body, 'operation=PutObject&clientIp=127.0.0.1')
    const keyUrl = Buffer.from(String(callback?.headers['x-oss-pub-key-url']), 'base64').toString()
    const pem = await (await fetch(keyUrl)).text()
    const text = `/on put?a=b\n${callback?.body}`
    const signature = Buffer.from(String(callback?.headers.authorization), 'base64')
    t.ok(verify('RSA-MD5', Buffer.from(text), createPublicKey(pem), signature))
    t.notOk(verify('RSA-MD5', Buffer.from(`${text}x`), createPublicKey(pem), signature))

    const name = new URL(keyUrl).pathname.slice(1)
    const client = aliOss(oss, 'bkt')
    await client.put(name, Buffer.from('an object'))
    t.equal((await client.get(name)).content.toString(), 'an object', 'its name stays free')
  })
  t.test('have the Host that the client asks for', async t => {
    const { received, url } = await startHandler(200, '{}')
    const callback = { url, host: 'app.example.com', body: 'x' }
    await aliOss(oss, 'bkt').put('called', Buffer.from('x'), { callback })
    t.equal(received[0]?.headers.host, 'app.example.com')
  })
  t.test('that do not answer JSON, or redirect, are 203 CallbackFailed', async t => {
    const plain = await startHandler(200, 'OK')
    await t.rejects(put(oss, plain.url), { status: 203, code: 'CallbackFailed' })
    const redirect = await startHandler(302, '')
    await t.rejects(put(oss, redirect.url), { status: 203, message: /Error status : 302/ })
    t.equal(redirect.received.length, 1)
  })
})

t.test('keys with spaces, as the Go SDK encodes them, are copied and linked to', async t => {
  await aliOss(oss, 'bkt').put('go go+', Buffer.from('a space and a plus'))
  const copy = { 'x-oss-copy-source': '/bkt/go+go%2B' }
  t.equal((await ask(oss, 'PUT', '/bkt/go-copy', { headers: copy })).status, 200)
  const link = { 'x-oss-symlink-target': 'go+go%2B' }
  t.equal((await ask(oss, 'PUT', '/bkt/go-link?symlink', { headers: link })).status, 200)
  for (const key of ['go-copy', 'go-link'])
    t.equal((await ask(oss, 'GET', `/bkt/${key}`)).body, 'a space and a plus')
})

t.test('a multipart upload without parts becomes an empty object', async t => {
  const { body: upload } = await ask(oss, 'POST', '/bkt/empty?uploads')
  const body = '<CompleteMultipartUpload></CompleteMultipartUpload>'
  const path = `/bkt/empty?uploadId=${tag(upload, 'UploadId') ?? ''}`
  t.equal((await ask(oss, 'POST', path, { body })).status, 200)
  const { status, headers } = await ask(oss, 'HEAD', '/bkt/empty')
  t.match({ status, ...headers }, { status: 200, 'content-length': '0' })
  t.equal(headers['x-oss-hash-crc64ecma'], '0')
})

t.test('objects of sequential uploads have the MD5 of their content', async t => {
  for (const [parameters, expected] of [
    ['sequential&uploads', 'kAFQmDzST7DWlj99KOF/cg=='],
    ['uploads', undefined],
  ] as const) {
    const { body: upload } = await ask(oss, 'POST', `/bkt/in-order?${parameters}`)
    const uploadId = tag(upload, 'UploadId') ?? ''
    await ask(oss, 'PUT', `/bkt/in-order?partNumber=1&uploadId=${uploadId}`, { body: 'abc' })
    const headers = { 'x-oss-complete-all': 'yes' }
    await ask(oss, 'POST', `/bkt/in-order?uploadId=${uploadId}`, { headers })
    t.equal((await ask(oss, 'HEAD', '/bkt/in-order')).headers['content-md5'], expected)
  }
})

t.test('requested encryption is named by all later replies', async t => {
  const kms = {
    'x-oss-server-side-encryption': 'KMS',
    'x-oss-server-side-data-encryption': 'SM4',
    'x-oss-server-side-encryption-key-id': 'my-key',
  }
  t.match((await ask(oss, 'PUT', '/bkt/kms', { body: 'x', headers: kms })).headers, kms)
  t.match((await ask(oss, 'HEAD', '/bkt/kms')).headers, kms)
  const append = await ask(oss, 'POST', '/bkt/kms-log?append&position=0', {
    body: 'x',
    headers: kms,
  })
  t.match(append.headers, kms)
  const upload = await ask(oss, 'POST', '/bkt/kms-parts?uploads', { headers: kms })
  t.match(upload.headers, kms)
  const method = { 'x-oss-server-side-encryption': 'KMS' }
  const keyId = 'x-oss-server-side-encryption-key-id'
  const own = await ask(oss, 'PUT', '/bkt/kms', { body: 'x', headers: method })
  t.type(own.headers[keyId], 'string', 'KMS has a default key')
  const aes = { 'x-oss-server-side-encryption': 'AES256' }
  t.equal((await ask(oss, 'PUT', '/bkt/aes', { headers: aes, body: '' })).headers[keyId], undefined)
  const bad = { ...kms, 'x-oss-server-side-data-encryption': 'DES' }
  t.equal((await ask(oss, 'PUT', '/bkt/kms', { body: 'x', headers: bad })).status, 400)
})

t.test('the service describes its region, and a bucket without live channels', async t => {
  const regions = (query: string) => ask(oss, 'GET', '/', { query })
  const all = await regions('regions')
  t.equal(tag(all.body, 'Region'), 'oss-cn-hangzhou')
  t.equal((await regions('regions=oss-cn-hangzhou')).body, all.body)
  t.equal((await regions('regions=oss-mars')).status, 404)
  const channels = await ask(oss, 'GET', '/bkt/?live')
  t.match(channels, { status: 200, body: '<ListLiveChannelResult>' })
  t.equal(tag(channels.body, 'IsTruncated'), 'false')
  const short = await startEmulator({ region: 'cn-beijing', buckets: ['bkt'] })
  t.teardown(() => short.close())
  const location = await ask(short, 'GET', '/bkt/?location')
  t.match(location.body, '<LocationConstraint>oss-cn-beijing</LocationConstraint>')
})

t.test('a bucket that does not exist precedes an access key that does not exist', async t => {
  const stranger = { ...oss, credentials: { accessKeyId: 'nobody', accessKeySecret: 'x' } }
  const code = async (resource: string) => tag((await ask(stranger, 'GET', resource)).body, 'Code')
  t.equal(await code('/nowhere/?acl'), 'NoSuchBucket')
  t.equal(await code('/bkt/?acl'), 'InvalidAccessKeyId')
  t.equal(await code('/'), 'InvalidAccessKeyId')
})

t.test('listed buckets have their tags if tags select them', async t => {
  const client = aliOss(oss)
  await client.putBucketTags('other', { team: 'a' })
  const { buckets } = await client.listBuckets({ subres: { tagging: '"team":"a"' } })
  t.match(buckets, [{ name: 'other', tag: { team: 'a' } }])
})

t.test('tags of objects have valid characters, those of buckets any', async t => {
  const tagging = '<Tagging><TagSet><Tag><Key>%@abc</Key><Value>a%</Value></Tag></TagSet></Tagging>'
  t.equal((await ask(oss, 'PUT', '/bkt/?tagging', { body: tagging })).status, 200)
  t.equal(tag((await ask(oss, 'GET', '/bkt/?tagging')).body, 'Key'), '%@abc')
  await ask(oss, 'DELETE', '/bkt/?tagging')
  await ask(oss, 'PUT', '/bkt/tagged', { body: 'x' })
  const put = async (key: string, value: string) => {
    const body = `<Tagging><TagSet><Tag><Key>${key}</Key><Value>${value}</Value></Tag></TagSet></Tagging>`
    return tag((await ask(oss, 'PUT', '/bkt/tagged?tagging', { body })).body, 'Code')
  }
  t.equal(await put('%@abc', 'x'), 'InvalidArgument')
  t.equal(await put('x', '%abc'), 'InvalidArgument')
  t.equal(await put('aA1 +-=._:/', '标签'), undefined)
  const headers = { 'x-oss-tagging': 'a=100%25' }
  t.equal(
    tag((await ask(oss, 'PUT', '/bkt/tagged', { headers, body: 'x' })).body, 'Code'),
    'InvalidArgument',
  )
})

t.test('signatures of version 2 are refused', async t => {
  const Authorization = 'OSS2 AccessKeyId:id,Signature:c2ln'
  const byHeader = await send(oss, { path: '/bkt/time', headers: { Authorization } })
  const query = 'x-oss-signature-version=OSS2&x-oss-signature=c2ln'
  const byQuery = await send(oss, { path: `/bkt/time?${query}` })
  for (const { status, body } of [byHeader, byQuery]) {
    t.same([status, tag(body, 'Code')], [400, 'InvalidArgument'])
    t.match(tag(body, 'Message'), 'version 2')
  }
})
