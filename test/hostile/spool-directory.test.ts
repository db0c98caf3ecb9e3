/**
 * A spool directory that others have tampered with: links, FIFOs, sockets, other users' uploads, odd names.
 * The spool follows no link out of the directory, never blocks, and neither deletes nor uploads anything it does
 * not own. Other uploads in the directory still finish.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { withFileLock } from '../../src/disk/file-lock.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { unsafePermissionsWarning } from '../../src/disk/trusted-files.js'
import { environment, run } from '../support/command-line.js'
import { LONG, sampled } from '../support/long.js'
import { BUCKET, bench, bytes, streamOf, type Bench } from '../support/oss.js'

const skip = process.platform === 'win32' && 'Windows has none of these'
const asRoot = process.getuid?.() !== 0 && 'only root can change the owner of a file'
const OTHER_UID = 12_345
const REFUSED = {
  operation: 'InitiateMultipartUpload',
  times: 'always',
  do: 'answer',
  status: 403,
  code: 'AccessDenied',
} as const
const DATA = bytes(250_000)

interface Fixture extends Bench {
  /** The directory of a sealed upload, `mine`, that OSS refused. */
  readonly mine: string
  /** A directory with files outside the spool, which must not be touched. */
  readonly outside: string
}

/** Creates a spool with two sealed uploads, `mine` and `other`. */
async function setUp(t: Test): Promise<Fixture> {
  const b = await bench(t)
  const outside = `${t.testdirName}-outside`
  fs.mkdirSync(join(outside, 'folder'), { recursive: true })
  fs.writeFileSync(join(outside, 'precious'), 'precious')
  fs.writeFileSync(join(outside, 'folder', 'inner'), 'inner')
  t.teardown(() => fs.rmSync(outside, { recursive: true, force: true }))
  const refusal = b.oss.inject(REFUSED)
  for (const id of ['mine', 'other']) {
    await b.spool.upload(id, () => streamOf(DATA), { id }).catch(() => undefined)
  }
  refusal.remove()
  return { ...b, mine: join(b.dir, 'mine'), outside }
}

const checkpointOf = (b: Fixture): string => join(b.mine, 'checkpoint.json')
const tempFileOf = (b: Fixture): string =>
  join(b.mine, fs.readdirSync(b.mine).find(name => name.startsWith('spool-')) ?? '')

/** Moves `path` away and puts something else in its place. */
async function replace(
  t: Test,
  path: string,
  by: 'fifo' | 'socket' | 'directory' | 'link' | 'huge',
  b: Fixture,
): Promise<void> {
  const original = join(b.outside, 'original')
  fs.renameSync(path, original)
  if (by === 'fifo') execFileSync('mkfifo', [path])
  if (by === 'directory') fs.mkdirSync(path)
  if (by === 'link') fs.symlinkSync(original, path)
  if (by === 'huge') fs.closeSync(fs.openSync(path, 'w'))
  if (by === 'huge') fs.truncateSync(path, 2 ** 40)
  if (by !== 'socket') return
  const directory = process.cwd()
  process.chdir(dirname(path)) // socket paths have a short maximum length
  const server = createServer().listen(basename(path))
  process.chdir(directory)
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => server.close())
}

/** Lists and resumes both uploads as another process would. Resolves with `mine`'s error code, or `done`. */
async function finishAll(b: Fixture): Promise<unknown> {
  const spool = b.another()
  const listed = await spool.uploads()
  const mine = await spool.resume('mine').then(
    () => 'done',
    (error: NodeJS.ErrnoException) => error.code,
  )
  if (!listed.some(({ id }) => id === 'other')) throw new Error('the other upload is not listed')
  await spool.resume('other')
  if (!(await b.get('other'))?.equals(DATA)) throw new Error('the other upload was not finished')
  if (fs.readFileSync(join(b.outside, 'precious'), 'utf8') !== 'precious')
    throw new Error('a file outside the spool was changed')
  if (fs.readFileSync(join(b.outside, 'folder', 'inner'), 'utf8') !== 'inner')
    throw new Error('a file outside the spool was changed')
  return mine
}

