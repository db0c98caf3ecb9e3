/**
 * A hostile server in place of OSS. Every request fails with an error code in bounded time and memory, sealed
 * uploads stay resumable, and other hosts receive neither data nor signatures.
 */
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { connect } from '../../src/oss/connection.js'
import { errorKind, OssRequestError } from '../../src/oss/request-error.js'
import type { Bucket } from '../../src/oss/bucket.js'
import { Spool, SpoolError } from '../../src/index.js'
import { bench, BUCKET, bytes, streamOf } from '../support/oss.js'
import { sampled } from '../support/long.js'
import { randomOf } from '../support/seed.js'
import { fuzz, mutate, oneOf } from './fuzz.js'
import {
  writeForever,
  hostileServer,
  reply,
  type HostileServer,
  type Respond,
} from './hostile-server.js'

const XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
const UPLOAD_ID = '0004B9895DBBB6EC98E36C9C0C9C0C9C'
const SECRET = 'hunter2-do-not-show'
const KEYS = { accessKeyId: 'LTAI5tHostileKeyId00', accessKeySecret: SECRET }

/** Allowed growth of memory in MiB: the parsed tree of the longest reply, which V8 may keep for the next one. */
const MAX_GROWTH = 400

setFlagsFromString('--expose-gc')
/** Collects all garbage, whose amount depends on the speed of the machine. */
const collectGarbage: () => void = runInNewContext('gc')

const partXml = (number: string, etag = '"A0"', size = '102400'): string =>
  `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag><Size>${size}</Size><HashCrc64ecma>1</HashCrc64ecma></Part>`
const partsXml = (parts: string, next = '', truncated = false): string =>
  `${XML}<ListPartsResult><UploadId>${UPLOAD_ID}</UploadId><NextPartNumberMarker>${next}</NextPartNumberMarker><IsTruncated>${truncated}</IsTruncated>${parts}</ListPartsResult>`
const uploadsXml = (next: string, id = UPLOAD_ID): string =>
  `${XML}<ListMultipartUploadsResult><Bucket>b</Bucket><NextKeyMarker>key</NextKeyMarker><NextUploadIdMarker>${next}</NextUploadIdMarker><IsTruncated>true</IsTruncated><Upload><Key>key</Key><UploadId>${id}</UploadId><Initiated>2026-01-01T00:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>`
const errorXml = (code: string, message = 'No.'): string =>
  `${XML}<Error><Code>${code}</Code><Message>${message}</Message><RequestId>5C06A3B67B8B5A3DA422299D</RequestId><EC>0001</EC></Error>`

interface Reached {
  readonly server: HostileServer
  readonly bucket: Bucket
}

async function reach(t: Test): Promise<Reached> {
  const server = await hostileServer(t)
  const connection = connect({
    ...KEYS,
    endpoint: server.endpoint,
    region: 'oss-cn-hangzhou',
    bucket: BUCKET,
  })
  t.teardown(() => connection.close())
  return { server, bucket: connection.open(connection.place()) }
}

const CALL = { idleTimeout: 400 }

const CALLS: Readonly<Record<string, (bucket: Bucket) => Promise<unknown>>> = {
  initiate: bucket => bucket.initiate('key', {}, CALL),
  part: bucket =>
    bucket.uploadPart(
      'key',
      UPLOAD_ID,
      { number: 1, size: 3, body: Readable.from([Buffer.from('abc')]) },
      CALL,
    ),
  list: bucket => bucket.listParts('key', UPLOAD_ID, CALL),
  complete: bucket => bucket.complete('key', UPLOAD_ID, [{ number: 1, etag: '"A0"' }], {}, CALL),
  abort: bucket => bucket.abort('key', UPLOAD_ID, CALL),
  put: bucket => bucket.put('key', async () => Buffer.from('abc'), {}, CALL),
  head: bucket => bucket.head('key', CALL),
  uploads: bucket => bucket.listUploads('key', CALL),
}

