/**
 * Replies that are not an answer of OSS: those of proxies and captive portals, and XML of another kind. They fail as
 * transient and ambiguous, so that nothing is taken for done, missing or lost because of them.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t, { type Test } from 'tap'
import type { FaultAction, OperationName } from '../../src/emulator/index.js'
import type { Bucket } from '../../src/oss/bucket.js'
import { connect } from '../../src/oss/connection.js'
import { errorKind, isAmbiguous, OssRequestError } from '../../src/oss/request-error.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'

const FOREIGN = { 'x-oss-request-id': null }
const PORTAL = '<html><body>Please log in<hr/></body></html>'
/** Parses as XML, unlike most pages. */
const XHTML = '<html><body><p>Please log in</p></body></html>'
const PART = 102_400

const CALLS: Partial<Record<OperationName, (bucket: Bucket, id: string) => Promise<unknown>>> = {
  InitiateMultipartUpload: bucket => bucket.initiate('key', {}, {}),
  UploadPart: (bucket, id) =>
    bucket.uploadPart('key', id, { number: 1, size: 3, body: Readable.from([Buffer.from('abc')]) }, {}), // prettier-ignore
  ListParts: (bucket, id) => bucket.listParts('key', id, {}),
  CompleteMultipartUpload: (bucket, id) =>
    bucket.complete('key', id, [{ number: 1, etag: '"A0"' }], {}, {}),
  AbortMultipartUpload: (bucket, id) => bucket.abort('key', id, {}),
  PutObject: bucket => bucket.put('key', async () => Buffer.from('abc'), {}, {}),
  HeadObject: bucket => bucket.head('key', {}),
  ListMultipartUploads: bucket => bucket.listUploads('key', {}),
}

function open(t: Test, b: Bench): Bucket {
  const connection = connect(b.oss.clientOptions(BUCKET))
  t.teardown(() => connection.close())
  return connection.open(connection.place())
}

async function failureOf(call: Promise<unknown>): Promise<OssRequestError | undefined> {
  const reason: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  return reason instanceof OssRequestError ? reason : undefined
}

t.test('a success that is not from OSS is transient and ambiguous for every operation', async t => {
  const b = await bench(t)
  const bucket = open(t, b)
  const id = await bucket.initiate('key', {}, {})
  for (const [operation, call] of Object.entries(CALLS)) {
    for (const [status, body] of [
      [200, ''],
      [200, PORTAL],
      [200, XHTML],
      [203, XHTML],
      [204, ''],
      [302, ''],
    ] as const) {
      // prettier-ignore
      const fault = { do: 'answer', status, body, headers: FOREIGN } as const
      b.oss.inject({ ...fault, operation: operation as OperationName }) // the keys are operation names
      const failure = await failureOf(call(bucket, id))
      const what = `${operation}: ${status} ${body}`
      t.match(failure, { name: 'UnusableReply', status }, what)
      t.equal(failure && errorKind(failure), 'transient', what)
      t.equal(failure && isAmbiguous(failure), true, what)
    }
  }
})

t.test('an error without a reason says whether it is from OSS', async t => {
  const b = await bench(t)
  const bucket = open(t, b)
  for (const operation of ['PutObject', 'HeadObject'] as const) {
    for (const [body, status, kind] of [
      [PORTAL, 502, 'transient'],
      ['{"error":"no"}', 403, 'denied'],
      ['', 407, 'refused'],
    ] as const) {
      const fault = { operation, do: 'answer', status, body } as const
      b.oss.inject({ ...fault, headers: FOREIGN })
      const foreign = await failureOf(CALLS[operation]!(bucket, ''))
      t.match(foreign, {
        name: 'ForeignError',
        status,
        ossCode: undefined,
        message: /not from OSS/,
      })
      t.equal(foreign && errorKind(foreign), kind)
      b.oss.inject({ ...fault, body: '' })
      const own = await failureOf(CALLS[operation]!(bucket, ''))
      t.match(own, { name: 'UnknownError', status, ossCode: undefined, message: /not say why/ })
      t.equal(own && errorKind(own), kind)
    }
  }
})

