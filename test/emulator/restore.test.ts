/** Restores of archived objects, by ali-oss and by raw requests. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { restoreState } from '../../src/emulator/operations/restore-state.js'
import { aliOss, ask, tag } from './clients.js'

const oss = await startEmulator({ buckets: ['bkt'] })
t.teardown(() => oss.close())

const archived = (key: string, storageClass: string) =>
  ask(oss, 'PUT', `/bkt/${key}`, { body: 'x', headers: { 'x-oss-storage-class': storageClass } })
const restore = (key: string, body?: string) =>
  ask(oss, 'POST', `/bkt/${key}?restore`, body === undefined ? {} : { body })
const clean = (key: string) => ask(oss, 'POST', `/bkt/${key}?cleanRestoredObject`)
const code = async (answer: ReturnType<typeof ask>) => {
  const { status, body } = await answer
  return [status, tag(body, 'Code')]
}

t.test('a restore is in progress for a minute, then has an end', async t => {
  await archived('a', 'Archive')
  t.same(await code(clean('a')), [409, 'ArchiveRestoreFileStale'])
  const first = await restore('a', '<RestoreRequest><Days>2</Days></RestoreRequest>')
  t.equal(first.status, 202)
  t.equal(first.headers['x-oss-object-restore-priority'], undefined)
  const again = await restore('a')
  t.same([again.status, tag(again.body, 'EC')], [409, '0016-00000701'])
  t.same(await code(clean('a')), [409, 'ArchiveRestoreNotFinished'])
  t.equal((await ask(oss, 'HEAD', '/bkt/a')).headers['x-oss-restore'], 'ongoing-request="true"')
  const client = aliOss(oss, 'bkt')
  t.match((await client.list({ prefix: 'a' })).objects, [{ restoreInfo: { ongoingRequest: true } }])

  oss.inject({ do: 'skew', ms: 61_000, times: 'always' })
  const state = (await ask(oss, 'HEAD', '/bkt/a')).headers['x-oss-restore']
  t.match(state, /^ongoing-request="false", expiry-date=".* GMT"$/)
  t.equal((await restore('a')).status, 200, 'a restore of a restored object extends it')
  t.equal((await clean('a')).status, 200)
  t.equal((await ask(oss, 'HEAD', '/bkt/a')).headers['x-oss-restore'], undefined)
  t.equal((await restore('a')).status, 202)
  oss.clearFaults()
})

t.test('priorities are those of the cold classes', async t => {
  const job = (tier: string) =>
    `<RestoreRequest><Days>1</Days><JobParameters><Tier>${tier}</Tier></JobParameters></RestoreRequest>`
  for (const [storageClass, body, priority] of [
    ['ColdArchive', undefined, 'Standard'],
    ['ColdArchive', job('Bulk'), 'Bulk'],
    ['DeepColdArchive', job('Expedited'), 'Expedited'],
  ] as const) {
    await archived('cold', storageClass)
    const { status, headers } = await restore('cold', body)
    t.same([status, headers['x-oss-object-restore-priority']], [202, priority])
  }
  await archived('warm', 'Archive')
  t.same(await code(restore('warm', job('Standard'))), [400, 'MalformedXML'])
  await archived('cold', 'ColdArchive')
  t.same(await code(restore('cold', job('Soon'))), [400, 'InvalidArgument'])
  const never = '<RestoreRequest><Days>0</Days></RestoreRequest>'
  t.same(await code(restore('cold', never)), [400, 'MalformedXML'])
})

t.test('objects of other classes, and missing ones, are refused', async t => {
  await archived('standard', 'Standard')
  t.same(await code(restore('standard')), [400, 'OperationNotSupported'])
  t.same(await code(clean('standard')), [400, 'OperationNotSupported'])
  t.same(await code(restore('missing')), [404, 'NoSuchKey'])
})

t.test('restoreState() is pure in the time', async t => {
  const minute = 60_000
  const object = { restore: { requested: '2026-01-01T00:00:00.000Z', days: 1 } }
  const start = Date.parse(object.restore.requested)
  t.equal(restoreState({}, start), undefined)
  t.equal(restoreState(object, start + minute - 1), 'ongoing-request="true"')
  t.match(restoreState(object, start + minute), 'Fri, 02 Jan 2026 00:01:00 GMT')
  t.equal(restoreState(object, start + minute + 24 * 60 * minute), undefined, 'archived again')
})
