/**
 * A spool directory that others have tampered with: links, FIFOs, sockets, other users' uploads, odd names.
 * The spool follows no link out of the directory, never blocks, and neither deletes nor uploads anything it does
 * not own. Other uploads in the directory still finish.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { unsafePermissionsWarning } from '../../src/disk/trusted-files.js'
import { bench, bytes, streamOf, type Bench } from '../support/oss.js'

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
  for (const [by, code] of Object.entries(codes)) {
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