t.test('both uploads of an untouched spool directory finish', { skip }, async t => {
  const b = await setUp(t)
  t.equal(await finishAll(b), 'done')
})

const UNREADABLE = 'ERR_SPOOL_UNREADABLE'
const CORRUPT = 'ERR_SPOOL_CORRUPT'
/** Listing has quarantined the upload. */
const GONE = 'ERR_SPOOL_NOT_FOUND'
for (const [what, pathOf, codes] of [
  [
    'a checkpoint',
    checkpointOf,
    {
      link: UNREADABLE,
      fifo: UNREADABLE,
      socket: UNREADABLE,
      directory: UNREADABLE,
      huge: GONE,
    },
  ],
  [
    'a temp file',
    tempFileOf,
    { link: CORRUPT, fifo: CORRUPT, socket: CORRUPT, directory: CORRUPT },
  ],
  [
    'a lock',
    (b: Fixture) => join(b.mine, 'lock'),
    { link: UNREADABLE, fifo: UNREADABLE, socket: UNREADABLE, directory: UNREADABLE, huge: 'done' },
  ],
] as const) {
  for (const [by, code] of sampled(t, Object.entries(codes), 3)) {
    t.test(
      `resume with ${what} replaced (${by}) gives ${code}, and other uploads finish`,
      { skip },
      async t => {
        const b = await setUp(t)
        await replace(t, pathOf(b), by as keyof typeof codes, b)
        t.equal(await finishAll(b), code)
        t.equal((await b.get('mine')) === undefined, code !== 'done')
      },
    )
  }
}

t.test('a link in place of an upload is neither followed nor listed', { skip }, async t => {
  const b = await setUp(t)
  fs.renameSync(b.mine, join(b.outside, 'moved'))
  fs.symlinkSync(join(b.outside, 'moved'), b.mine)
  t.equal(await finishAll(b), 'ERR_SPOOL_NOT_FOUND')
  const again = b.another().upload('mine', () => streamOf(DATA), { id: 'mine' })
  await t.rejects(again, { code: UNREADABLE }, 'no new upload is started in its place')
  t.ok(fs.lstatSync(b.mine).isSymbolicLink())
  t.ok(
    fs.existsSync(join(b.outside, 'moved', 'checkpoint.json')),
    'the target of the link is unchanged',
  )
})

t.test(
  'prune does not follow links in place of removed uploads and the quarantine',
  { skip },
  async t => {
    const b = await setUp(t)
    fs.symlinkSync(join(b.outside, 'folder'), join(b.dir, '.removed-a-0123456789ab'))
    fs.symlinkSync(b.outside, join(b.dir, 'quarantine'))
    t.equal(await finishAll(b), 'done')
    await b.another().prune({ olderThan: 0, sealed: true })
    t.same(fs.readdirSync(b.outside).toSorted(), ['folder', 'precious'])
    t.same(fs.readdirSync(join(b.outside, 'folder')), ['inner'])
  },
)

t.test('a link in place of the notes of moved uploads is not followed', { skip }, async t => {
  const b = await setUp(t)
  fs.symlinkSync(b.outside, join(b.dir, '.moved'))
  t.equal(await finishAll(b), 'done')
  await b.another().prune({ olderThan: 0, sealed: true })
  t.same(fs.readdirSync(b.outside).toSorted(), ['folder', 'precious'])
})

t.test('a damaged upload is not moved into a quarantine that is a link', { skip }, async t => {
  const b = await setUp(t)
  fs.symlinkSync(b.outside, join(b.dir, 'quarantine'))
  fs.writeFileSync(checkpointOf(b), '{}')
  await t.rejects(b.another().resume('mine'), /link/)
  t.same(fs.readdirSync(b.outside).toSorted(), ['folder', 'precious'])
  t.ok(fs.existsSync(b.mine))
})

