import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeDirectories } from '../../src/util/make-directories.js'

t.test('makeDirectories() creates what is missing and names the first of it', async t => {
  const dir = t.testdir({ there: {} })
  t.equal(await makeDirectories(join(dir, 'there')), undefined)
  t.equal(await makeDirectories(join(dir, 'there/a/b')), join(dir, 'there/a'))
  t.equal(await makeDirectories(join(dir, 'there/a/b')), undefined)
  t.equal(statSync(join(dir, 'there/a')).mode & 0o777, 0o700)
})

t.test('makeDirectories() of one path at the same time succeeds for all callers', async t => {
  const path = join(t.testdir({}), 'a/b/c')
  await Promise.all(Array.from({ length: 20 }, () => makeDirectories(path)))
  t.ok(statSync(path).isDirectory())
})

t.test('makeDirectories() follows links to directories only', async t => {
  const dir = t.testdir({ there: {}, link: t.fixture('symlink', 'there'), file: '' })
  t.equal(await makeDirectories(join(dir, 'link')), undefined)
  await t.rejects(makeDirectories(join(dir, 'file')), { code: 'EEXIST' })
  await t.rejects(makeDirectories(join(dir, 'file/a/b')), { code: 'ENOTDIR' })
})

t.test(
  'makeDirectories() rejects where a file system has no new entries',
  { skip: process.platform !== 'linux' && 'needs /proc' },
  async t => {
    await t.rejects(makeDirectories('/proc/oss-spool'), { code: 'ENOENT' })
    await t.rejects(makeDirectories('/proc/oss-spool/a/b'), { code: 'ENOENT' })
  },
)