const RIGHT: Readonly<Record<keyof typeof CALLS, string>> = {
  initiate: reply(
    200,
    `${XML}<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>key</Key><UploadId>${UPLOAD_ID}</UploadId></InitiateMultipartUploadResult>`,
  ),
  part: reply(200, '', {
    ETag: '"A0"',
    'x-oss-hash-crc64ecma': '1',
    Date: 'Tue, 24 Nov 2026 10:00:00 GMT',
  }),
  list: reply(200, partsXml(partXml('1') + partXml('2'), '2')),
  complete: reply(
    200,
    `${XML}<CompleteMultipartUploadResult><ETag>"A0-1"</ETag></CompleteMultipartUploadResult>`,
    { ETag: '"A0-1"' },
  ),
  abort: reply(204, ''),
  put: reply(200, '', { ETag: '"A0"', 'x-oss-hash-crc64ecma': '1' }),
  head: 'HTTP/1.1 200 OK\r\nx-oss-request-id: 5C06A3B67B8B5A3DA422299D\r\nContent-Length: 5\r\nETag: "A0"\r\nLast-Modified: Tue, 24 Nov 2026 10:00:00 GMT\r\n\r\n',
  uploads: reply(200, uploadsXml('').replace('true', 'false')),
}

/**
 * Resolves with the value of a call or with its error. Throws unless the error is an `OssRequestError` that has
 * a kind and contains neither control characters nor secrets.
 */
async function outcome(call: Promise<unknown>): Promise<unknown> {
  try {
    return { value: await call }
  } catch (error) {
    if (!(error instanceof OssRequestError)) throw error
    errorKind(error)
    const all = `${error.describe()} ${error.name} ${error.ossCode} ${error.requestId} ${error.ec}`
    if (/\p{Cc}/u.test(all)) {
      throw new Error(`the error contains control characters: ${JSON.stringify(all)}`, {
        cause: error,
      })
    }
    if (inspect(error).includes(SECRET))
      throw new Error('the error contains a secret', { cause: error })
    return error
  }
}

t.test('mutated replies give a value or an OssRequestError', async t => {
  const { server, bucket } = await reach(t)
  const random = randomOf(t)
  const names = Object.keys(CALLS)
  const refusals = ['NoSuchUpload', 'AccessDenied', 'RequestTimeTooSkewed', '\x1b[2J', '<a/>'].map(
    code => reply(403, errorXml(code)),
  )
  await fuzz(t, 250, async () => {
    const name = oneOf(random, names)
    const right = random() < 0.7 ? RIGHT[name]! : oneOf(random, refusals)
    const mutant = mutate(random, Buffer.from(right))
    server.respond = () => mutant
    const result = await outcome(CALLS[name]!(bucket))
    if (name === 'initiate' && !(result instanceof OssRequestError)) {
      const { value } = result as { value: unknown }
      if (typeof value !== 'string' || !/^[!-~]+$/.test(value))
        throw new Error('the upload id is invalid')
    }
    new Date(bucket.now()).toISOString()
  })
})

t.test('replies with invalid content fail as transient errors', async t => {
  const { server, bucket } = await reach(t)
  const cases: readonly [name: string, call: keyof typeof CALLS, respond: Respond][] = [
    ['a missing upload id', 'initiate', () => RIGHT['initiate']!.replace(UPLOAD_ID, '')],
    [
      'an element instead of an upload id',
      'initiate',
      () => reply(200, '<a><UploadId><b/></UploadId></a>'),
    ],
    ['an upload id of two lines', 'initiate', () => reply(200, '<a><UploadId>a\nb</UploadId></a>')],
    [
      'an endless upload id',
      'initiate',
      () => reply(200, `<a><UploadId>${'a'.repeat(1e6)}</UploadId></a>`),
    ],
    ['a missing ETag', 'part', () => reply(200, '')],
    ['an ETag of two lines', 'part', () => RIGHT['part']!.replace('"A0"', '"A0"\r\n b')],
    ['an ETag with a bare line feed', 'part', () => RIGHT['part']!.replace('"A0"', '"A\n0"')],
    ['a listed ETag of two lines', 'list', () => reply(200, partsXml(partXml('1', '"A\n0"')))],
    [
      'a listed ETag that is XML',
      'list',
      () => reply(200, partsXml(partXml('1', '&lt;/ETag&gt;'))),
    ],
    ['part 0', 'list', () => reply(200, partsXml(partXml('0')))],
    ['part 10,001', 'list', () => reply(200, partsXml(partXml('10001')))],
    ['part 1.5', 'list', () => reply(200, partsXml(partXml('1.5')))],
    ['a part with an invalid size', 'list', () => reply(200, partsXml(partXml('1', '"A"', 'x')))],
    ['a repeated page of parts', 'list', () => reply(200, partsXml(partXml('1'), '1', true))],
    [
      'endless pages of parts',
      'list',
      ({ url }) =>
        reply(200, partsXml('', `${Number(/marker=(\d+)/.exec(url)?.[1]) + 4000}`, true)),
    ],
    ['a marker after the last part', 'list', () => reply(200, partsXml('', '1e300', true))],
    ['a repeated page of uploads', 'uploads', () => reply(200, uploadsXml(UPLOAD_ID))],
    [
      'endless pages of uploads',
      'uploads',
      () => reply(200, uploadsXml(`A${server.requests.length}`)),
    ],
    [
      'an upload id of two lines in the list',
      'uploads',
      () => reply(200, uploadsXml('', 'a&#10;b')),
    ],
    [
      'declared entities',
      'list',
      () =>
        reply(200, `<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>${partsXml(partXml('&d;'))}`),
    ],
    [
      'an external entity',
      'initiate',
      () =>
        reply(
          200,
          '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a><UploadId>&b;</UploadId></a>',
        ),
    ],
  ]
  for (const [name, call, respond] of cases) {
    server.respond = respond
    const failure = await outcome(CALLS[call]!(bucket))
    if (!(failure instanceof OssRequestError)) t.fail(`${name}: ${inspect(failure)}`)
    else t.equal(errorKind(failure), 'transient', name)
  }
})