t.test('directories with odd names are neither listed nor removed', { skip }, async t => {
  const b = await setUp(t)
  for (const name of ['a\nb', '\x1b[2J', '-rf', '..x', '__proto__', 'ü', ' ']) {
    fs.mkdirSync(join(b.dir, name))
    fs.writeFileSync(join(b.dir, name, 'precious'), 'precious')
  }
  t.equal(await finishAll(b), 'done')
  const records = new LocalRecordStore(b.dir)
  t.same(
    (await records.ids()).filter(id => !/^[\w.-]+$/.test(id)),
    [],
  )
  await b.another().prune({ olderThan: 0, sealed: true })
  t.equal(
    fs.readdirSync(b.dir, { recursive: true }).filter(name => String(name).endsWith('precious'))
      .length,
    7,
  )
})

t.test(
  'another user’s upload is neither resumed with our credentials nor removed',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    fs.chownSync(b.mine, OTHER_UID, OTHER_UID)
    const warnings: string[] = []
    const spool = b.another()
    spool.on('warning', ({ message }) => warnings.push(message))
    await spool.uploads()
    t.match(warnings.join(), /owned by uid 12345/)
    const sent = b.oss.requests.length
    for (const attempt of [
      () => spool.resume('mine'),
      () => spool.abort('mine'),
      () => spool.upload('mine', () => streamOf(DATA), { id: 'mine' }),
    ]) {
      await t.rejects(async () => void (await attempt()), { code: UNREADABLE, resumable: false })
    }
    t.equal(b.oss.requests.length, sent, 'no request was sent')
    t.equal(await finishAll(b), UNREADABLE)
    await spool.prune({ olderThan: 0, sealed: true })
    t.ok(fs.existsSync(checkpointOf(b)))
  },
)

t.test(
  'another user’s removed uploads are left to that user',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    const removed = join(b.dir, '.removed-a-0123456789ab')
    fs.mkdirSync(removed)
    fs.writeFileSync(join(removed, 'file'), '')
    fs.chownSync(removed, OTHER_UID, OTHER_UID)
    t.equal(await finishAll(b), 'done')
    t.same(fs.readdirSync(removed), ['file'])
  },
)

for (const [what, pathOf] of [
  ['record', checkpointOf],
  ['lock', (b: Fixture) => join(b.mine, 'lock')],
  ['temp file', tempFileOf],
] as const) {
  t.test(
    `a ${what} that another user planted is left in place, and nothing is sent`,
    { skip: skip || asRoot },
    async t => {
      const b = await setUp(t)
      const path = pathOf(b)
      // A hard link to the other user's file in a directory of this user.
      const planted = join(b.outside, 'planted')
      fs.copyFileSync(path, planted)
      fs.chownSync(planted, OTHER_UID, OTHER_UID)
      fs.rmSync(path)
      fs.linkSync(planted, path)
      const content = fs.readFileSync(planted)
      const sent = b.oss.requests.length
      await t.rejects(b.another().resume('mine'), { code: UNREADABLE })
      t.equal(b.oss.requests.length, sent, 'no request was sent')
      t.equal(await finishAll(b), UNREADABLE)
      await b.another().prune({ olderThan: 0, sealed: true })
      t.ok(fs.readFileSync(path).equals(content))
      t.equal(fs.statSync(path).uid, OTHER_UID)
    },
  )
}

t.test(
  'a link to an in-place file that another user planted is not followed',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    const file = join(b.outside, 'file')
    fs.writeFileSync(file, DATA)
    const refusal = b.oss.inject(REFUSED)
    const options = { id: 'place', inPlace: file }
    await t.rejects(
      b.spool.upload('place', () => fs.createReadStream(file), options),
      { code: 'ERR_SPOOL_DENIED' },
    )
    refusal.remove()
    const link = fs.readdirSync(join(b.dir, 'place')).find(name => name.startsWith('spool-link-'))
    fs.lchownSync(join(b.dir, 'place', link ?? ''), OTHER_UID, OTHER_UID)
    const sent = b.oss.requests.length
    await t.rejects(b.another().resume('place'), { code: UNREADABLE })
    t.equal(b.oss.requests.length, sent, 'no request was sent')
    fs.lchownSync(join(b.dir, 'place', link ?? ''), 0, 0)
    await b.another().resume('place')
    t.ok((await b.get('place'))?.equals(DATA))
  },
)

