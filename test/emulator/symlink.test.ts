/** Symlinks, by ali-oss and by raw requests. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { aliOss, ask, tag } from './clients.js'

const oss = await startEmulator({ buckets: ['bkt'] })
t.teardown(() => oss.close())
const client = aliOss(oss, 'bkt')

const link = (key: string, target: string, headers: Record<string, string> = {}) =>
  ask(oss, 'PUT', `/bkt/${key}?symlink`, {
    headers: { 'x-oss-symlink-target': target, ...headers },
  })

t.test('reads of a symlink return the bytes of its target', async t => {
  await ask(oss, 'PUT', '/bkt/target', { body: 'bytes', headers: { 'x-oss-meta-of': 'target' } })
  await client.putSymlink('ümlaut/link', 'target', { meta: { of: 'link' } })
  t.equal((await client.getSymlink('ümlaut/link')).targetName, 'target')
  const { content, res } = await client.get('ümlaut/link')
  t.equal(content.toString(), 'bytes')
  t.match(res.headers, { 'x-oss-object-type': 'Symlink', 'x-oss-meta-of': 'link' })
  const part = await client.get('ümlaut/link', { headers: { Range: 'bytes=1-2' } })
  t.equal(part.content.toString(), 'yt')
  await ask(oss, 'PUT', '/bkt/target', { body: 'changed' })
  t.equal((await client.head('ümlaut/link')).res.headers['content-length'], '7')
  const list = await ask(oss, 'GET', '/bkt/', { query: `prefix=${encodeURIComponent('ümlaut')}` })
  t.equal(tag(list.body, 'Type'), 'Symlink')
  await client.delete('ümlaut/link')
  t.equal((await ask(oss, 'GET', '/bkt/target')).body, 'changed', 'the target stays')
})

t.test('symlinks without a target, and to other symlinks, cannot be read', async t => {
  await link('dangling', 'nowhere')
  await link('twice', 'dangling')
  for (const [key, expected] of [
    ['dangling', [404, 'SymlinkTargetNotExist']],
    ['twice', [400, 'InvalidTargetType']],
  ] as const) {
    const { status, body } = await ask(oss, 'GET', `/bkt/${key}`)
    t.same([status, tag(body, 'Code')], expected)
  }
})

t.test('invalid requests are refused', async t => {
  await ask(oss, 'PUT', '/bkt/object', { body: 'x' })
  const refused = [
    [ask(oss, 'GET', '/bkt/object?symlink'), 400, 'NotSymlink'],
    [ask(oss, 'GET', '/bkt/missing?symlink'), 404, 'NoSuchKey'],
    [ask(oss, 'PUT', '/bkt/k?symlink'), 400, 'InvalidArgument'],
    [link('object', 't', { 'x-oss-forbid-overwrite': 'true' }), 409, 'FileAlreadyExists'],
  ] as const
  for (const [answer, status, code] of refused) {
    const { status: actual, body } = await answer
    t.same([actual, tag(body, 'Code')], [status, code])
  }
})