t.test('a 404 that is not from OSS does not mean that the object is missing', async t => {
  const b = await bench(t)
  const bucket = open(t, b)
  b.oss.inject({ operation: 'HeadObject', do: 'answer', status: 404, headers: FOREIGN })
  const failure = await failureOf(bucket.head('key', {}))
  t.equal(failure && errorKind(failure), 'transient')
  t.equal(await bucket.head('key', {}), undefined, 'the 404 of OSS does')
})

t.test('a list of something else does not mean that parts or uploads are missing', async t => {
  const b = await bench(t)
  const bucket = open(t, b)
  const id = await bucket.initiate('key', {}, {})
  const other = '<ListPartsResult><UploadId>0004B9895DBBB6EC98E36C9C0C9C0C9C</UploadId></ListPartsResult>' // prettier-ignore
  for (const body of ['<a/>', XHTML, other]) {
    for (const operation of ['ListParts', 'ListMultipartUploads'] as const) {
      if (body === other && operation !== 'ListParts') continue
      b.oss.inject({ operation, do: 'answer', status: 200, body })
      const failure = await failureOf(CALLS[operation]!(bucket, id))
      t.match(failure, { status: 200, requestId: /./ }, body)
      t.equal(failure && errorKind(failure), 'transient', body)
    }
  }
})

t.test('a page in place of the part list does not lose parts that were freed', async t => {
  for (const body of ['', PORTAL, XHTML]) {
    const b = await bench(t, { spool: { maxSpoolBytes: 4 * PART, parallel: 1 } })
    const data = bytes(10 * PART)
    b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'answer', status: 403, code: 'AccessDenied' }) // prettier-ignore
    const first = pipeline(streamOf(data), b.spool.createWriteStream('key', { id: 'id' }))
    await t.rejects(first, { code: 'ERR_SPOOL_DENIED', resumable: true })
    const page: FaultAction = { do: 'answer', status: 200, body, headers: FOREIGN }
    const fault = b.oss.inject({ operation: 'ListParts', ...page })
    await b.another().resume('id')
    t.equal(fault.hits, 1)
    t.ok((await b.get('key'))?.equals(data), 'the object is complete')
  }
})

t.test('an upload that retention forbids keeps its bytes and resumes later', async t => {
  const b = await bench(t)
  for (const [size, operation] of [
    [10, 'PutObject'],
    [3 * PART, 'CompleteMultipartUpload'],
  ] as const) {
    const immutable = { do: 'answer', status: 409, code: 'FileImmutable' } as const
    const fault = b.oss.inject({ operation, ...immutable, times: 'always' })
    const data = bytes(size)
    const failed = b.spool.upload(operation, () => streamOf(data), { id: operation })
    await t.rejects(failed, {
      code: 'ERR_SPOOL_DENIED',
      ossCode: 'FileImmutable',
      resumable: true,
      hint: /retention/,
    })
    fault.remove()
    await b.another().resume(operation)
    t.ok((await b.get(operation))?.equals(data))
  }
})

t.test('an object that retention protects may be our own', async t => {
  const b = await bench(t)
  // The request takes effect although its answer says otherwise, as if an earlier attempt had taken effect.
  const immutable = { do: 'answer', status: 409, code: 'FileImmutable', at: 'done' } as const
  b.oss.inject({ operation: 'PutObject', ...immutable })
  const data = bytes(10)
  await b.spool.upload('key', () => streamOf(data))
  t.ok((await b.get('key'))?.equals(data))
  t.same(await b.spool.uploads(), [])
})

t.test('a body that cannot be read fails with its own error, not as a request', async t => {
  const b = await bench(t)
  const bucket = open(t, b)
  const id = await bucket.initiate('key', {}, {})
  const error = Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
  const body = (async function* () {
    yield Buffer.from('a')
    throw error
  })()
  await t.rejects(bucket.uploadPart('key', id, { number: 1, size: 3, body }, {}), error)
  const reason = await bucket
    .put('key', () => Promise.reject(error), {}, {})
    .catch((failure: unknown) => failure)
  t.equal(reason, error)
})