/** Lets the group of the other user write to the spool directory. */
function share(b: Fixture): void {
  fs.chownSync(b.dir, 0, OTHER_UID)
  fs.chmodSync(b.dir, 0o770)
}

t.test(
  'an upload that another user gave the name of a removed one is not removed',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    share(b)
    const removed = join(b.dir, '.removed-mine-0123456789ab')
    const files = fs.readdirSync(b.mine)
    execFileSync('mv', [b.mine, removed], { uid: OTHER_UID, gid: OTHER_UID })
    const spool = b.another()
    const warnings: string[] = []
    spool.on('warning', ({ id }) => warnings.push(id))
    await spool.uploads()
    t.ok(warnings.includes('mine'), 'a warning names the upload')
    t.equal(await finishAll(b), GONE)
    await b.another().prune({ olderThan: 0, sealed: true })
    t.same(fs.readdirSync(removed), files)
    fs.renameSync(removed, b.mine)
    await b.another().resume('mine')
    t.ok((await b.get('mine'))?.equals(DATA))
  },
)

t.test(
  'a link that takes the place of a directory during its removal is not followed',
  { skip: process.platform !== 'linux' && 'needs /proc to change it at this moment' },
  async t => {
    const root = t.testdir({
      outside: { 'spool-1-a': 'precious', 'spool-1-b': 'precious', 'checkpoint.json': 'precious' },
      spool: { id: { lock: '', 'spool-1-a': '', 'spool-1-b': '', 'checkpoint.json': '{}' } },
    })
    const fsp = await import('node:fs/promises')
    const spool = join(root, 'spool')
    let swapped = false
    const unlink = async (path: string): Promise<void> => {
      const removed = fs.readdirSync(spool).find(name => name.startsWith('.removed-'))
      if (!swapped && removed !== undefined) {
        swapped = true
        fs.renameSync(join(spool, removed), join(spool, 'swapped'))
        fs.symlinkSync(join(root, 'outside'), join(spool, removed))
      }
      await fsp.unlink(path)
    }
    const { SpoolDirectory } = await t.mockImport<
      typeof import('../../src/disk/spool-directory.js')
    >(new URL('../../src/disk/spool-directory.js', import.meta.url).href, {
      'node:fs/promises': t.createMock(fsp, { unlink }),
    })
    await new SpoolDirectory(spool).remove('id')
    t.ok(swapped)
    t.same(fs.readdirSync(join(spool, 'swapped')), [], 'the opened directory was emptied')
    t.equal(fs.readdirSync(join(root, 'outside')).length, 3)
  },
)

t.test('a removal without /proc stops at a directory that was replaced', { skip }, async t => {
  const root = t.testdir({
    outside: { 'spool-1-a': 'precious', 'spool-1-b': 'precious', 'checkpoint.json': 'precious' },
    spool: {
      id: { lock: '', 'spool-1-a': '', 'spool-1-b': '', 'checkpoint.json': '{}' },
      whole: { lock: '', 'spool-1-a': '', 'checkpoint.json': '{}' },
    },
  })
  const fsp = await import('node:fs/promises')
  const spool = join(root, 'spool')
  let isSwapping = false
  const unlink = async (path: string): Promise<void> => {
    await fsp.unlink(path)
    const removed = fs.readdirSync(spool).find(name => name.startsWith('.removed-'))
    if (!isSwapping || removed === undefined) return
    isSwapping = false
    fs.renameSync(join(spool, removed), join(spool, 'swapped'))
    fs.symlinkSync(join(root, 'outside'), join(spool, removed))
  }
  const statSync = (path: string, options: fs.StatSyncOptions): unknown =>
    fs.statSync(path.replace('/proc/', '/no-proc/'), options)
  const { SpoolDirectory } = await t.mockImport<typeof import('../../src/disk/spool-directory.js')>(
    new URL('../../src/disk/spool-directory.js', import.meta.url).href,
    {
      'node:fs': t.createMock(fs, { statSync }),
      'node:fs/promises': t.createMock(fsp, { unlink }),
    },
  )
  const directory = new SpoolDirectory(spool)
  t.equal(await directory.remove('whole'), undefined)
  isSwapping = true
  t.match(await directory.remove('id'), { name: 'UntrustedFileError' })
  t.same(await directory.ids(), ['swapped'])
  t.equal(fs.readdirSync(join(spool, 'swapped')).length, 3, 'one file was removed before')
  t.equal(fs.readdirSync(join(root, 'outside')).length, 3)
})

