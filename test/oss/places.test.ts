/** Where requests go, and headers that every one of them needs: through the real client to the emulator. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest } from 'node:http'
import t, { type Test } from 'tap'
import { describeEmulator, startEmulator } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { bench, BUCKET, bytes, streamOf } from '../support/oss.js'
import { connect } from '../../src/oss/connection.js'

const PART = 102_400

t.test('an emulator at an IPv6 address is reached with its own options', async t => {
  const dir = t.testdir({})
  const oss = await startEmulator({ host: '::1', createBuckets: true, dir: `${dir}/oss` })
  t.teardown(() => oss.close())
  t.match(oss.endpoint, /^http:\/\/\[::1\]:\d+$/)
  for (const sldEnable of [false, true]) {
    for (const authorizationV4 of [true, false]) {
      const client = { ...oss.clientOptions(BUCKET), authorizationV4, sldEnable }
      const key = `a b/ü ${sldEnable} ${authorizationV4}`
      const spool = new Spool({ client, dir: `${dir}/spool`, partSize: PART })
      await spool.upload(key, () => streamOf(bytes(3 * PART)))
      const connection = connect(client)
      const bucket = connection.open(connection.place())
      t.match(await bucket.head(key, {}), { size: 3 * PART })
      connection.close()
    }
  }
  t.match(describeEmulator(oss), 'new Spool(')
  t.notMatch(describeEmulator(oss), 'new OSS(', 'which rejects the endpoint')
})

t.test('an emulator on all addresses names one that every client accepts', async t => {
  const b = await bench(t, { emulator: { host: '::' } })
  t.match(b.oss.endpoint, /^http:\/\/127\.0\.0\.1:\d+$/)
  await b.spool.upload('key', () => streamOf(bytes(10)))
  t.equal((await b.get('key'))?.length, 10)
})

/** Records method, query and one header of each request of this process. */
function recordHeader(t: Test, name: string): string[] {
  const sent: string[] = []
  const record = (message: unknown): void => {
    const { request } = message as { request: ClientRequest } // as documented for this channel
    const query = /[?&](uploads|partNumber|uploadId)/.exec(request.path)?.[1] ?? ''
    sent.push(`${request.method} ${query} ${String(request.getHeader(name))}`)
  }
  subscribe('http.client.request.start', record)
  t.teardown(() => unsubscribe('http.client.request.start', record))
  return sent
}

t.test('x-oss-traffic-limit goes out with the bytes, also after a resume', async t => {
  const b = await bench(t)
  const sent = recordHeader(t, 'x-oss-traffic-limit')
  const headers = { 'X-OSS-Traffic-Limit': '838860800' }
  await b.spool.upload('small', () => streamOf(bytes(10)), { headers })
  t.same(sent.splice(0), ['PUT  838860800'])
  const deny = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  const denied = b.oss.inject({ operation: 'UploadPart', ...deny, times: 'always' })
  const failed = b.spool.upload('big', () => streamOf(bytes(2 * PART)), { id: 'id', headers })
  await t.rejects(failed, { code: 'ERR_SPOOL_DENIED' })
  denied.remove()
  sent.length = 0
  await b.another().resume('id')
  t.same(sent.toSorted(), [
    'GET uploadId undefined',
    'POST uploadId undefined',
    'PUT partNumber 838860800',
    'PUT partNumber 838860800',
  ])
})

t.test('client.isRequestPay marks every request', async t => {
  const b = await bench(t)
  const sent = recordHeader(t, 'x-oss-request-payer')
  const spool = b.another({ client: { ...b.oss.clientOptions(BUCKET), isRequestPay: true } })
  await spool.upload('big', () => streamOf(bytes(2 * PART)))
  t.equal(sent.length, 4)
  t.same(
    sent.filter(line => !line.endsWith(' requester')),
    [],
  )
})
