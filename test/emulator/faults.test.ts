/** Tests of each fault: its effect on the real client, and the resulting state. */
import { randomBytes } from 'node:crypto'
import { get as getHttp, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startEmulator, type Emulator, type Fault } from '../../src/emulator/index.js'
import {
  createFaultTable,
  matchesRequest,
  createSeededRandom,
} from '../../src/emulator/faults/fault-table.js'
import { aliOss, ask, rejects, signed, tag, type Client } from './clients.js'
import { SLOWEST } from '../support/slowest.js'

const PART = randomBytes(102_400)

/** Reads an object and resolves with the response, whose body is discarded. */
const raw = ({ port, credentials }: Emulator, path: string): Promise<IncomingMessage> =>
  new Promise((resolve, reject) =>
    getHttp(
      { port, path, headers: signed({ credentials }, { resource: path }), agent: false },
      response => resolve(response.resume()),
    ).on('error', reject),
  )

t.test('each fault has its documented effect on ali-oss', async t => {
  const oss = await startEmulator({ buckets: ['bkt'], admin: true })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt', { timeout: 5000 })
  t.afterEach(() => {
    oss.clearFaults()
    oss.requests.length = 0
    oss.link = {}
  })

  t.test('answer: replies with the given status and code', async t => {
    const answers: [status: number, code: string][] = [
      [429, 'TooManyRequests'],
      [500, 'InternalError'],
      [503, 'ServiceUnavailable'],
      [503, 'UploadTrafficRateLimitExceeded'],
      [503, 'DownloadTrafficRateLimitExceeded'],
      [503, 'TotalQpsLimitExceeded'],
      [503, 'MetaOperationQpsLimitExceeded'],
      [503, 'ActiveRequestLimitExceeded'],
      [503, 'CpuLimitExceeded'],
      [403, 'AccessDenied'],
      [403, 'SignatureDoesNotMatch'],
      [403, 'InvalidAccessKeyId'],
      [403, 'RequestTimeTooSkewed'],
      [403, 'SecurityTokenExpired'],
      [403, 'InvalidSecurityToken'],
      [403, 'UserDisable'],
      [400, 'RequestTimeout'],
      [404, 'NoSuchUpload'],
      [409, 'FileAlreadyExists'],
    ]
    for (const [status, code] of answers) {
      oss.inject({ operation: 'PutObject', do: 'answer', status, code })
      await rejects(t, client.put('k', PART), { status, code, name: `${code}Error` })
    }
    t.equal(oss.requests.length, answers.length)
    t.match(oss.requests[0], {
      operation: 'PutObject',
      bucket: 'bkt',
      key: 'k',
      bytes: PART.length,
      status: 429,
      code: 'TooManyRequests',
      fault: 'answer@start',
    })
    t.equal((await client.put('k', PART)).res.status, 200, 'each fault applies once')
    oss.inject({ operation: 'HeadObject', do: 'answer', status: 403, code: 'AccessDenied' })
    await rejects(t, client.head('k'), { status: 403, code: 'AccessDenied' })
    oss.inject({
      operation: 'GetBucketInfo',
      do: 'answer',
      status: 503,
      code: 'ServiceUnavailable',
      message: 'Thread pool is almost full, please retry later.',
      ec: '0001-1',
    })
    await rejects(t, client.getBucketInfo('bkt'), { ecCode: '0001-1', message: /Thread pool/ })
  })

  t.test('answer: replies with HTML, and at done after the effect', async t => {
    oss.inject({ do: 'answer', status: 502, body: '<html><body>Bad Gateway<br></body></html>' })
    await rejects(t, client.put('k', PART), { status: 502 })
    const { uploadId } = await client.initMultipartUpload('late')
    const { etag } = await client.uploadPart('late', uploadId, 1, PART, 0, PART.length)
    oss.inject({
      operation: 'CompleteMultipartUpload',
      do: 'answer',
      at: 'done',
      status: 500,
      code: 'InternalError',
    })
    await rejects(t, client.completeMultipartUpload('late', uploadId, [{ number: 1, etag }]), {
      status: 500,
    })
    t.equal((await client.head('late')).status, 200, 'the request took effect')
  })

  t.test(
    'reset: closes the connection before, during and after the body, without an effect',
    async t => {
      for (const at of ['start', 'body', 'received'] as const) {
        const fault = oss.inject({ operation: 'PutObject', do: 'reset', at })
        await rejects(t, client.put(`reset ${at}`, randomBytes(3_000_000)), { status: -1 }, at)
        t.equal(fault.hits, 1)
        await rejects(t, client.head(`reset ${at}`), { status: 404 }, 'the request had no effect')
      }
      const [start, , body, , received] = oss.requests
      t.equal(start?.bytes, 0)
      t.ok(body && body.bytes >= 1_500_000 && body.bytes < 3_000_000)
      t.match(received, { bytes: 3_000_000, fault: 'reset@received' })
      t.equal(received?.status, undefined)
    },
  )

  t.test(
    'a request without a body hits the fault points body and received once, before its effect',
    async t => {
      const { uploadId } = await client.initMultipartUpload('none')
      const requests = {
        InitiateMultipartUpload: () => client.initMultipartUpload('more'), // Content-Length: 0
        PutObject: () => client.put('empty', Buffer.alloc(0)),
        HeadObject: () => client.head('none'),
        AbortMultipartUpload: () => client.abortMultipartUpload('none', uploadId),
      }
      for (const [operation, send] of Object.entries(requests)) {
        for (const at of ['body', 'received'] as const) {
          // The names are the keys of the table above.
          const match = { operation: operation as keyof typeof requests, at }
          const reset = oss.inject({ ...match, do: 'reset' })
          await rejects(t, send(), { status: -1 }, operation)
          t.equal(reset.hits, 1, `${operation} ${at}`)
        }
      }
      await client.listParts('none', uploadId)
      t.equal(
        (await client.listUploads({ 'max-uploads': 9 })).uploads.length,
        1,
        'no request took effect',
      )
      const twice = oss.inject({ operation: 'PutObject', do: 'delay', ms: 1, at: 'received' })
      await client.put('empty', Buffer.alloc(0))
      t.equal(twice.hits, 1)
      await client.abortMultipartUpload('none', uploadId)
    },
  )

  t.test('reset at done: the reply is lost after the effect', async t => {
    const { uploadId } = await client.initMultipartUpload('lost')
    const part = () => client.uploadPart('lost', uploadId, 1, PART, 0, PART.length)
    oss.inject({ operation: 'UploadPart', do: 'reset', at: 'done' })
    await rejects(t, part(), { status: -1 })
    t.equal((await client.listParts('lost', uploadId)).parts.PartNumber, '1', 'the part is stored')
    const { etag } = await part()
    oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' })
    const complete = () => client.completeMultipartUpload('lost', uploadId, [{ number: 1, etag }])
    await rejects(t, complete(), { status: -1 })
    await rejects(
      t,
      complete(),
      { code: 'NoSuchUpload' },
      'the upload id is gone after the first Complete',
    )
    t.equal((await client.head('lost')).status, 200)
    oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done' })
    await rejects(t, client.initMultipartUpload('orphan'))
    t.equal((await client.listUploads({ 'max-uploads': 9 })).uploads[0].name, 'orphan')
  })

  t.test('reset at reply: closes the connection during the reply', async t => {
    await client.put('big', randomBytes(1_000_000))
    oss.inject({ operation: 'GetObject', do: 'reset', at: 'reply', after: 1000 })
    await rejects(t, client.get('big'), { status: -1 })
    t.equal(oss.requests.at(-1)?.sent, 1000)
  })

  t.test('a fault within a body fires after the bytes that it names', async t => {
    const reset = { operation: 'PutObject', do: 'reset', at: 'body' } as const
    const chunk = randomBytes(16_384)
    const chunks = (count: number) => Readable.from(Array.from({ length: count }, () => chunk))
    oss.inject({ ...reset, after: 1000 })
    await t.rejects(client.putStream('k', chunks(200)))
    t.ok((oss.requests.at(-1)?.bytes ?? 0) < 200 * chunk.length, 'of a body of unknown length')

    oss.inject({ ...reset, after: 0 })
    await t.rejects(client.put('k', PART))
    t.equal(oss.requests.at(-1)?.bytes, 0)

    await client.put('big', randomBytes(1_000_000))
    const late = oss.inject({ operation: 'GetObject', do: 'reset', at: 'reply', after: 700_000 })
    const early = oss.inject({ operation: 'GetObject', do: 'hang', at: 'reply', after: 300_000 })
    const get = client.get('big')
    get.catch(() => {})
    await early.hit()
    t.equal(oss.requests.at(-1)?.sent, 300_000, 'each of several has its own')
    t.equal(late.hits, 0)
    early.release()
    await t.rejects(get)
    t.equal(oss.requests.at(-1)?.sent, 700_000)

    await client.put('empty', Buffer.alloc(0))
    const delay = oss.inject({ operation: 'GetObject', do: 'delay', ms: 1, at: 'reply' })
    await client.get('empty')
    t.equal(delay.hits, 1, 'also if there is no byte')
  })

  t.test('hang: stalls the request at each fault point until it is released', async t => {
    const impatient = aliOss(oss, 'bkt', { timeout: 150 })
    for (const at of ['start', 'body', 'received', 'done', 'reply'] as const) {
      const fault = oss.inject({ operation: 'PutObject', do: 'hang', at })
      const put = impatient.put(`hang ${at}`, randomBytes(200_000))
      await Promise.all([fault.hit(), rejects(t, put, { name: /Timeout|RequestError|Error/ }, at)])
      const there = await client.head(`hang ${at}`).then(
        () => true,
        () => false,
      )
      t.equal(
        there,
        at === 'done' || at === 'reply',
        `a request that hangs at ${at} took effect: ${at === 'done' || at === 'reply'}`,
      )
    }
    const fault = oss.inject({ operation: 'PutObject', do: 'hang', at: 'received' })
    const put = client.put('released', PART)
    await fault.hit()
    fault.release()
    t.equal((await put).res.status, 200, 'the request continues when the fault is released')
  })

  t.test('delay and slow: pause a request and limit its bandwidth', async t => {
    oss.inject({ operation: 'PutObject', do: 'delay', ms: 200 })
    const start = performance.now()
    await client.put('k', PART)
    t.ok(performance.now() - start >= 190)
    oss.inject({ operation: 'GetObject', do: 'slow', bandwidth: 500_000 })
    const get = performance.now()
    t.ok(PART.equals((await client.get('k')).content))
    t.ok(performance.now() - get >= 150, '100 KiB take at least 150 ms at 500 kB/s')
  })

  t.test('truncate: ends the XML of a 200 reply early', async t => {
    const { uploadId } = await client.initMultipartUpload('cut')
    const { etag } = await client.uploadPart('cut', uploadId, 1, PART, 0, PART.length)
    oss.inject({ operation: 'CompleteMultipartUpload', do: 'truncate' })
    await rejects(
      t,
      client.completeMultipartUpload('cut', uploadId, [{ number: 1, etag }]),
      /Unclosed root tag|Unexpected/,
    )
    t.equal((await client.head('cut')).status, 200)
  })

  t.test('alter: changes headers and body of a reply', async t => {
    const crc = 'x-oss-hash-crc64ecma'
    oss.inject({ operation: 'PutObject', do: 'alter', headers: { [crc]: '42' } })
    t.equal((await client.put('k', PART)).res.headers[crc], '42')
    oss.inject({ operation: 'PutObject', do: 'alter', headers: { 'X-OSS-Hash-CRC64ecma': null } })
    t.notOk(crc in (await client.put('k', PART)).res.headers, 'the header is missing')
    const { uploadId } = await client.initMultipartUpload('lie')
    const part = () => client.uploadPart('lie', uploadId, 1, PART, 0, PART.length)
    oss.inject({ operation: 'UploadPart', do: 'alter', headers: { etag: null } })
    await rejects(t, part(), /etag of expose-headers/)
    oss.inject({ operation: 'UploadPart', do: 'alter', headers: { etag: '"0"' } })
    t.equal((await part()).etag, '"0"')
    oss.inject({ operation: 'ListParts', do: 'alter', replace: [['<Size>102400<', '<Size>7<']] })
    t.equal((await client.listParts('lie', uploadId)).parts.Size, '7')
  })

  t.test('expire: expires the token of a presigned URL', async t => {
    await client.put('k', PART)
    const address = { sldEnable: true, endpoint: `http://localhost:${oss.port}` }
    const sign = (version: 1 | 4): Promise<string> => {
      const token = oss.sts.issue()
      const refresh = {
        refreshSTSToken: () => Promise.resolve(token),
        refreshSTSTokenInterval: 1e9,
      }
      const signer = aliOss(oss, 'bkt', { ...token, ...refresh, ...address })
      return version === 4 ? signer.signatureUrlV4('GET', 60, {}, 'k') : signer.signatureUrl('k')
    }
    for (const version of [1, 4] as const) {
      const url = await sign(version)
      t.equal((await fetch(url)).status, 200)
      oss.inject({ operation: 'GetObject', do: 'expire' })
      for (const answer of [await fetch(url), await fetch(url)])
        t.equal(tag(await answer.text(), 'Code'), 'SecurityTokenExpired')
    }
  })

  t.test('alter: replaces the headers of all replies, in any case', async t => {
    await client.put('k', PART)
    const headers = {
      date: 'Thu, 01 Jan 1970 00:00:00 GMT',
      server: 'nginx',
      'content-length': '7',
    }
    oss.inject({ operation: 'GetObject', do: 'alter', headers })
    const { rawHeaders } = await raw(oss, '/bkt/k')
    const names = rawHeaders.filter((_, i) => i % 2 === 0).map(name => name.toLowerCase())
    for (const [name, value] of Object.entries(headers)) {
      t.equal(names.filter(each => each === name).length, 1, `${name} is sent once`)
      t.equal(rawHeaders[names.indexOf(name) * 2 + 1], value)
    }
  })

  t.test('drop-part: loses a stored part', async t => {
    const { uploadId } = await client.initMultipartUpload('drop')
    const part = (n: number) => client.uploadPart('drop', uploadId, n, PART, 0, PART.length)
    const parts = [1, 2].map(async number => ({ number, etag: (await part(number)).etag }))
    const done = await Promise.all(parts)
    oss.inject({ operation: 'CompleteMultipartUpload', do: 'drop-part', parts: 2 })
    await rejects(t, client.completeMultipartUpload('drop', uploadId, done), {
      code: 'InvalidPart',
    })
    oss.inject({ operation: 'UploadPart', partNumber: 2, do: 'drop-part', at: 'done' })
    await part(2)
    t.equal(
      (await client.listParts('drop', uploadId)).parts.PartNumber,
      '1',
      'the part is lost although its upload succeeded',
    )
    await part(2)
    t.equal(
      (await client.completeMultipartUpload('drop', uploadId, done)).res.status,
      200,
      'the upload id is still valid',
    )
  })

  t.test('drop-upload: makes the upload id unknown', async t => {
    const { uploadId } = await client.initMultipartUpload('forget')
    oss.inject({ operation: 'UploadPart', nth: 2, do: 'drop-upload' })
    await client.uploadPart('forget', uploadId, 1, PART, 0, PART.length)
    await rejects(t, client.uploadPart('forget', uploadId, 2, PART, 0, PART.length), {
      status: 404,
      code: 'NoSuchUpload',
      ecCode: '0042-00000104',
    })
    await rejects(
      t,
      client.listParts('forget', uploadId),
      { code: 'NoSuchUpload' },
      'the upload id stays unknown',
    )
  })

  t.test('expire and skew: invalidate the token and shift the clock', async t => {
    const token = oss.sts.issue()
    const refresh = { refreshSTSToken: () => Promise.resolve(token), refreshSTSTokenInterval: 1e9 }
    const sts = aliOss(oss, 'bkt', { ...token, ...refresh })
    oss.inject({ operation: 'PutObject', nth: 2, do: 'expire' })
    await sts.put('k', PART)
    await rejects(t, sts.put('k', PART), { status: 403, code: 'SecurityTokenExpired' })
    await rejects(t, sts.get('k'), { code: 'SecurityTokenExpired' }, 'the token stays expired')
    const skew = oss.inject({ do: 'skew', ms: 20 * 60_000, times: 'always' })
    await rejects(t, client.put('k', PART), { status: 403, code: 'RequestTimeTooSkewed' })
    const amended = aliOss(oss, 'bkt', { amendTimeSkewed: 20 * 60_000 })
    const { res } = await amended.put('k', PART)
    t.ok(
      Date.parse(res.headers.date) > Date.now() + 19 * 60_000,
      'the Date header has the shifted time',
    )
    skew.remove()
    t.equal((await client.put('k', PART)).res.status, 200)
  })

  t.test('the admin port manages faults, requests, the link and tokens', async t => {
    const admin = async (method: string, path: string, body?: unknown) => {
      const response = await fetch(`${oss.adminEndpoint}${path}`, {
        method,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return { status: response.status, body: (await response.json()) as Client }
    }
    const fault: Fault = { operation: 'PutObject', do: 'hang', at: 'received', times: 'always' }
    const { id } = (await admin('POST', '/faults', fault)).body
    const waiting = admin('GET', `/faults/${id}?hits=1`)
    const put = client.put('admin', PART)
    t.same((await waiting).body, { id, fault, hits: 1 })
    t.same((await admin('GET', '/faults')).body, [{ id, fault, hits: 1 }])
    await admin('POST', `/faults/${id}/release`)
    t.equal((await put).res.status, 200)
    t.same((await admin('DELETE', `/faults/${id}`)).body, {})
    t.equal((await admin('GET', `/faults/${id}`)).status, 404)
    const { body: again } = await admin('POST', '/faults', { do: 'reset', key: 'none' })
    t.match((await admin('GET', '/requests')).body, [{ operation: 'PutObject', key: 'admin' }])
    await admin('DELETE', '/requests')
    t.equal(oss.requests.length, 0)
    t.same((await admin('PUT', '/link', { latency: 5 })).body, { latency: 5 })
    t.same(oss.link, { latency: 5 })
    t.same((await admin('PUT', '/link', { speed: 5 })).status, 400)
    t.match((await admin('POST', '/faults', { do: 'hang', opration: 'X' })).body, {
      error: /opration/,
    })
    t.match((await admin('POST', '/faults', { do: 'nothing' })).status, 400)
    t.equal((await admin('GET', `/faults/${again.id}?hits=one`)).status, 400)
    await admin('DELETE', '/faults')
    const { body: token } = await admin('POST', '/sts', { seconds: 60 })
    await admin('POST', '/sts/expire', { token: token.stsToken })
    const refresh = { refreshSTSToken: () => Promise.resolve(token), refreshSTSTokenInterval: 1e9 }
    await rejects(t, aliOss(oss, 'bkt', { ...token, ...refresh }).get('k'), {
      code: 'SecurityTokenExpired',
    })
    for (const [path, body] of [
      ['/advance', { days: 7 }],
      ['/sts', { second: 1 }],
      ['/sts/expire', {}],
      ['/sts/revoke', { stsToken: 'x' }],
    ] as const)
      t.equal((await admin('POST', path, body)).status, 400, path)
    const page = await fetch(`${oss.adminEndpoint}/requests`, {
      headers: { Origin: 'http://evil' },
    })
    t.equal(page.status, 403)
  })

  t.test('link: adds latency and limits bandwidth', async t => {
    const time = async (work: () => Promise<unknown>) => {
      const start = performance.now()
      await work()
      return performance.now() - start
    }
    await client.put('k', PART)
    oss.link = { latency: 100, jitter: 20 }
    t.ok((await time(() => client.head('k'))) >= 95)
    oss.link = { bandwidth: 500_000 }
    const one = await time(() => client.put('k', PART))
    t.ok(one >= 190 && one < SLOWEST, `100 KiB at 500 kB/s took ${one} ms`)
    const two = await time(() => Promise.all([client.get('k'), client.get('k')]))
    oss.link = { totalBandwidth: 500_000 }
    const shared = await time(() => Promise.all([client.get('k'), client.get('k')]))
    t.ok(shared >= 390, 'totalBandwidth is shared by all connections')
    t.ok(two < shared, 'bandwidth applies to each connection')
    oss.link = {}
    t.ok((await time(() => client.put('k', PART))) < SLOWEST)
    t.throws(() => (oss.link = { bandwidth: 0 }), RangeError)
    const slow = client.put('slow', randomBytes(400_000))
    oss.link = { bandwidth: 100_000 }
    await sleep(50)
    oss.link = {}
    await slow
  })

  t.test('link: a change ends the waits of bodies in progress', async t => {
    oss.link = { bandwidth: 1 }
    const put = client.put('slow', PART)
    while (!oss.requests.at(-1)?.bytes) await sleep(5)
    oss.link = { bandwidth: 100_000_000 }
    t.equal((await put).status ?? 200, 200)

    oss.link = { latency: 2 ** 31 - 1 }
    const head = client.head('slow')
    while (oss.requests.length < 2) await sleep(5)
    oss.link = {}
    t.equal((await head).status, 200)
  })

  t.test('invalid faults and links are refused', t => {
    const faults: unknown[] = [
      { do: 'reset', operation: 'UploadParts' },
      { do: 'reset', operation: ['UploadPart', 'put'] },
      { do: 'alter', headers: { 'bad name': 'x' } },
      { do: 'alter', headers: { name: 'two\nlines' } },
      { do: 'answer', status: 500, headers: { name: '→' } },
      { do: 'answer', status: 500, ec: 'two\nlines' },
      { do: 'delay', ms: 2 ** 31 },
      { do: 'reset', after: 1000 },
      { do: 'hang', at: 'done', after: 1000 },
      { do: 'skew', ms: 1e300 },
    ]
    for (const fault of faults)
      t.throws(() => oss.inject(fault as Fault), TypeError, JSON.stringify(fault)) // as from JavaScript
    for (const latency of [2 ** 31, Number.POSITIVE_INFINITY, Number.NaN])
      t.throws(() => (oss.link = { latency }), RangeError)
    t.end()
  })
})

t.test('a fault applies to the requests that match all its fields', t => {
  const put = { operation: 'PutObject', bucket: 'b', key: 'k', partNumber: undefined } as const
  const part = { operation: 'UploadPart', bucket: 'b', key: 'k', partNumber: 3 } as const
  const reset = { do: 'reset' } as const
  t.ok(matchesRequest({ ...reset }, put))
  t.ok(matchesRequest({ ...reset, operation: ['PutObject', 'UploadPart'], key: 'k' }, part))
  t.ok(matchesRequest({ ...reset, partNumber: [2, 3] }, part))
  t.notOk(matchesRequest({ ...reset, partNumber: 3 }, put))
  t.notOk(matchesRequest({ ...reset, bucket: 'c' }, put))

  const hits = (fault: Fault, count: number) => {
    const table = createFaultTable()
    table.inject(fault)
    return Array.from({ length: count }, () => table.match(put).length).join('')
  }
  t.equal(hits({ ...reset }, 4), '1000')
  t.equal(hits({ ...reset, nth: 2, times: 2 }, 5), '01100')
  t.equal(hits({ ...reset, nth: 3, times: 'always' }, 5), '00111')
  const chance = hits({ ...reset, probability: 0.5, seed: 7 }, 40)
  t.equal(
    chance,
    hits({ ...reset, probability: 0.5, seed: 7 }, 40),
    'the same seed makes the same choices',
  )
  t.not(chance, hits({ ...reset, probability: 0.5, seed: 8 }, 40))
  t.match(chance, /1.*0.*1/)
  const random = createSeededRandom(1)
  const mean = Array.from({ length: 1000 }, random).reduce((a, b) => a + b) / 1000
  t.ok(Math.abs(mean - 0.5) < 0.05)
  t.end()
})

t.test('close() aborts hanging requests', async t => {
  const oss = await startEmulator({
    buckets: ['bkt'],
    faults: [{ do: 'hang', times: 'always', at: 'received' }],
    link: { latency: 10 },
  })
  const put = ask(oss, 'PUT', '/bkt/k', { body: 'x' })
  put.catch(() => undefined)
  await sleep(80)
  const start = performance.now()
  await oss.close()
  await rejects(t, put)
  t.ok(performance.now() - start < SLOWEST)
  t.equal(tag('<a>1</a>', 'a'), '1')
})