/** Run by the other user: puts a link in place of each directory that is being removed, until it is killed. */
const SWAP = `
const fs = require('node:fs')
const [dir, target] = process.argv.slice(1)
console.log('ready')
for (let i = 0; ; i++)
  for (const name of fs.readdirSync(dir))
    if (name.startsWith('.removed-')) try {
      fs.renameSync(dir + '/' + name, dir + '/swapped-' + i)
      fs.symlinkSync(target, dir + '/' + name)
    } catch {}
`

t.test(
  'a link that is swapped in during a removal is not followed',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    share(b)
    const names = Array.from({ length: 50 }, (_, i) => `spool-1-${i}`)
    for (const name of names) fs.writeFileSync(join(b.outside, 'folder', name), 'precious')
    const options = { uid: OTHER_UID, gid: OTHER_UID }
    const swapper = spawn(process.execPath, ['-e', SWAP, b.dir, join(b.outside, 'folder')], options)
    await once(swapper.stdout, 'data')
    const records = new LocalRecordStore(b.dir)
    const until = performance.now() + (LONG ? 3000 : 600)
    let swapped = 0
    for (let i = 0; performance.now() < until; i++) {
      const id = `id-${i}`
      await records.create(id)
      for (const name of ['lock', 'checkpoint.json', ...names])
        fs.writeFileSync(join(b.dir, id, name), '')
      if ((await records.remove(id)) !== undefined) swapped++
      await records.sweep()
    }
    swapper.kill('SIGKILL')
    await once(swapper, 'close')
    t.comment(`${swapped} removals were disturbed`)
    t.same(fs.readdirSync(join(b.outside, 'folder')).toSorted(), ['inner', ...names].toSorted())
  },
)

t.test(
  'a folder of moved uploads that root closed to this user gives a SpoolError',
  { skip: skip || asRoot },
  async t => {
    const directory = t.testdir({})
    fs.chownSync(directory, OTHER_UID, OTHER_UID)
    const records = new LocalRecordStore(directory)
    const object = { endpoint: 'https://oss-cn-hangzhou.aliyuncs.com', bucket: 'b', key: 'k' }
    await records.noteMove(object, 'mine')
    process.seteuid?.(OTHER_UID)
    try {
      await t.rejects(records.movesTo(object), { code: UNREADABLE })
      await t.rejects(records.noteMove(object, 'other'), { code: UNREADABLE })
      await t.resolves(records.sweep())
    } finally {
      process.seteuid?.(0)
    }
  },
)

t.test(
  'group-writable spool directories and parents emit a warning',
  { skip: skip || asRoot },
  t => {
    const parent = t.testdir({ spool: {} })
    const directory = join(parent, 'spool')
    const warning = (path: string, mode: number, gid: number, uid = 0): boolean => {
      fs.chownSync(path, uid, gid)
      fs.chmodSync(path, mode)
      const message = unsafePermissionsWarning(directory)
      fs.chmodSync(path, 0o755)
      fs.chownSync(path, 0, 0)
      return message !== undefined
    }
    for (const mode of [0o770, 0o775, 0o1770, 0o2775]) {
      t.equal(warning(directory, mode, OTHER_UID), true, `directory ${mode.toString(8)}`)
      t.equal(warning(directory, mode, 0), false, `directory ${mode.toString(8)}, group of root`)
    }
    for (const mode of [0o770, 0o2775])
      t.equal(warning(parent, mode, OTHER_UID), true, `parent ${mode.toString(8)}`)
    t.equal(warning(parent, 0o777, 0), true, 'parent 777')
    for (const mode of [0o755, 0o1777, 0o1775])
      t.equal(warning(parent, mode, OTHER_UID), false, `parent ${mode.toString(8)}`)
    t.end()
  },
)