t.test('control characters and secrets are removed from texts of the server', async t => {
  const { server, bucket } = await reach(t)
  server.respond = () => reply(403, errorXml('\x1b[2JAccessDenied', `a\x1b]0;b\x07\nc ${SECRET}`))
  const failure = await outcome(CALLS['part']!(bucket))
  t.match(failure, { ossCode: undefined, message: /^a \]0;b c \*\*\*$/ })
  server.respond = () =>
    reply(403, '<Error><Code><a/></Code><Message>m</Message><RequestId><b/></RequestId></Error>')
  t.match(
    await outcome(CALLS['part']!(bucket)),
    { ossCode: undefined, status: 403 },
    'elements instead of texts are ignored',
  )
})

t.test('an implausible Date header does not change the clock', async t => {
  const { server, bucket } = await reach(t)
  const dates = [
    'Fri, 31 Dec 99999 23:59:59 GMT',
    '+275760-09-13',
    'Mon, 01 Jan 1900 00:00:00 GMT',
    '-1',
    'x',
  ]
  for (const date of dates) {
    for (const right of [RIGHT['put']!, reply(403, errorXml('RequestTimeTooSkewed'))]) {
      server.respond = () => right.replace('\r\n', `\r\nDate: ${date}\r\n`)
      await outcome(CALLS['put']!(bucket))
      t.ok(Math.abs(bucket.now() - Date.now()) < 60_000, date)
    }
  }
})

const M = 2 * 2 ** 20 - 100
const OK = 'HTTP/1.1 200 OK\r\n'
const bomb =
  (body: string): Respond =>
  () =>
    reply(200, body)
const BEHAVIOURS: Readonly<Record<string, Respond>> = {
  'an endless body': (_, socket) =>
    writeForever(
      socket,
      `${OK}Transfer-Encoding: chunked\r\n\r\n`,
      `10000\r\n${'a'.repeat(65_536)}\r\n`,
    ),
  'endless headers': (_, socket) => writeForever(socket, OK, `X-A: ${'a'.repeat(8000)}\r\n`),
  'an endless header': (_, socket) => writeForever(socket, `${OK}X-A: `, 'a'.repeat(65_536)),
  'an endless status line': (_, socket) =>
    writeForever(socket, 'HTTP/1.1 200 ', 'a'.repeat(65_536)),
  'endless interim replies': (_, socket) =>
    writeForever(socket, '', 'HTTP/1.1 100 Continue\r\n\r\n'),
  'an endless trailer': (_, socket) =>
    writeForever(
      socket,
      `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\n`,
      `X-A: ${'a'.repeat(8000)}\r\n`,
    ),
  'a trickled body': (_, socket) =>
    writeForever(socket, `${OK}Content-Length: 1000000\r\n\r\n`, ' ', 40),
  'a trickled header': (_, socket) => writeForever(socket, `${OK}X-A: `, 'a', 40),
  'no reply': () => undefined,
  'a banner of another protocol': () => 'SSH-2.0-OpenSSH_9.6\r\n',
  'binary garbage': () => Buffer.alloc(100_000, 0xff),
  'a protocol switch': () =>
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'a Content-Length that is too large': () => `${OK}Content-Length: 5000\r\n\r\nshort`,
  'a Content-Length that is too small': () => `${OK}Content-Length: 2\r\n\r\nlonger than that`,
  'an absurd Content-Length': () => `${OK}Content-Length: 99999999999999999999\r\n\r\n`,
  'a negative Content-Length': () => `${OK}Content-Length: -1\r\n\r\n`,
  'two Content-Length headers': () => `${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  'Content-Length and chunked encoding': () =>
    `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an HTML page': () => reply(200, '<!doctype html><html><body>Please log in</body></html>'),
  'an empty success': () => reply(200, ''),
  'an XML bomb of nested elements': bomb('<a>'.repeat(M / 7) + '</a>'.repeat(M / 7)),
  'an XML bomb of many elements': bomb(`<r>${'<a/>'.repeat(M / 4)}</r>`),
  'an XML bomb of entities': bomb(
    `<!DOCTYPE a [<!ENTITY a0 "aaaaaaaaaa">${Array.from({ length: 20 }, (_, i) => `<!ENTITY a${i + 1} "${`&a${i};`.repeat(10)}">`).join('')}]><a>&a20;</a>`,
  ),
  'invalid gzip content': () =>
    reply(200, '\x1f\x8b\x08\0'.repeat(100), { 'Content-Encoding': 'gzip' }),
}

