/** Retention and legal hold of objects are kept, though nothing is protected. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { ask, tag } from './clients.js'

const oss = await startEmulator({ buckets: ['bkt'] })
t.teardown(() => oss.close())

const code = async (answer: ReturnType<typeof ask>) => {
  const { status, body } = await answer
  return status === 200 ? 200 : tag(body, 'Code')
}
const put = (query: string, body: string, key = 'key') =>
  code(ask(oss, 'PUT', `/bkt/${key}?${query}`, { body }))
const retain = (mode: string, until: string) =>
  put(
    'retention',
    `<Retention><Mode>${mode}</Mode><RetainUntilDate>${until}</RetainUntilDate></Retention>`,
  )
const hold = (status: string, key?: string) =>
  put('legalHold', `<LegalHold><Status>${status}</Status></LegalHold>`, key)
const read = async (query: string) => (await ask(oss, 'GET', `/bkt/key?${query}`)).body
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()

const CONFIGURATION =
  '<ObjectWormConfiguration><ObjectWormEnabled>Enabled</ObjectWormEnabled></ObjectWormConfiguration>'
const enable = () => code(ask(oss, 'PUT', '/bkt/?objectWorm', { body: CONFIGURATION }))

t.test('object WORM is enabled for a bucket with versioning', async t => {
  await ask(oss, 'PUT', '/bkt/key', { body: 'x' })
  t.equal(await enable(), 'InvalidRequest')
  const versioning = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>'
  await ask(oss, 'PUT', '/bkt/?versioning', { body: versioning })
  t.equal(await retain('GOVERNANCE', inDays(1)), 'InvalidRequest')
  t.equal(await hold('ON'), 'InvalidRequest')
  t.equal(tag(await read('retention'), 'Code'), 'InvalidRequest')
  t.equal(await enable(), 200)
})

t.test('retention is returned, and in compliance mode only extended', async t => {
  t.equal(tag(await read('retention'), 'Mode'), '')
  t.equal(await retain('GOVERNANCE', inDays(2)), 200)
  t.equal(await retain('COMPLIANCE', inDays(1)), 200)
  t.equal(await retain('COMPLIANCE', inDays(0.5)), 'AccessDenied')
  const until = inDays(3)
  t.equal(await retain('COMPLIANCE', until), 200)
  const retention = await read('retention')
  t.equal(tag(retention, 'Mode'), 'COMPLIANCE')
  t.equal(tag(retention, 'RetainUntilDate'), `${until.slice(0, 19)}.000Z`)
})

t.test('a retention without mode or with a bad or past date is refused', async t => {
  t.equal(await retain('', inDays(1)), 'MalformedXML')
  t.equal(await retain('COMPLIANCE', 'soon'), 'MalformedXML')
  t.equal(await retain('COMPLIANCE', inDays(-1)), 'InvalidArgument')
})

t.test('a legal hold is set and lifted', async t => {
  const status = async () => tag(await read('legalHold'), 'Status')
  t.equal(await status(), 'OFF')
  t.equal(await hold('ON'), 200)
  t.equal(await status(), 'ON')
  t.equal(await hold('OFF'), 200)
  t.equal(await status(), 'OFF')
  t.equal(await hold('MAYBE'), 'MalformedXML')
  t.equal(await hold('ON', 'none'), 'NoSuchKey')
})

t.test('a copy has neither retention nor hold', async t => {
  await hold('ON')
  await ask(oss, 'PUT', '/bkt/copy', { headers: { 'x-oss-copy-source': '/bkt/key' } })
  const { body } = await ask(oss, 'GET', '/bkt/copy?legalHold')
  t.equal(tag(body, 'Status'), 'OFF')
  t.equal(tag((await ask(oss, 'GET', '/bkt/copy?retention')).body, 'Mode'), '')
})