t.test('a private group emits no warning', { skip: skip || asRoot }, t => {
  // Not below the directory of this project, whose owner is not this user.
  const parent = fs.mkdtempSync('/tmp/oss-spool-')
  t.teardown(() => fs.rmSync(parent, { recursive: true }))
  const directory = join(parent, 'spool')
  fs.mkdirSync(directory)
  for (const path of [parent, directory]) {
    fs.chownSync(path, OTHER_UID, OTHER_UID)
    fs.chmodSync(path, 0o775)
  }
  process.seteuid?.(OTHER_UID)
  try {
    t.equal(unsafePermissionsWarning(directory), undefined)
    fs.chmodSync(directory, 0o777)
    t.match(unsafePermissionsWarning(directory), /everyone can write/)
  } finally {
    process.seteuid?.(0)
  }
  t.end()
})

t.test('parents and links that another user owns emit a warning', { skip: skip || asRoot }, t => {
  const root = t.testdir({
    parent: { spool: {} },
    links: { spool: t.fixture('symlink', '../parent/spool') },
    deep: t.fixture('symlink', 'links'),
  })
  const parent = join(root, 'parent')
  for (const directory of ['parent/spool', 'links/spool', 'deep/spool']) {
    const path = join(root, directory)
    t.equal(unsafePermissionsWarning(path), undefined)
    for (const mode of [0o700, 0o755, 0o1755]) {
      fs.chownSync(parent, OTHER_UID, 0)
      fs.chmodSync(parent, mode)
      t.match(unsafePermissionsWarning(path), /uid 12345 owns .*\/parent /, mode.toString(8))
      fs.chownSync(parent, 0, 0)
    }
  }
  const deep = join(root, 'deep', 'spool')
  for (const link of ['links/spool', 'deep']) {
    fs.lchownSync(join(root, link), OTHER_UID, 0)
    t.match(unsafePermissionsWarning(deep), /uid 12345 owns the link/, link)
    fs.lchownSync(join(root, link), 0, 0)
  }
  fs.chownSync(join(root, 'links'), OTHER_UID, 0)
  t.match(unsafePermissionsWarning(deep), /uid 12345 owns .*\/deep /, 'what the link leads to')
  fs.chownSync(join(root, 'links'), 0, 0)
  t.equal(unsafePermissionsWarning(deep), undefined)
  t.end()
})

t.test('parents that cannot be examined emit no warning', { skip }, async t => {
  const directory = join(t.testdir({ parent: { spool: {} } }), 'parent', 'spool')
  fs.chmodSync(dirname(directory), 0o777)
  const statSync = (path: string, options: fs.StatSyncOptions): unknown => {
    if (path !== directory) throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
    return fs.statSync(path, options)
  }
  const url = new URL('../../src/disk/trusted-files.js', import.meta.url).href
  const mocked = await t.mockImport<typeof import('../../src/disk/trusted-files.js')>(url, {
    'node:fs': t.createMock(fs, { statSync }),
  })
  t.match(unsafePermissionsWarning(directory), /everyone can write to .*parent/)
  t.equal(mocked.unsafePermissionsWarning(directory), undefined)
})

t.test(
  'a lock of the metrics file that another user planted is refused',
  { skip: skip || asRoot },
  async t => {
    const path = join(t.testdir({}), '.metrics.prom.lock')
    await withFileLock(path, 0, async () => undefined)
    t.equal(fs.statSync(path).mode & 0o777, 0o600)
    fs.chownSync(path, OTHER_UID, OTHER_UID)
    const run = withFileLock(path, 0, async () => t.fail('the action was run'))
    await t.rejects(run, { name: 'UntrustedFileError' })
  },
)