t.test(
  'an upload fails as resumable on any misbehaviour, and resumes once the server behaves',
  async t => {
    const before = process.memoryUsage().rss
    t.jobs = 4
    for (const [name, respond] of sampled(t, Object.entries(BEHAVIOURS), 4)) {
      t.test(name, { buffered: true }, async t => {
        const b = await bench(t)
        const server = await hostileServer(t, b.oss.port)
        const client = { ...b.oss.clientOptions(BUCKET), endpoint: server.endpoint }
        const spool = new Spool({
          client,
          dir: b.dir,
          partSize: 102_400,
          retry: { attempts: 2, minDelay: 1, maxDelay: 5 },
        })
        const data = bytes(250_000)
        server.respond = respond
        const failed = spool.upload('key', () => streamOf(data), { id: 'x', timeout: 250 })
        const error = await failed.catch((reason: unknown) => reason)
        t.match(error, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true, id: 'x' })
        t.notOk(
          inspect(error, { depth: 9, showHidden: true }).includes(
            b.oss.credentials.accessKeySecret,
          ),
        )
        t.equal(await b.get('key'), undefined, 'nothing was published')
        server.respond = undefined
        await spool.resume('x', { retry: { attempts: 20 }, timeout: 20_000 })
        t.ok((await b.get('key'))?.equals(data), 'resume publishes the whole object')
      })
    }
    await t.test(`memory grows by less than ${MAX_GROWTH} MiB`, async t => {
      collectGarbage()
      const grown = (process.memoryUsage().rss - before) / 2 ** 20
      t.ok(grown < MAX_GROWTH, `${grown.toFixed(0)} MiB`)
    })
  },
)

t.test('redirects are not followed, so no other host receives a signature', async t => {
  const other = await hostileServer(t)
  other.respond = () => reply(200, '')
  for (const status of [301, 302, 303, 307, 308]) {
    const { server, bucket } = await reach(t)
    server.respond = () => reply(status, '', { Location: `${other.endpoint}/key` })
    for (const [name, call] of Object.entries(CALLS)) {
      const failure = await outcome(call(bucket))
      t.match(failure, { status }, `${status} ${name}`)
    }
  }
  t.same(other.requests, [])
})

t.test('an upload does not succeed if the object has another CRC64', async t => {
  const b = await bench(t)
  const server = await hostileServer(t, b.oss.port)
  const client = { ...b.oss.clientOptions(BUCKET), endpoint: server.endpoint }
  const spool = new Spool({ client, dir: b.dir, retry: { attempts: 2, minDelay: 1, maxDelay: 5 } })
  for (const crc of ['1', '-1', '18446744073709551616', '']) {
    server.respond = ({ method }) =>
      method === 'HEAD'
        ? reply(404, '')
        : reply(200, '', { ETag: '"A0"', 'x-oss-hash-crc64ecma': crc })
    const failed = spool.upload(`key${crc}`, () => streamOf(bytes(1000)), { timeout: 1000 })
    const error = await failed.catch((reason: unknown) => reason)
    t.ok(
      error instanceof SpoolError && error.resumable,
      `CRC64 "${crc}": ${inspect(error, { depth: 0 })}`,
    )
  }
})
