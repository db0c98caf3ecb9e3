/** Published test vectors of both signature versions, the CRC64 and the multipart ETag. */
import t from 'tap'
import { combineCrc64, Crc64 } from '../../src/crc64.js'
import { authenticate } from '../../src/emulator/auth/authenticate.js'
import { canonicalRequestV4, stringToSignV1 } from '../../src/emulator/auth/canonical.js'
import { createCredentialStore } from '../../src/emulator/auth/credentials.js'
import { sameSignature, signV1, signV4, stringToSignV4 } from '../../src/emulator/auth/signature.js'
import { headerMap } from '../../src/emulator/http/headers.js'
import { parseRequestTarget } from '../../src/emulator/http/request-target.js'
import { multipartETag } from '../../src/emulator/store/digest.js'

const headers = (all: Record<string, string>) => headerMap(Object.entries(all).flat())

t.test('V1 signatures in headers match the published vectors', t => {
  const documented = {
    method: 'PUT',
    query: new Map<string, string>(),
    headers: headers({
      'Content-Md5': 'ODBGOERFMDMzQTczRUY3NUE3NzA5QzdFNUYzMDQxNEM=',
      'Content-Type': 'text/html',
      Date: 'Thu, 17 Nov 2005 18:49:58 GMT',
      'X-OSS-Meta-Author': 'foo@bar.com',
      'X-OSS-Magic': 'abracadabra',
    }),
  }
  const text = stringToSignV1(
    documented,
    { bucket: 'oss-example', key: 'nelson' },
    'Thu, 17 Nov 2005 18:49:58 GMT',
  )
  t.equal(signV1('OtxrzxIsfpFjA7SwPzILwy8Bw21TLhquhboDYROV', text), '26NBxoKdsyly4EDv6inkoDft/yA=')

  const date = 'Wed, 28 Dec 2022 10:27:41 GMT'
  const put = {
    method: 'PUT',
    headers: headers({
      'Content-MD5': 'eB5eJF1ptWaXm4bijSPyxw==',
      'Content-Type': 'text/html',
      'x-oss-meta-author': 'alice',
      'x-oss-meta-magic': 'abracadabra',
      'x-oss-date': date,
    }),
  }
  const get = { method: 'GET', headers: headers({ 'x-oss-date': date }) }
  const nelson = { bucket: 'examplebucket', key: 'nelson' }
  const bucket = { bucket: 'examplebucket', key: undefined }
  const sign = (request: typeof put, address: typeof nelson | typeof bucket, path: string) =>
    signV1(
      'sk',
      stringToSignV1({ ...request, query: parseRequestTarget(path).query }, address, date),
    )
  t.equal(sign(put, nelson, '/'), 'kSHKmLxlyEAKtZPkJhG9bZb5k7M=')
  t.equal(sign(put, nelson, '/?acl'), '/afkugFbmWDQ967j1vr6zygBLQk=')
  t.equal(sign(get, bucket, '/?resourceGroup&non-resousce=null'), 'vkQmfuUDyi1uDi3bKt67oemssIs=')
  t.equal(sign(get, bucket, '/?resourceGroup&acl'), 'x3E5TgOvl/i7PN618s5mEvpJDYk=')
  t.end()
})

t.test('V1 signatures in queries match the published vectors', t => {
  const sign = (path: string, key: string, expires: string) => {
    const request = { method: 'GET', headers: headers({}), query: parseRequestTarget(path).query }
    return signV1('sk', stringToSignV1(request, { bucket: 'bucket', key }, expires))
  }
  t.equal(sign('/key?versionId=versionId', 'key', '1699807420'), 'dcLTea+Yh9ApirQ8o8dOPqtvJXQ=')
  t.equal(
    sign('/key%2B123?security-token=token&versionId=versionId', 'key+123', '1699808204'),
    'jzKYRrM5y6Br0dRFPaTGOsbrDhY=',
  )
  t.end()
})

t.test('V4 signatures match the published vectors', t => {
  const query = parseRequestTarget(
    '/?%2Bparam1=value3&%2Bparam2=&%7Cparam1=value4&%7Cparam2=&param1=value1&param2=',
  ).query
  const all = {
    'x-oss-head1': 'value',
    abc: 'value',
    ZAbc: 'value',
    XYZ: 'value',
    'content-type': 'text/plain',
    'x-oss-content-sha256': 'UNSIGNED-PAYLOAD',
  }
  const sign = (unix: number, additional: string[], extra = {}) => {
    const time = new Date(unix * 1000).toISOString().replace(/[-:]|\.000/g, '')
    const scope = { date: time.slice(0, 8), region: 'cn-hangzhou', product: 'oss' }
    const request = {
      method: 'PUT',
      query,
      headers: headers({ ...all, 'x-oss-date': time, ...extra }),
    }
    const address = { bucket: 'bucket', key: '1234+-/123/1.txt' }
    const canonical = canonicalRequestV4(request, address, additional)
    return signV4('sk', scope, stringToSignV4(time, scope, canonical))
  }
  t.equal(
    sign(1_702_743_657, []),
    'e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe',
  )
  t.equal(
    sign(1_702_784_856, [], { 'x-oss-security-token': 'token' }),
    'b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea',
  )
  t.equal(
    sign(1_702_747_512, ['abc', 'zabc']),
    '4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f',
  )
  t.end()
})

t.test('authenticate picks the candidate address whose signature verifies', t => {
  const credentials = createCredentialStore([{ accessKeyId: 'ak', accessKeySecret: 'sk' }])
  const now = Date.parse('2024-01-01T00:00:00Z')
  const date = new Date(now).toUTCString()
  const expected = { bucket: 'two', key: 'k' }
  const unsigned = { method: 'GET', query: new Map(), headers: headers({ date }) }
  const signature = signV1('sk', stringToSignV1(unsigned, expected, date))
  const request = { ...unsigned, headers: headers({ date, authorization: `OSS ak:${signature}` }) }
  const region = 'cn-hangzhou'
  t.same(
    authenticate(
      request,
      [{ bucket: 'one', key: 'k' }, expected],
      { credentialStore: credentials, region },
      now,
    ),
    { address: expected, signed: true },
  )
  t.throws(
    () =>
      authenticate(
        request,
        [{ bucket: 'one', key: 'k' }],
        { credentialStore: credentials, region },
        now,
      ),
    { code: 'SignatureDoesNotMatch', extra: { SignatureProvided: signature } },
  )
  t.ok(sameSignature('abc', 'abc'))
  t.notOk(sameSignature('abc', 'abcd'), 'signatures of different lengths differ')
  t.end()
})

t.test('CRC64 and multipart ETag match the published vectors', async t => {
  const crc = new Crc64()
  const of = (text: string) => {
    crc.reset()
    crc.update(Buffer.from(text))
    return crc.digest()
  }
  t.equal(of(''), 0n)
  t.equal(of('a'), 3675645893302102789n)
  t.equal(of('123456789'), 11051210869376104954n)
  t.equal(of('This is a test of the emergency broadcast system.'), 0x27db187fc15bbc72n)
  t.equal(of('upload part 1'), 6571598172666981661n)
  t.equal(combineCrc64(of('12345'), of('6789'), 4), of('123456789'))
  t.equal(
    multipartETag(['4DE8075FB607DF4D13FBC480EA488EFA', 'AF947EC157726CEA88ED83B3C989063B']),
    '1C787C506EABFB9B45EAAA8DB039F4B2-2',
  )
})
