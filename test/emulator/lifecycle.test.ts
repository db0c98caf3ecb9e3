/** Lifecycle rules, applied by a clock that tests move: by ali-oss, by raw requests, and under a Spool. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { bench, BUCKET, bytes } from '../support/oss.js'
import { aliOss, ask, tag, type Client } from './clients.js'

const DAY = 24 * 60 * 60 * 1000

const oss = await startEmulator({ buckets: ['bkt', 'other'], admin: true })
t.teardown(() => oss.close())
const client: Client = aliOss(oss, 'bkt')

const putRules = (rules: string) =>
  ask(oss, 'PUT', '/bkt/?lifecycle', {
    body: `<LifecycleConfiguration>${rules}</LifecycleConfiguration>`,
  })

const rule = (content: string, status = 'Enabled') =>
  `<Rule><Status>${status}</Status>${content}</Rule>`

const keysOf = async (): Promise<string[]> =>
  ((await client.listV2({})).objects ?? []).map(({ name }: { name: string }) => name)

t.test('AbortMultipartUpload removes uploads of this age and prefix', async t => {
  const [old, kept] = [
    (await client.initMultipartUpload('tmp/old')).uploadId,
    (await client.initMultipartUpload('kept')).uploadId,
  ]
  const abort = '<Prefix>tmp/</Prefix><AbortMultipartUpload><Days>2</Days></AbortMultipartUpload>'
  await putRules(rule(abort, 'Disabled'))
  await oss.advance(3 * DAY)
  t.equal((await client.listParts('tmp/old', old)).uploadId, old, 'a disabled rule does nothing')

  await putRules(rule(abort))
  const { uploadId: young } = await client.initMultipartUpload('tmp/young')
  await oss.advance(0)
  await t.rejects(client.listParts('tmp/old', old), { code: 'NoSuchUpload' })
  await oss.advance(2 * DAY - 2000) // times are stored in whole seconds
  t.equal((await client.listParts('tmp/young', young)).uploadId, young)
  await oss.advance(2000)
  await t.rejects(client.listParts('tmp/young', young), { code: 'NoSuchUpload' })
  t.equal((await client.listParts('kept', kept)).uploadId, kept, 'another prefix')
})

t.test('CreatedBeforeDate removes uploads that are older than the date', async t => {
  const { uploadId } = await client.initMultipartUpload('before')
  const before = (date: string) =>
    rule(
      `<AbortMultipartUpload><CreatedBeforeDate>${date}</CreatedBeforeDate></AbortMultipartUpload>`,
    )
  await putRules(before('2020-01-01T00:00:00.000Z'))
  await oss.advance(0)
  t.equal((await client.listParts('before', uploadId)).uploadId, uploadId)
  await putRules(before('2100-01-01T00:00:00.000Z'))
  await oss.advance(0)
  await t.rejects(client.listParts('before', uploadId), { code: 'NoSuchUpload' })
})

t.test('Expiration removes objects of this age, prefix and tags', async t => {
  for (const key of ['a/1', 'a/2', 'b/1']) await client.put(key, Buffer.from('x'))
  await client.putObjectTagging('a/1', { keep: 'no' })
  const days = '<Expiration><Days>1</Days></Expiration>'
  const tagged = '<Tag><Key>keep</Key><Value>no</Value></Tag>'
  await putRules(rule(`<Prefix>a/</Prefix>${tagged}${days}`))
  await oss.advance(DAY)
  t.same(await keysOf(), ['a/2', 'b/1'])

  await putRules(rule(`${days}<Filter><Not><Prefix>b/</Prefix></Not></Filter>`))
  await oss.advance(DAY)
  t.same(await keysOf(), ['a/2', 'b/1'], 'a rule with a filter is not applied')

  await putRules(rule('<Expiration><Date>2020-01-01T00:00:00.000Z</Date></Expiration>'))
  await oss.advance(0)
  t.same(await keysOf(), [])
})

t.test(
  'Expiration in a bucket with versioning keeps the version under a delete marker',
  async t => {
    await client.putBucketVersioning('bkt', 'Enabled')
    await client.put('versioned', Buffer.from('x'))
    await putRules(rule('<Prefix>versioned</Prefix><Expiration><Days>1</Days></Expiration>'))
    await oss.advance(DAY)
    const list = () => client.getBucketVersions({ prefix: 'versioned' })
    const { objects, deleteMarker } = await list()
    t.same([objects.length, deleteMarker.length], [1, 1])
    await oss.advance(DAY)
    t.equal((await list()).deleteMarker.length, 1, 'a delete marker does not expire')
    await client.putBucketVersioning('bkt', 'Suspended')
  },
)

t.test('the clock moves the stored times, not those of signatures', async t => {
  await client.put('time', Buffer.from('x'))
  const modified = tag((await ask(oss, 'GET', '/bkt/')).body, 'LastModified') ?? ''
  t.ok(Date.parse(modified) > Date.now() + DAY)
  t.equal((await ask(oss, 'GET', '/bkt/time')).status, 200)
})

t.test('the admin port moves the clock', async t => {
  const { uploadId } = await client.initMultipartUpload('admin')
  await putRules(rule('<AbortMultipartUpload><Days>1</Days></AbortMultipartUpload>'))
  const advance = async (ms: unknown) => {
    const body = JSON.stringify({ ms })
    return (await fetch(`${oss.adminEndpoint}/advance`, { method: 'POST', body })).status
  }
  t.equal(await advance(DAY), 200)
  await t.rejects(client.listParts('admin', uploadId), { code: 'NoSuchUpload' })
  for (const ms of [-1, 'day']) t.equal(await advance(ms), 400)
})

t.test('advance() rejects a time that is negative, too late or no number', async t => {
  for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e300])
    await t.rejects(oss.advance(ms), { name: 'RangeError' })
})

t.test('a document that the service would refuse is refused', async t => {
  const day = (days: string) => `<Expiration><Days>${days}</Days></Expiration>`
  const date = (text: string) => `<Expiration><Date>${text}</Date></Expiration>`
  for (const [rules, code] of [
    ['', 'MalformedXML'],
    [`<Rule>${day('1')}</Rule>`, 'MalformedXML'],
    [rule(day('1'), 'On'), 'MalformedXML'],
    [rule(day('0')), 'InvalidArgument'],
    [rule(day('1.5')), 'InvalidArgument'],
    [rule(date('tomorrow')), 'InvalidArgument'],
    [rule(date('2026-01-01T00:00:01.000Z')), 'InvalidArgument'],
  ] as const) {
    const { status, body } = await putRules(rules)
    t.same([status, tag(body, 'Code')], [400, code], rules)
  }
})

t.test('an upload of a Spool resumes under a new upload id when its own was removed', async t => {
  const b = await bench(t)
  const data = bytes(3 * 102_400)
  b.oss.inject({
    operation: 'UploadPart',
    partNumber: 2,
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
  })
  await t.rejects(
    b.spool.upload('key', () => [data], { id: 'id' }),
    { code: 'ERR_SPOOL_DENIED' },
  )
  await aliOss(b.oss, BUCKET).putBucketLifecycle(BUCKET, [
    { prefix: '', status: 'Enabled', abortMultipartUpload: { days: 7 } },
  ])
  await b.oss.advance(7 * DAY)
  t.match(await aliOss(b.oss, BUCKET).listUploads({ 'max-uploads': 10 }), { uploads: [] })
  await b.another().resume('id')
  t.same(await b.get('key'), data)
})

t.test('transitions happen in the order of their classes and before the expiration', async t => {
  const step = (name: string, storageClass: string, when: string) =>
    `<${name}>${when}<StorageClass>${storageClass}</StorageClass></${name}>`
  const put = async (...steps: string[]) => tag((await putRules(rule(steps.join('')))).body, 'Code')
  const days = (n: number) => `<Days>${n}</Days>`
  const date = '<CreatedBeforeDate>2020-01-01T00:00:00.000Z</CreatedBeforeDate>'
  const archive = step('Transition', 'Archive', days(20))
  const expiration = `<Expiration>${days(30)}</Expiration>`
  t.equal(await put(archive, step('Transition', 'IA', days(10)), expiration), undefined)
  t.equal(await put(archive, step('Transition', 'IA', days(21))), 'InvalidArgument')
  t.equal(await put(step('Transition', 'IA', days(31)), expiration), 'InvalidArgument')
  t.equal(await put(step('Transition', 'IA', days(0))), 'InvalidArgument')
  t.equal(await put(step('Transition', 'IA', date), expiration), 'InvalidRequest')
  const markers =
    '<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>'
  t.equal(await put(archive, markers), undefined)
})

t.test('tags of a rule have valid characters, and any number and length', async t => {
  const put = async (...keys: string[]) => {
    const tags = keys.map(key => `<Tag><Key>${key}</Key><Value>v</Value></Tag>`)
    const expiration = '<Expiration><Days>1</Days></Expiration>'
    return tag((await putRules(rule(tags.join('') + expiration))).body, 'Code')
  }
  t.equal(await put('k'.repeat(129)), undefined)
  t.equal(await put(...Array.from({ length: 20 }, (_, i) => `k${i}`)), undefined)
  t.equal(await put('%'), 'InvalidArgument')
})
