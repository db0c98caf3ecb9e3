/**
 * The parts of the OSS adapter that need no network: object headers, client settings and the classification of
 * failures. Also checks that no user-visible text contains a secret.
 */
import { mock } from 'node:test'
import { inspect } from 'node:util'
import OSS from 'ali-oss'
import t from 'tap'
import { AliOssBucket } from '../../src/oss/ali-oss-bucket.js'
import { connect } from '../../src/oss/connection.js'
import {
  isAmbiguous,
  errorKind,
  mayBeOurOwn,
  OssRequestError,
  type OssRequestErrorDetails,
  type RequestErrorKind,
} from '../../src/oss/request-error.js'
import {
  bodyHeaders,
  checkObjectOptions,
  completionHeaders,
  initiationHeaders,
  type ObjectOptions,
} from '../../src/oss/object-headers.js'
import { readClient, type ClientOptions } from '../../src/oss/client-options.js'
import { Transport } from '../../src/oss/transport.js'
import { Spool } from '../../src/index.js'

t.test('headers of an object', async t => {
  t.test('every option has its header', async t => {
    t.same(
      initiationHeaders({
        headers: { 'Cache-Control': 'no-cache', 'x-oss-server-side-encryption': 'AES256' },
        meta: { Author: 'me', a: '' },
        mime: 'text/csv',
        storageClass: 'IA',
        acl: 'private',
        tags: { 'a b': 'c&d', e: '' },
        overwrite: false,
      }),
      {
        'cache-control': 'no-cache',
        'x-oss-server-side-encryption': 'AES256',
        'x-oss-meta-author': 'me',
        'x-oss-meta-a': '',
        'content-type': 'text/csv',
        'x-oss-storage-class': 'IA',
        'x-oss-object-acl': 'private',
        'x-oss-tagging': 'a%20b=c%26d&e=',
        'x-oss-forbid-overwrite': 'true',
      },
    )
    t.same(initiationHeaders({}), {})
    t.same(initiationHeaders({ overwrite: true, tags: {}, meta: {} }), {})
  })

  t.test('non-ASCII metadata is percent-encoded and can be decoded', async t => {
    for (const value of [
      '日本',
      '😀 ü',
      'tab\tand\nline',
      '\x7f',
      '完成率100%',
      '%41 ü',
      '\ud800',
    ]) {
      const sent = initiationHeaders({ meta: { a: value } })['x-oss-meta-a'] ?? ''
      t.match(sent, /^[\x20-\x7e]*$/)
      t.equal(decodeURIComponent(sent), value.toWellFormed())
    }
  })

  t.test('metadata keeps the spaces at its ends', async t => {
    for (const value of [' a', 'a  ', '  a b ', ' ', '   ', '100% ', '\ta']) {
      const sent = initiationHeaders({ meta: { a: value } })['x-oss-meta-a'] ?? ''
      t.equal(sent, sent.trim(), JSON.stringify(value))
      t.equal(decodeURIComponent(sent), value)
    }
  })

  t.test('metadata of printable ASCII is sent unchanged', async t => {
    for (const value of ['', 'a', 'a b', 'plain 100%', '%E5%AE%8C', '~!']) {
      t.equal(initiationHeaders({ meta: { a: value } })['x-oss-meta-a'], value)
    }
  })

  t.test('x-oss-traffic-limit is a header of requests with bytes', async t => {
    for (const limit of ['819200', '838860800']) {
      const object = { headers: { 'X-OSS-Traffic-Limit': limit, 'Cache-Control': 'no-cache' } }
      t.doesNotThrow(() => checkObjectOptions(object))
      t.same(bodyHeaders(object), { 'x-oss-traffic-limit': limit })
      t.same(initiationHeaders(object), { 'cache-control': 'no-cache' })
    }
    t.same(bodyHeaders({}), {})
    for (const limit of ['819199', '838860801', '1e6', '100KB', '', '-1']) {
      const object = { headers: { 'x-oss-traffic-limit': limit } }
      t.throws(() => checkObjectOptions(object), { code: 'ERR_INVALID_ARG_VALUE' }, limit)
      t.same(bodyHeaders(object), {}, 'not sent for an upload recorded by an earlier version')
    }
  })

  t.test('x-oss-request-payer is refused in favour of client.isRequestPay', async t => {
    const object = { headers: { 'X-OSS-Request-Payer': 'requester' } }
    const error = {
      code: 'ERR_INVALID_ARG_VALUE',
      message: /use "client\.isRequestPay"/,
    }
    t.throws(() => checkObjectOptions(object), error)
    t.doesNotThrow(() => initiationHeaders(object), 'an upload recorded with it remains resumable')
  })

  t.test('reserved headers and metadata cannot be set', async t => {
    for (const name of [
      'Authorization',
      'HOST',
      'Date',
      'Content-Length',
      'content-md5',
      'Transfer-Encoding',
      'Connection',
      'TE',
      'Trailer',
      'Upgrade',
      'Expect',
      'Cookie',
      'x-oss-security-token',
      'X-OSS-Meta-OSS-Spool-Token',
      'x-oss-copy-source',
      'x-oss-callback',
      'x-oss-forbid-overwrite',
      'bad name',
      'bäd',
      '',
    ]) {
      const object = { headers: { [name]: 'x' } }
      t.throws(() => checkObjectOptions(object), { code: 'ERR_INVALID_ARG_VALUE' }, name)
    }
    for (const value of ['a\r\nb: c', '\0', 'ü']) {
      const object = { headers: { a: value } }
      t.throws(() => checkObjectOptions(object), { code: 'ERR_INVALID_ARG_VALUE' })
    }
    for (const name of ['oss-spool-token', 'OSS-Spool-Token', 'a_b', 'a b', 'a:b', '']) {
      const object = { meta: { [name]: 'x' } }
      t.throws(() => checkObjectOptions(object), { code: 'ERR_INVALID_ARG_VALUE' }, name)
    }
  })

  t.test('metadata is limited to 8 KiB including our token', async t => {
    const token = 'oss-spool-token'.length + 36
    const fits = 'x'.repeat(8 * 1024 - token - 1)
    t.doesNotThrow(() => checkObjectOptions({ meta: { a: fits } }))
    t.throws(() => checkObjectOptions({ meta: { a: `${fits}x` } }), {
      code: 'ERR_INVALID_ARG_VALUE',
    })
    const wide = 'ü'.repeat(1400) // 6 bytes each on the wire
    t.throws(() => checkObjectOptions({ meta: { a: wide } }), { code: 'ERR_INVALID_ARG_VALUE' })
  })

  t.test('a callback is sent with Complete in the encoding of OSS', async t => {
    const object: ObjectOptions = {
      overwrite: false,
      callback: {
        url: 'http://x.example/a b',
        body: 'k=${object}&v=${x:id}',
        host: 'h',
        contentType: 'application/json',
        callbackSNI: true,
        customValue: { id: 7, on: true, s: 'ü' },
      },
    }
    t.doesNotThrow(() => checkObjectOptions(object))
    t.notOk('x-oss-callback' in initiationHeaders(object))
    const headers = completionHeaders(object)
    const decode = (name: string): unknown =>
      JSON.parse(Buffer.from(headers[name] ?? '', 'base64').toString())
    t.equal(headers['x-oss-forbid-overwrite'], 'true')
    t.same(decode('x-oss-callback'), {
      callbackUrl: 'http://x.example/a%20b',
      callbackBody: 'k=${object}&v=${x:id}',
      callbackHost: 'h',
      callbackBodyType: 'application/json',
      callbackSNI: true,
    })
    t.same(decode('x-oss-callback-var'), { 'x:id': '7', 'x:on': 'true', 'x:s': 'ü' })
    const plain = completionHeaders({ callback: { url: 'http://x', body: '' } })
    t.same(Object.keys(plain), ['x-oss-callback'])
    t.same(completionHeaders({}), {})
  })
})