t.test(
  'listing in a group-writable spool directory emits a warning',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    share(b)
    const calls: readonly ((spool: ReturnType<typeof b.another>) => Promise<unknown>)[] = [
      spool => spool.uploads(),
      spool => spool.prune(),
      spool => spool.resume('mine'),
      spool => spool.abort('other'),
    ]
    for (const call of calls) {
      const spool = b.another()
      const warnings: string[] = []
      spool.on('warning', ({ message }) => warnings.push(message))
      await call(spool)
      t.match(warnings.join(), /group 12345 can write/)
    }
  },
)

t.test(
  'each command warns once of a shared spool directory and of a renamed upload in it',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    share(b)
    fs.renameSync(b.mine, join(b.dir, '.removed-mine-0123456789ab'))
    const env = { ...environment(b.oss), OSS_SPOOL_DIR: b.dir }
    const url = `oss://${BUCKET}/other`
    for (const args of [
      ['ls'],
      ['show', url],
      ['doctor'],
      ['prune', '--yes'],
      ['put', `oss://${BUCKET}/new`],
      ['resume', url],
      ['resume', '--all'],
      ['abort', '--yes', 'mine'],
    ]) {
      const { err } = await run(t.testdirName, args, DATA, env)
      t.equal(err.match(/group 12345 can write/g)?.length, 1, args.join(' '))
      t.equal(err.match(/Rename it to mine/g)?.length, 1, args.join(' '))
    }
    t.ok((await b.get('other'))?.equals(DATA))
  },
)

t.test('a world-writable spool directory emits a warning', { skip }, async t => {
  const directory = t.testdir({})
  t.equal(unsafePermissionsWarning(directory), undefined)
  for (const mode of [0o755, 0o775]) {
    fs.chmodSync(directory, mode)
    t.equal(unsafePermissionsWarning(directory), undefined, mode.toString(8))
  }
  for (const mode of [0o777, 0o1777, 0o702]) {
    fs.chmodSync(directory, mode)
    t.match(unsafePermissionsWarning(directory), /everyone can write/, mode.toString(8))
  }
  fs.chmodSync(directory, 0o700)
  if (process.getuid?.() === 0) {
    fs.chownSync(directory, OTHER_UID, OTHER_UID)
    t.match(unsafePermissionsWarning(directory), /owned by uid 12345/)
  }
  const b = await bench(t)
  fs.mkdirSync(b.dir)
  fs.chmodSync(b.dir, 0o777)
  await b.spool.upload('key', () => streamOf(DATA))
  t.match(b.warnings.map(({ message }) => message).join(), /everyone can write/)
  t.same(fs.readdirSync(b.dir), [])
})

t.test(
  'the temp file of a sealed upload is not written to, so a hard link keeps its bytes',
  { skip },
  async t => {
    const b = await setUp(t)
    const linked = join(b.outside, 'linked')
    fs.linkSync(tempFileOf(b), linked)
    t.equal(await finishAll(b), 'done')
    t.ok(fs.readFileSync(linked).equals(DATA), 'the linked file is unchanged')
  },
)

t.test(
  'an in-place source that was replaced by a FIFO does not block resume',
  { skip },
  async t => {
    const b = await setUp(t)
    const file = join(b.outside, 'file')
    fs.writeFileSync(file, DATA)
    b.oss.inject(REFUSED)
    const options = { id: 'place', inPlace: file }
    await t.rejects(
      b.spool.upload('place', () => fs.createReadStream(file), options),
      { code: 'ERR_SPOOL_DENIED' },
    )
    fs.rmSync(file)
    execFileSync('mkfifo', [file])
    await t.rejects(b.another().resume('place'), { code: 'ERR_SPOOL_SOURCE_FAILED' })
  },
)
