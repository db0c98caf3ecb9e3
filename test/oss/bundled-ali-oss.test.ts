/** The copy of `ali-oss` for the command line, beside the installed package it is made of. */
import { Readable } from 'node:stream'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { Bucket } from '../../src/oss/bucket.js'
import { importBundledAliOss } from '../../src/oss/bundled-ali-oss.js'
import { connect } from '../../src/oss/connection.js'
import { importAliOss, type ImportAliOss } from '../../src/oss/import-ali-oss.js'
import type { SendRequest, TransportRequest } from '../../src/oss/transport.js'
import { bench, BUCKET } from '../support/oss.js'

const KEY = 'a key/ü+&%.json'

t.test('is another module than the installed package', async t => {
  const { default: copy } = await importBundledAliOss()
  t.equal((await importAliOss()).default, OSS)
  t.not(copy, OSS)
})

for (const v4 of [true, false]) {
  t.test(`sends the same requests as the package, with V${v4 ? 4 : 1} signatures`, async t => {
    const byPackage = await requestsOf(t, importAliOss, v4)
    const byCopy = await requestsOf(t, importBundledAliOss, v4)
    t.ok(byPackage.sent.length >= 12, `${byPackage.sent.length} requests`)
    t.same(byCopy, byPackage)
  })
}

/** Makes every kind of request, with answers of every kind. */
async function requestsOf(t: Test, importClient: ImportAliOss, v4: boolean) {
  const { oss } = await bench(t)
  const sent: unknown[] = []
  const ids: string[] = []
  const mask = (text: string): string =>
    ids.reduce((masked, id) => masked.replaceAll(id, 'ID'), text)
  const wrap =
    (send: SendRequest): SendRequest =>
    (url, params) => {
      const { method, headers, content } = params
      sent.push({
        method,
        content,
        url: mask(url).replace(oss.endpoint, ''),
        headers: stable(headers),
      })
      return send(url, params)
    }
  const client = { ...oss.clientOptions(BUCKET), authorizationV4: v4 }
  const connection = connect(client, undefined, { wrap, importClient })
  t.teardown(() => connection.close())
  const bucket = connection.open(connection.place())
  const wrongKey = connect({ ...client, accessKeySecret: 'wrong' }, undefined, {
    wrap,
    importClient,
  })
  t.teardown(() => wrongKey.close())

  const results: unknown[] = []
  const call = async <T>(result: Promise<T>): Promise<T | undefined> => {
    const done = await result.catch((error: unknown) => ({
      failed: String(error),
      ...Object(error),
    }))
    results.push(JSON.parse(mask(JSON.stringify(done, toStable) ?? 'null')))
    return result.catch(() => undefined)
  }
  const initiate = async (): Promise<string> => {
    const id = await bucket.initiate(KEY, { 'x-oss-meta-a': 'b' }, {})
    ids.push(id)
    return id
  }
  const id = await initiate()
  const uploadPart = (to: Bucket, uploadId: string) =>
    to.uploadPart(
      KEY,
      uploadId,
      { number: 1, size: 3, body: Readable.from([Buffer.from('abc')]) },
      {},
    )
  const part = await call(uploadPart(bucket, id))
  await call(bucket.listParts(KEY, id, {}))
  await call(bucket.listUploads(KEY, {}))
  const parts = [{ number: 1, etag: part?.etag ?? '' }]
  await call(bucket.complete(KEY, id, parts, { 'x-oss-forbid-overwrite': 'true' }, {}))
  await call(bucket.head(KEY, {}))
  await call(bucket.put(KEY, async () => Buffer.from('abc'), { 'Content-Type': 'text/x' }, {}))
  await call(bucket.put(KEY, async () => Buffer.from('abc'), { 'x-oss-forbid-overwrite': 'true' }, {})) // prettier-ignore
  await call(bucket.abort(KEY, await initiate(), {}))
  await call(bucket.listParts(KEY, id, {}))
  await call(uploadPart(bucket, id))
  await call(bucket.head('none', {}))
  await call(wrongKey.open(wrongKey.place()).head(KEY, {}))
  await call(uploadPart(wrongKey.open(wrongKey.place()), id))
  return { sent, results }
}

/** Replacer for `JSON.stringify()` that omits what differs between two runs. */
function toStable(name: string, value: unknown): unknown {
  if (['requestId', 'reply', 'lastModified', 'initiated'].includes(name)) return undefined
  if (typeof value === 'bigint') return String(value)
  return value instanceof Map ? [...value] : value
}

/** Omits dates and signatures, and from the user agent the platform, which the package describes in other words. */
function stable(headers: TransportRequest['headers']): Record<string, unknown> {
  const variable = ['date', 'x-oss-date', 'authorization', 'user-agent']
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      variable.includes(name.toLowerCase()) ? undefined : value,
    ]),
  )
}