const keys = { accessKeyId: 'id', accessKeySecret: 'secret' }

t.test('client settings', async t => {
  t.test('region and endpoint result in one canonical endpoint', async t => {
    const region = 'oss-cn-hangzhou'
    const table: [options: Partial<ClientOptions>, endpoint: string, region: string][] = [
      [{ region }, 'https://oss-cn-hangzhou.aliyuncs.com', region],
      [{ region, secure: false }, 'http://oss-cn-hangzhou.aliyuncs.com', region],
      [{ region, internal: true }, 'https://oss-cn-hangzhou-internal.aliyuncs.com', region],
      [
        { endpoint: 'oss-eu-west-1.aliyuncs.com' },
        'https://oss-eu-west-1.aliyuncs.com',
        'oss-eu-west-1',
      ],
      [
        { endpoint: 'http://oss-eu-west-1-internal.aliyuncs.com/' },
        'http://oss-eu-west-1-internal.aliyuncs.com',
        'oss-eu-west-1',
      ],
      [
        { endpoint: 'HTTPS://OSS-EU-West-1.aliyuncs.com:443' },
        'https://oss-eu-west-1.aliyuncs.com',
        'oss-eu-west-1',
      ],
      [{ endpoint: 'my-oss-data.oss-cn-beijing.aliyuncs.com', cname: true }, '', 'oss-cn-beijing'],
      [{ endpoint: 'http://127.0.0.1:9000/path?q', region }, 'http://127.0.0.1:9000', region],
      [{ endpoint: 'localhost:9000', region, secure: false }, 'http://localhost:9000', region],
      [{ endpoint: 'files.example.com', authorizationV4: false }, '', 'oss-cn-hangzhou'],
      [{ endpoint: 'oss-accelerate.aliyuncs.com', region }, '', region],
      [{ region: 'cn-hangzhou' }, 'https://oss-cn-hangzhou.aliyuncs.com', region],
      [
        { region: 'cn-hangzhou', endpoint: 'http://127.0.0.1:9000' },
        'http://127.0.0.1:9000',
        region,
      ],
      [{ region: 'vpc100-oss-cn-hangzhou' }, 'https://vpc100-oss-cn-hangzhou.aliyuncs.com', 'vpc100-oss-cn-hangzhou'], // prettier-ignore
      [{ endpoint: 'http://[::1]:9000', region }, 'http://[::1]:9000', region],
      [{ endpoint: 'bucket.files.example.com', region, bucket: 'bucket' }, '', region],
      [{ endpoint: 'cn-hangzhou.oss.aliyuncs.com', region, bucket: 'bucket' }, '', region],
    ]
    for (const [options, endpoint, region] of table) {
      const { place } = readClient({ ...keys, ...options })
      t.equal(place.region, region, JSON.stringify(options))
      t.equal(place.endpoint, endpoint || `https://${options.endpoint}`)
    }
  })

  t.test('an ali-oss client keeps its own settings', async t => {
    const options = { ...keys, bucket: 'bucket', region: 'oss-cn-beijing', secure: true }
    const of = readClient(new OSS(options)).place
    t.match(of, { endpoint: 'https://oss-cn-beijing.aliyuncs.com', region: 'oss-cn-beijing' })
    t.same(of, readClient(options).place, 'same ids as with the options of the client')
  })

  t.test('an endpoint that reaches no bucket is rejected by name', async t => {
    const region = 'oss-cn-hangzhou'
    const own = 'bucket.oss-cn-hangzhou.aliyuncs.com'
    const wrong: [options: Partial<ClientOptions>, hint: RegExp][] = [
      [{ region, cname: true }, /"client\.cname"/],
      [{ endpoint: 'oss-cn-hangzhou.aliyuncs.com', cname: true }, /own domain of the bucket/],
      [
        { endpoint: own, bucket: 'bucket' },
        /use "oss-cn-hangzhou\.aliyuncs\.com".*"client\.cname"/,
      ],
      [{ endpoint: `http://${own}:80` }, /must not contain the bucket/],
      [{ endpoint: `https://${own.replace('.aliyuncs', '-internal.aliyuncs')}/` }, /hangzhou-internal/], // prettier-ignore
      [
        { endpoint: 'bucket.oss-accelerate.aliyuncs.com', region },
        /"oss-accelerate\.aliyuncs\.com"/,
      ],
    ]
    for (const [options, hint] of wrong) {
      const error = { code: 'ERR_INVALID_ARG_VALUE', message: hint }
      const client = { ...keys, ...options }
      t.throws(() => connect(client), error, JSON.stringify(options))
      t.throws(() => new Spool({ client }), { ...error, message: /"client\.endpoint"/ })
    }
    t.throws(() => connect(new OSS({ ...keys, region, cname: true, bucket: 'bucket' })), {
      code: 'ERR_INVALID_ARG_VALUE',
      message: /client\.endpoint/,
    })
  })

  t.test('unusable settings are rejected', async t => {
    for (const options of [
      { region: 'oss cn' },
      { region: '' },
      {},
      { endpoint: 'files.example.com' },
      { endpoint: 'oss-accelerate.aliyuncs.com' },
      { endpoint: 'ftp://oss-cn-beijing.aliyuncs.com' },
      { endpoint: 'http://oss-cn-beijing.aliyuncs.com:99999' },
      { region: 'oss-cn-beijing', accessKeyId: ' ' },
      { region: 'oss-cn-beijing', accessKeySecret: undefined },
      { region: 'oss-cn-beijing', accessKeySecret: 5 },
    ]) {
      const client = { ...keys, ...options } as ClientOptions // wrong types, possible in JavaScript
      t.throws(() => readClient(client), { code: 'ERR_INVALID_ARG_VALUE' }, JSON.stringify(options))
    }
    for (const client of [null, undefined, 'client', 5]) {
      t.throws(() => readClient(client as never), { code: 'ERR_INVALID_ARG_TYPE' })
    }
  })

  t.test('fixed credentials are read again for each request', async t => {
    const client = { ...keys, region: 'oss-cn-beijing', accessKeyId: ' id\n' }
    const { settings } = readClient(client)
    t.same(await settings.credentials.get(), keys)
    Object.assign(client, { accessKeyId: 'id2', accessKeySecret: 's2', stsToken: 'token' })
    t.same(await settings.credentials.get(), {
      accessKeyId: 'id2',
      accessKeySecret: 's2',
      stsToken: 'token',
    })
  })

  t.test('a provider that does not answer within a minute is called again', async t => {
    mock.timers.enable({ apis: ['setTimeout'] })
    t.teardown(() => mock.timers.reset())
    const answers: ((found: typeof keys) => void)[] = []
    const provider = () => new Promise<typeof keys>(resolve => answers.push(resolve))
    const { settings } = readClient({ region: 'oss-cn-beijing', credentials: provider })
    const first = settings.credentials.get()
    mock.timers.tick(59_999)
    const second = settings.credentials.get()
    t.equal(answers.length, 1, 'both wait for the same call')
    mock.timers.tick(1)
    await t.rejects(first, { name: 'CredentialsTimeout' })
    await t.rejects(second, { name: 'CredentialsTimeout' })
    const third = settings.credentials.get()
    t.equal(answers.length, 2)
    answers[1]?.(keys)
    t.same(await third, keys)
  })

  t.test('the bucket is validated when it is used', async t => {
    const of = (bucket?: string) =>
      connect({ ...keys, region: 'oss-cn-beijing', ...(bucket && { bucket }) })
    t.equal(of('bucket').place().bucket, 'bucket')
    t.equal(of('bucket').place('other').bucket, 'other')
    for (const bucket of [undefined, 'ab', 'Bucket', 'a/b', '-ab', 'a'.repeat(64)]) {
      t.throws(() => of(bucket).place(), { code: 'ERR_INVALID_ARG_VALUE' }, String(bucket))
    }
    const place = of('bucket').place()
    const connection = of()
    t.equal(connection.open(place), connection.open({ ...place }), 'one adapter per place')
    t.not(connection.open(place), connection.open({ ...place, bucket: 'other' }))
  })

  t.test('an endpoint alias replaces the address', async t => {
    const alias = { name: 'local:/data', endpoint: 'http://127.0.0.1:5' }
    const connection = connect({ ...keys, region: 'oss-local', endpoint: alias.endpoint }, alias)
    t.equal(connection.endpoint, 'local:/data')
    t.equal(connection.place('bucket').endpoint, 'local:/data')
  })

  t.test('errors contain no secrets', async t => {
    const secret = 'hunter2'
    for (const options of [
      { accessKeySecret: secret, region: 'not a region' },
      { accessKeySecret: secret, region: 'oss-cn-beijing', accessKeyId: '' },
      { endpoint: `https://user:${secret}@oss-cn-beijing.aliyuncs.com` },
      { endpoint: `https://:${secret}@oss-cn-beijing.aliyuncs.com` },
      { endpoint: `https://${secret}@oss-cn-beijing.aliyuncs.com` },
      { region: 'oss-cn-beijing', stsToken: secret, bucket: 'BAD' },
    ]) {
      const place = (): unknown => connect({ ...keys, bucket: 'bucket', ...options }).place()
      t.throws(place, { code: 'ERR_INVALID_ARG_VALUE' })
      t.notMatch(inspect(thrownBy(place), { depth: 9 }), secret)
    }
  })
})

