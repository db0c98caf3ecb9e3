/**
 * A spool directory that others have been in: links, FIFOs, sockets, other users' uploads, odd names.
 * Nothing is followed out of it, waited for, emptied or sent; and the uploads beside it are finished.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer } from 'node:net'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { unsafePermissionsWarning } from '../../src/disk/ownership.js'
import { bench, bytes, streamOf, type Bench } from '../support/oss.js'

const skip = process.platform === 'win32' && 'Windows has none of these'
const asRoot = process.getuid?.() !== 0 && 'only root gives files away'
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
  /** A directory outside the spool, with a file, that nothing may touch. */
  readonly outside: string
}

/** A spool with two sealed uploads, `mine` and `other`. */
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

/** Takes `path` away and puts something else there. */
async function replace(
  t: Test,
  path: string,
  by: 'fifo' | 'socket' | 'directory' | 'link' | 'huge',
  b: Fixture,
): Promise<void> {
  const kept = join(b.outside, 'kept')
  fs.renameSync(path, kept)
  if (by === 'fifo') execFileSync('mkfifo', [path])
  if (by === 'directory') fs.mkdirSync(path)
  if (by === 'link') fs.symlinkSync(kept, path)
  if (by === 'huge') fs.closeSync(fs.openSync(path, 'w'))
  if (by === 'huge') fs.truncateSync(path, 2 ** 40)
  if (by !== 'socket') return
  const directory = process.cwd()
  process.chdir(dirname(path)) // the path of a socket is short
  const server = createServer().listen(basename(path))
  process.chdir(directory)
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => server.close())
}

/** Looks and resumes as another process would; resolves to the code that `mine` ends with. */
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
    throw new Error('touched')
  if (fs.readFileSync(join(b.outside, 'folder', 'inner'), 'utf8') !== 'inner')
    throw new Error('touched')
  return mine
}

t.test('as it is, both are finished', { skip }, async t => {
  const b = await setUp(t)
  t.equal(await finishAll(b), 'done')
})

const UNREADABLE = 'ERR_SPOOL_UNREADABLE'
const CORRUPT = 'ERR_SPOOL_CORRUPT'
/** The list has moved it to the quarantine. */
const GONE = 'ERR_SPOOL_NOT_FOUND'
for (const [what, pathOf, codes] of [
  [
    'a record',
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
    t.test(`in place of ${what}: ${by}`, { skip }, async t => {
      const b = await setUp(t)
      await replace(t, pathOf(b), by as keyof typeof codes, b)
      t.equal(await finishAll(b), code)
      t.equal((await b.get('mine')) === undefined, code !== 'done')
    })
  }
}

t.test('a link in place of an upload: neither followed nor listed', { skip }, async t => {
  const b = await setUp(t)
  fs.renameSync(b.mine, join(b.outside, 'moved'))
  fs.symlinkSync(join(b.outside, 'moved'), b.mine)
  t.equal(await finishAll(b), 'ERR_SPOOL_NOT_FOUND')
  const again = b.another().upload('mine', () => streamOf(DATA), { id: 'mine' })
  await t.rejects(again, { code: UNREADABLE }, 'nor begun anew')
  t.ok(fs.lstatSync(b.mine).isSymbolicLink())
  t.ok(fs.existsSync(join(b.outside, 'moved', 'checkpoint.json')), 'nothing there was touched')
})

t.test('rubbish and a quarantine that lead elsewhere are not emptied', { skip }, async t => {
  const b = await setUp(t)
  fs.symlinkSync(join(b.outside, 'folder'), join(b.dir, '.removed-a-0123456789ab'))
  fs.symlinkSync(b.outside, join(b.dir, 'quarantine'))
  t.equal(await finishAll(b), 'done')
  await b.another().prune({ olderThan: 0, sealed: true })
  t.same(fs.readdirSync(b.outside).toSorted(), ['folder', 'precious'])
  t.same(fs.readdirSync(join(b.outside, 'folder')), ['inner'])
})

t.test(
  'an upload that is damaged does not go into a quarantine that leads elsewhere',
  { skip },
  async t => {
    const b = await setUp(t)
    fs.symlinkSync(b.outside, join(b.dir, 'quarantine'))
    fs.writeFileSync(checkpointOf(b), '{}')
    await t.rejects(b.another().resume('mine'), /link/)
    t.same(fs.readdirSync(b.outside).toSorted(), ['folder', 'precious'])
    t.ok(fs.existsSync(b.mine))
  },
)

t.test('names that could be anything', { skip }, async t => {
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
  'another user’s upload is not finished with our keys, nor removed',
  { skip: skip || asRoot },
  async t => {
    const b = await setUp(t)
    fs.chownSync(b.mine, OTHER_UID, OTHER_UID)
    const warnings: string[] = []
    const spool = b.another()
    spool.on('warning', ({ message }) => warnings.push(message))
    await spool.uploads()
    t.match(warnings.join(), /belongs to user 12345/)
    const sent = b.oss.requests.length
    for (const work of [
      () => spool.resume('mine'),
      () => spool.abort('mine'),
      () => spool.upload('mine', () => streamOf(DATA), { id: 'mine' }),
    ]) {
      await t.rejects(async () => void (await work()), { code: UNREADABLE, resumable: false })
    }
    t.equal(b.oss.requests.length, sent, 'OSS was asked nothing')
    t.equal(await finishAll(b), UNREADABLE)
    await spool.prune({ olderThan: 0, sealed: true })
    t.ok(fs.existsSync(checkpointOf(b)))
  },
)

t.test('another user’s rubbish is left to that user', { skip: skip || asRoot }, async t => {
  const b = await setUp(t)
  const rubbish = join(b.dir, '.removed-a-0123456789ab')
  fs.mkdirSync(rubbish)
  fs.writeFileSync(join(rubbish, 'file'), '')
  fs.chownSync(rubbish, OTHER_UID, OTHER_UID)
  t.equal(await finishAll(b), 'done')
  t.same(fs.readdirSync(rubbish), ['file'])
})

t.test('a directory that others may write to is spoken of', { skip }, async t => {
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
    t.match(unsafePermissionsWarning(directory), /belongs to user 12345/)
  }
  const b = await bench(t)
  fs.mkdirSync(b.dir)
  fs.chmodSync(b.dir, 0o777)
  await b.spool.upload('key', () => streamOf(DATA))
  t.match(b.warnings.map(({ message }) => message).join(), /everyone can write/)
  t.same(fs.readdirSync(b.dir), [])
})

t.test(
  'hard links: the temp file of an upload is never written again once it is sealed',
  { skip },
  async t => {
    const b = await setUp(t)
    const linked = join(b.outside, 'linked')
    fs.linkSync(tempFileOf(b), linked)
    t.equal(await finishAll(b), 'done')
    t.ok(fs.readFileSync(linked).equals(DATA), 'only a name was removed')
  },
)

t.test('a file that is read in place and became a FIFO is not waited for', { skip }, async t => {
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
})
