/** File locks are tested before they are relied on. */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import * as native from 'fs-native-extensions'
import t from 'tap'
import { checkFileSystem } from '../../src/disk/fs-capabilities.js'

t.test('checkFileSystem() creates a local directory, accepts it and leaves it empty', async t => {
  const directory = join(t.testdir({}), 'deep', 'spool')
  t.equal(await checkFileSystem(directory), undefined)
  t.same(await readdir(directory), [])
})

for (const [name, tryLock] of [
  ['that grants a lock to every process', () => true],
  [
    'without locks',
    () => {
      throw Object.assign(new Error('no locks available'), { code: 'ENOLCK' })
    },
  ],
] as const) {
  t.test(`checkFileSystem() rejects a file system ${name}`, async t => {
    const { checkFileSystem: check } = await t.mockImport<
      typeof import('../../src/disk/fs-capabilities.js')
    >(new URL('../../src/disk/fs-capabilities.js', import.meta.url).href, {
      'fs-native-extensions': { ...native, tryLock },
    })
    const directory = t.testdir({})
    await t.rejects(check(directory), { code: 'ERR_SPOOL_NO_LOCKS', resumable: false })
    t.same(await readdir(directory), [])
  })
}