t.test('classification of failures', async t => {
  const kinds: Record<
    RequestErrorKind,
    [status: number | undefined, code?: string | undefined, name?: string][]
  > = {
    aborted: [[undefined, undefined, 'AbortError']],
    'no-upload': [[404, 'NoSuchUpload']],
    exists: [[409, 'FileAlreadyExists']],
    'stale-part': [
      [400, 'InvalidPart'],
      [400, 'InvalidPartOrder'],
    ],
    denied: [
      [403, 'AccessDenied'],
      [403, 'SignatureDoesNotMatch'],
      [403, 'UserDisable'],
      [409, 'FileImmutable'],
      [403],
      [undefined, undefined, 'DEPTH_ZERO_SELF_SIGNED_CERT'],
      [undefined, undefined, 'CredentialsUnavailable'],
      [404, 'NoSuchBucket'],
    ],
    expired: [
      [403, 'SecurityTokenExpired'],
      [403, 'InvalidSecurityToken'],
      [403, 'InvalidAccessKeyId'],
      [403, 'AccessKeyIdAndSecurityTokenNotMatch'],
      [401],
    ],
    skewed: [[403, 'RequestTimeTooSkewed']],
    recovered: [],
    throttled: [
      [429],
      [503],
      [503, 'ServiceUnavailable'],
      [503, 'UploadTrafficRateLimitExceeded'],
      [503, 'TotalQpsLimitExceeded'],
      [503, 'MetaOperationQpsLimitExceeded'],
      [503, 'ActiveRequestLimitExceeded'],
      [503, 'CpuLimitExceeded'],
      [503, 'toString'],
    ],
    refused: [
      [400, 'InvalidArgument'],
      [400, 'EntityTooSmall'],
      [404, 'NoSuchKey'],
      [405],
      [409],
      [301],
      [400, 'constructor'],
      [400, '__proto__'],
    ],
    transient: [
      [undefined, undefined, 'ECONNRESET'],
      [undefined, undefined, 'ConnectTimeout'],
      [200],
      [203],
      [404, undefined, 'UnusableReply'],
      [408],
      [500, 'InternalError'],
      [502],
      [504],
      [400, 'InvalidDigest'],
      [400, 'RequestTimeout'],
    ],
  }
  for (const [kind, cases] of Object.entries(kinds)) {
    for (const [status, ossCode, name] of cases) {
      t.equal(
        errorKind(failure({ status, ossCode, name: name ?? ossCode ?? 'x' })),
        kind,
        `${status} ${ossCode ?? name}`,
      )
    }
  }

  t.test('every documented OSS code has its kind', t => {
    const codes: Partial<Record<RequestErrorKind, [status: number, ...codes: string[]][]>> = {
      refused: [
        [400, 'InvalidObjectName', 'InvalidArgument', 'EntityTooSmall', 'EntityTooLarge'],
        [400, 'MalformedXML', 'NotImplemented'],
        [404, 'NoSuchKey'],
        [405, 'MethodNotAllowed'],
        [409, 'BucketAlreadyExists', 'BucketNotEmpty', 'PartAlreadyExist'],
        [411, 'MissingContentLength'],
        [412, 'PreconditionFailed'],
        [416, 'InvalidRange'],
      ],
      transient: [
        [400, 'InvalidDigest', 'RequestTimeout', 'IncompleteBody', 'InvalidCRC64', 'BadRequest'],
        [500, 'InternalError'],
      ],
      'stale-part': [[400, 'InvalidPart', 'InvalidPartOrder']],
      denied: [
        [400, 'InvalidBucketName'],
        [403, 'AccessDenied', 'SignatureDoesNotMatch', 'UserDisable', 'SecondLevelDomainForbidden'],
        [404, 'NoSuchBucket'],
        [409, 'FileImmutable'],
      ],
      expired: [
        [403, 'InvalidAccessKeyId', 'SecurityTokenExpired', 'InvalidSecurityToken'],
        [403, 'AccessKeyIdAndSecurityTokenNotMatch'],
      ],
      skewed: [[403, 'RequestTimeTooSkewed']],
      'no-upload': [[404, 'NoSuchUpload']],
      exists: [[409, 'FileAlreadyExists', 'ObjectAlreadyExists']],
      throttled: [
        [503, 'ServiceUnavailable', 'UploadTrafficRateLimitExceeded'],
        [503, 'DownloadTrafficRateLimitExceeded', 'TotalQpsLimitExceeded', 'CpuLimitExceeded'],
        [503, 'MetaOperationQpsLimitExceeded', 'ActiveRequestLimitExceeded'],
      ],
    }
    for (const [kind, rows] of Object.entries(codes)) {
      for (const [status, ...names] of rows) {
        for (const ossCode of names)
          t.equal(errorKind(failure({ status, ossCode, name: ossCode })), kind, ossCode)
      }
    }
    t.end()
  })

  t.test('every error shape of ali-oss and urllib becomes an OssRequestError', async t => {
    const shapes: [thrown: unknown, kind: RequestErrorKind][] = [
      [{ status: 0, name: 'abort' }, 'transient'], // a plain object, without a message
      [named('ResponseTimeoutError', { status: -1 }), 'transient'],
      [named('ConnectionTimeoutError', { status: -2 }), 'transient'],
      [named('SocketAssignTimeoutError', { status: -2 }), 'transient'],
      [named('ResponseError', { status: -1, code: 'ECONNRESET' }), 'transient'],
      [named('Error', {}), 'transient'],
    ]
    for (const [thrown, kind] of shapes) {
      const transport = new Transport()
      // Same as the default urllib of `ali-oss`, which reports errors only to `ali-oss`.
      const request = (): Promise<never> => Promise.reject(thrown)
      Object.assign(transport, { request })
      const { settings, place } = readClient({ ...keys, region: 'oss-x' })
      const bucket = new AliOssBucket({ ...place, bucket: 'bucket' }, settings, transport.request)
      const reason: unknown = await bucket.head('key', {}).catch((error: unknown) => error)
      t.type(reason, OssRequestError, JSON.stringify(thrown))
      if (reason instanceof OssRequestError) t.equal(errorKind(reason), kind, reason.describe())
    }
  })

  t.test('failures with an incomplete reply are retried unless aborted', t => {
    for (const status of [301, 400, 401, 403, 404, 409, 412, 500, 502]) {
      t.equal(
        errorKind(failure({ status, name: 'ECONNRESET', truncated: true })),
        'transient',
        `${status}`,
      )
    }
    for (const status of [429, 503]) {
      t.equal(errorKind(failure({ status, name: 'IdleTimeout', truncated: true })), 'throttled')
    }
    for (const status of [undefined, 200, 403, 404, 500, 503]) {
      t.equal(
        errorKind(failure({ status, name: 'AbortError', truncated: true })),
        'aborted',
        `${status}`,
      )
    }
    t.end()
  })

  t.test('a failure is ambiguous if the request may have taken effect', async t => {
    for (const status of [undefined, 200, 203, 301, 408, 500, 503]) {
      t.ok(isAmbiguous(failure({ status, name: 'ECONNRESET' })), String(status))
    }
    for (const status of [400, 403, 404, 409, 412, 429]) {
      t.notOk(isAmbiguous(failure({ status })), String(status))
    }
    for (const name of ['ECONNREFUSED', 'ENOTFOUND', 'ConnectTimeout', 'CredentialsTimeout']) {
      t.notOk(isAmbiguous(failure({ name })), `${name}: the request was never sent`)
    }
  })

  t.test('our own earlier attempt may be behind a taken or retained object', async t => {
    for (const ossCode of ['FileAlreadyExists', 'ObjectAlreadyExists', 'FileImmutable']) {
      t.ok(mayBeOurOwn(failure({ status: 409, ossCode })), ossCode)
    }
    t.notOk(mayBeOurOwn(failure({ status: 403, ossCode: 'AccessDenied' })))
  })

  t.test('describe() returns one line', async t => {
    const full = failure({ status: 503, ossCode: 'SlowDown', requestId: 'R', message: 'slow' })
    t.equal(full.describe(), 'UploadPart: 503 SlowDown (request R): slow')
    t.equal(failure({ name: 'EPIPE', message: 'm' }).describe(), 'UploadPart: EPIPE: m')
    t.notOk('requestId' in failure({}), 'unknown properties are absent')
  })
})

t.test('request failures contain no secrets', async t => {
  const secrets = { accessKeyId: 'LTAIsecretid', accessKeySecret: 'hunter2', stsToken: 'tok/en' }
  const bucket = (endpoint: string) => {
    const connection = connect({ ...secrets, endpoint, region: 'oss-x', bucket: 'bucket' })
    t.teardown(() => connection.close())
    return connection.open(connection.place())
  }
  const failures: unknown[] = []
  // An unreachable endpoint, and headers that make `ali-oss` itself throw.
  for (const endpoint of ['http://127.0.0.1:1', 'http://localhost:1']) {
    const at = bucket(endpoint)
    failures.push(await at.head('key', {}).catch((error: unknown) => error))
    failures.push(
      await at.put('key', async () => Buffer.from('x'), {}, {}).catch((error: unknown) => error),
    )
    failures.push(await at.initiate('key', { a: 'b\nc' }, {}).catch((error: unknown) => error))
  }
  for (const reason of failures) {
    t.type(reason, OssRequestError)
    const output = inspect(reason, { depth: 20, showHidden: true }) + JSON.stringify(reason)
    for (const secret of Object.values(secrets)) t.notMatch(output, secret)
    t.notMatch(output, /Signature|Credential=/)
  }
})

function failure(details: Partial<OssRequestErrorDetails>): OssRequestError {
  return new OssRequestError({ name: 'x', message: 'm', operation: 'UploadPart', ...details })
}

function named(name: string, more: object): Error {
  return Object.assign(new Error('m'), { name, ...more })
}

function thrownBy(step: () => unknown): unknown {
  try {
    return step()
  } catch (error) {
    return error
  }
}
