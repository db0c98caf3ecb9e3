/**
 * Ownership of uploads: locks between and within processes, removal, and quarantine of data that cannot be
 * trusted. No file that does not belong to an upload is ever touched.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { encodeCheckpoint } from '../../src/disk/checkpoint.js'
import { Claim } from '../../src/disk/claim.js'
import { Lock, ownerOf } from '../../src/disk/lock.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { SpoolDirectory } from '../../src/disk/spool-directory.js'
import { SpoolError } from '../../src/errors.js'
import type { SpoolWarning } from '../../src/upload/run/context.js'
import { listUploads } from '../../src/upload/maintenance/list.js'
import { checkpointOf, sealed, spooling } from '../support/records.js'
import { tinyDisk } from '../support/tiny-disk.js'
import { long } from '../support/long.js'

const lockChild = fileURLToPath(new URL('../support/lock-child.js', import.meta.url))

/** Starts a child process that uses the lock. Resolves with its first line of output. */
async function child(t: Test, ...args: string[]): Promise<{ process: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [lockChild, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  const said = await new Promise<string>(resolve => lines.once('line', resolve))
  return { process: child, said }
}

async function lock(directory: string): Promise<Lock> {
  const answer = await Lock.acquire(directory)
  if (typeof answer === 'string') throw new Error(answer)
  return answer
}

/** Returns a spool with one upload per id, each with a lock, a checkpoint and a temp file. */
function spoolWith(t: Test, ...ids: string[]): LocalRecordStore {
  const spool = new LocalRecordStore(t.testdir({}))
  for (const id of ids) upload(spool, id, encodeCheckpoint(checkpointOf(sealed(), id)))
  return spool
}

function upload(spool: LocalRecordStore, id: string, checkpoint?: string): void {
  fs.mkdirSync(spool.directoryOf(id))
  fs.writeFileSync(join(spool.directoryOf(id), 'lock'), '')
  fs.writeFileSync(join(spool.directoryOf(id), 'spool-1-a'), `bytes of ${id}`)
  if (checkpoint !== undefined) fs.writeFileSync(spool.checkpointPath(id), checkpoint)
}

/** Returns every file under `path` with its content. */
function tree(path: string): Record<string, string> {
  return Object.fromEntries(
    fs
      .readdirSync(path, { recursive: true, withFileTypes: true })
      .filter(entry => !entry.isDirectory())
      .map(entry => join(entry.parentPath, entry.name))
      .map(file => [file.slice(path.length + 1), fs.readFileSync(file, 'utf8')]),
  )
}

const quarantineOf = (spool: LocalRecordStore): string[] =>
  fs.existsSync(join(spool.path, 'quarantine'))
    ? fs.readdirSync(join(spool.path, 'quarantine'))
    : []

t.test('Lock', async t => {
  t.test('a lock is exclusive even within one process and reports its owner', async t => {
    const directory = t.testdir({})
    t.equal(await ownerOf(directory), undefined)
    const first = await lock(directory)
    t.equal(await Lock.acquire(directory), 'owned')
    t.same(await ownerOf(directory), { pid: process.pid, host: hostname() })
    first.release()
    t.equal(await ownerOf(directory), undefined)
    const second = await lock(directory)
    first.release() // a second release has no effect
    t.equal(await Lock.acquire(directory), 'owned')
    second.release()
    t.equal(fs.statSync(join(directory, 'lock')).mode & 0o777, 0o600)
  })

  void long(
    t,
    'a lock is held while its process is frozen and freed when it is killed',
    async t => {
      const directory = t.testdir({})
      const { process: owner, said } = await child(t, 'hold', directory)
      t.equal(said, 'holding')
      t.equal(await Lock.acquire(directory), 'owned')
      t.same(await ownerOf(directory), { pid: owner.pid, host: hostname() })
      owner.kill('SIGSTOP')
      await sleep(300)
      t.equal(await Lock.acquire(directory), 'owned', 'frozen')
      const gone = new Promise(resolve => owner.once('exit', resolve))
      owner.kill('SIGKILL')
      await gone
      t.equal(await ownerOf(directory), undefined)
      ;(await lock(directory)).release()
    },
  )

  void long(t, 'Lock.acquire() never fails because another process reads the owner', async t => {
    const directory = t.testdir({})
    await Promise.all([child(t, 'probe', directory), child(t, 'probe', directory)])
    const refused: number[] = []
    for (let i = 0; i < 300; i++) {
      const answer = await Lock.acquire(directory)
      if (typeof answer === 'string') refused.push(i)
      else answer.release()
    }
    t.same(refused, [])
  })

  t.test('Lock.acquire() returns "gone" if the directory was renamed while it waited', async t => {
    const root = t.testdir({ upload: {}, next: {} })
    const directory = join(root, 'upload')
    t.equal(await Lock.acquire(join(root, 'none')), 'gone')
    const owner = await lock(directory)
    const [waiter, secondWaiter] = [Lock.acquire(directory), Lock.acquire(directory)]
    await sleep(5) // both have opened the file and are waiting
    fs.renameSync(directory, join(root, '.removed'))
    t.equal(await secondWaiter, 'gone', 'not "owned", because the owned directory is elsewhere')
    owner.release()
    t.equal(await waiter, 'gone')
    fs.renameSync(join(root, 'next'), directory)
    const successor = await lock(directory)
    t.equal(await Lock.acquire(directory), 'owned')
    successor.release()
  })

  t.test(
    'Lock.acquire() does not mistake the lock of a renamed directory for that of its successor',
    async t => {
      const root = t.testdir({ upload: {} })
      const directory = join(root, 'upload')
      const owner = await lock(directory)
      const waiter = Lock.acquire(directory)
      await sleep(5)
      fs.renameSync(directory, join(root, '.removed'))
      fs.mkdirSync(directory)
      const successor = await lock(directory)
      owner.release()
      t.equal(await waiter, 'gone')
      successor.release()
    },
  )

  t.test('Lock.acquire() follows no symbolic link and ignores no error', async t => {
    const directory = t.testdir({ link: {}, folder: { lock: {} }, file: '' })
    fs.symlinkSync(join(directory, 'file'), join(directory, 'link', 'lock'))
    await t.rejects(Lock.acquire(join(directory, 'link')), { code: 'ELOOP' })
    await t.rejects(Lock.acquire(join(directory, 'folder')), { code: 'EISDIR' })
    await t.rejects(Lock.acquire(join(directory, 'file')), { code: 'ENOTDIR' })
  })

  t.test(
    'Lock.acquire() works on a full disk, so that uploads can be finished or aborted',
    async t => {
      const disk = tinyDisk(t)
      if (disk === undefined) return
      const [used, fresh] = [join(disk.path, 'used'), join(disk.path, 'fresh')]
      for (const path of [used, fresh]) fs.mkdirSync(path)
      ;(await lock(used)).release()
      disk.fill()
      for (const path of [used, fresh]) {
        const owner = await lock(path)
        t.equal(await Lock.acquire(path), 'owned')
        t.ok(await ownerOf(path), 'an owner, possibly an unknown one')
        owner.release()
      }
    },
  )

  t.test('ownerOf() reports an unknown owner if the lock file is unreadable', async t => {
    const directory = t.testdir({})
    const owner = await lock(directory)
    for (const text of ['', 'garbage', '{"pid":1}', '\0'.repeat(40)]) {
      fs.writeFileSync(join(directory, 'lock'), text)
      t.same(await ownerOf(directory), { pid: 0, host: 'unknown' })
    }
    owner.release()
  })
})

/** Renames an upload as a process does that is killed right after. Returns the new path. */
function beginRemoval(spool: LocalRecordStore, id: string): string {
  const record = fs.readFileSync(spool.checkpointPath(id))
  const digest = createHash('sha256').update(record).digest('hex').slice(0, 12)
  const removed = join(spool.path, `.removed-${id}-${digest}`)
  fs.renameSync(spool.directoryOf(id), removed)
  return removed
}

t.test('spool directory', async t => {
  t.test('create() makes private directories, and ids() lists only possible uploads', async t => {
    const spool = new LocalRecordStore(join(t.testdir({}), 'a', 'b'))
    t.same(await spool.ids(), [])
    await spool.create('one')
    await spool.create('one')
    t.equal(fs.statSync(spool.path).mode & 0o777, 0o700)
    t.equal(fs.statSync(spool.directoryOf('one')).mode & 0o777, 0o700)
    for (const name of ['quarantine', '.removed-x', '.hidden', 'lost+found']) {
      fs.mkdirSync(join(spool.path, name))
    }
    fs.writeFileSync(join(spool.path, 'file'), '')
    await spool.create('A')
    t.same(await spool.ids(), ['A', 'one'])
  })

  t.test('no id leads out of the spool directory', async t => {
    const root = t.testdir({ outside: { 'checkpoint.json': '{}' }, spool: {} })
    const spool = new LocalRecordStore(join(root, 'spool'))
    for (const id of ['..', '.', '', '../outside', '/etc', 'a/b', 'a\\b', '.hidden', 'a\0b']) {
      t.throws(() => spool.directoryOf(id), TypeError)
      await t.rejects(Claim.acquire(spool, id), TypeError)
      await t.rejects(Claim.acquireExisting(spool, id), { code: 'ERR_SPOOL_NOT_FOUND' })
    }
    t.same(fs.readdirSync(root).toSorted(), ['outside', 'spool'])
    t.same(tree(root), { 'outside/checkpoint.json': '{}' })
  })

  t.test('remove() leaves nothing of the upload', async t => {
    const spool = spoolWith(t, 'one', 'other')
    await spool.remove('one')
    t.same(fs.readdirSync(spool.path), ['other'])
    await t.rejects(spool.remove('one'), { code: 'ENOENT' })
  })

  t.test('remove() renames the directory first and unlinks the checkpoint last', async t => {
    const fsp = await import('node:fs/promises')
    const spool = spoolWith(t, 'one')
    const order: string[] = []
    const mocked = await t.mockImport<typeof import('../../src/disk/spool-directory.js')>(
      new URL('../../src/disk/spool-directory.js', import.meta.url).href,
      {
        'node:fs/promises': t.createMock(fsp, {
          rename: async (from: string, to: string) => {
            order.push(`rename ${basename(from)}`)
            await fsp.rename(from, to)
          },
          unlink: async (path: string) => {
            order.push(basename(path))
            await fsp.unlink(path)
          },
          rmdir: async (path: string) => {
            order.push('the directory')
            await fsp.rmdir(path)
          },
        }),
      },
    )
    await new mocked.SpoolDirectory(spool.path).remove('one')
    t.same(order, ['rename one', 'lock', 'spool-1-a', 'checkpoint.json', 'the directory'])
  })

  t.test('sweep() finishes an interrupted removal, even if called concurrently', async t => {
    const spool = spoolWith(t, 'one', 'two', 'stays')
    beginRemoval(spool, 'one')
    fs.unlinkSync(join(beginRemoval(spool, 'two'), 'spool-1-a'))
    fs.mkdirSync(join(spool.path, '.removed-empty-0123456789ab'))
    for (const name of ['.removed-', '.removed-by-me']) fs.mkdirSync(join(spool.path, name))
    t.same(await spool.ids(), ['stays'])
    await Promise.all([spool.sweep(), new LocalRecordStore(spool.path).sweep(), spool.sweep()])
    t.same(fs.readdirSync(spool.path).toSorted(), ['.removed-', '.removed-by-me', 'stays'])
    await new LocalRecordStore(join(spool.path, 'none')).sweep()
  })

  t.test('sweep() leaves and names uploads that were only renamed', async t => {
    const spool = spoolWith(t, 'one', 'bytes')
    fs.unlinkSync(spool.checkpointPath('bytes'))
    const renamed = ['bytes', 'one'].map(id => ({
      id,
      path: join(spool.path, `.removed-${id}-0123456789ab`),
    }))
    const before = renamed.map(({ id }) => tree(spool.directoryOf(id)))
    for (const { id, path } of renamed) fs.renameSync(spool.directoryOf(id), path)
    const found = await spool.sweep()
    t.same(
      found.toSorted((a, b) => a.id.localeCompare(b.id)),
      renamed,
    )
    t.same(
      renamed.map(({ path }) => tree(path)),
      before,
    )
  })

  t.test(
    'remove() and removeOtherFiles() change no upload that took the place of the locked one',
    async t => {
      const spool = spoolWith(t, 'one', 'two')
      const lock = await spool.lock('one')
      if (typeof lock === 'string') throw new Error(lock)
      fs.renameSync(spool.directoryOf('one'), join(spool.path, 'away'))
      fs.renameSync(spool.directoryOf('two'), spool.directoryOf('one'))
      const before = tree(spool.path)
      await t.rejects(lock.remove(), { name: 'UntrustedFileError' })
      await t.rejects(lock.removeOtherFiles([]), { name: 'UntrustedFileError' })
      t.same(tree(spool.path), before)
      await lock.release()
    },
  )

  t.test('remove() succeeds if the sweep of another process finishes it', async t => {
    const ids = Array.from({ length: 50 }, (_, i) => `id-${i}`)
    const spool = spoolWith(t, ...ids)
    const directory = new SpoolDirectory(spool.path)
    const state = { isRemoving: true }
    const removing = Promise.all(ids.map(id => directory.remove(id))).finally(() => {
      state.isRemoving = false
    })
    while (state.isRemoving) await new SpoolDirectory(spool.path).sweep()
    t.same(
      (await removing).filter(error => error !== undefined),
      [],
    )
    t.same(fs.readdirSync(spool.path), [])
  })

  t.test('sweep() ignores leftovers that it cannot remove', async t => {
    const spool = spoolWith(t)
    const fsp = await import('node:fs/promises')
    const rm = (): Promise<void> =>
      Promise.reject(Object.assign(new Error('x'), { code: 'EACCES' }))
    const mocked = await t.mockImport<typeof import('../../src/disk/spool-directory.js')>(
      new URL('../../src/disk/spool-directory.js', import.meta.url).href,
      { 'node:fs/promises': t.createMock(fsp, { rm }) },
    )
    fs.mkdirSync(join(spool.path, '.removed-one-0123456789ab'))
    await t.resolves(new mocked.SpoolDirectory(spool.path).sweep())
  })

  t.test('quarantine() keeps every file of the upload', async t => {
    const spool = spoolWith(t, 'one')
    const before = tree(spool.directoryOf('one'))
    const path = await spool.quarantine('one')
    t.match(basename(path), /^one-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/)
    t.same(tree(path), before)
    t.same(await spool.ids(), [])
    const [found, ...more] = await spool.quarantined()
    t.match(found, { name: basename(path), path })
    t.ok(Math.abs((found?.since ?? 0) - Date.now()) < 60_000)
    t.same(more, [])
    await spool.discardQuarantined(basename(path))
    t.same(await spool.quarantined(), [])
  })

  t.test('removeOtherFiles() removes only unreferenced files of the spool', async t => {
    const spool = spoolWith(t, 'one')
    const directory = spool.directoryOf('one')
    for (const name of ['spool-2-b', 'spool-3-c', 'checkpoint.json.1-ab.tmp', 'notes.txt']) {
      fs.writeFileSync(join(directory, name), '')
    }
    fs.mkdirSync(join(directory, 'folder'))
    await spool.removeOtherFiles('one', ['spool-2-b'])
    const left = ['checkpoint.json', 'folder', 'lock', 'notes.txt', 'spool-2-b']
    t.same(fs.readdirSync(directory).toSorted(), left)
  })
})

t.test("a spool in a directory with the user's own files touches none of them", async t => {
  const home = t.testdir({
    'file.txt': 'mine',
    Documents: { 'thesis.tex': 'mine', deep: { er: 'mine' } },
    project: { 'checkpoint.json': '{"step":7}', 'model.bin': 'mine' },
    locked: { lock: '', 'data.db': 'mine' },
    'lost+found': { '#1': 'mine' },
    '.removed-by-me': { a: 'mine' },
  })
  const before = tree(home)
  const spool = new LocalRecordStore(home)
  const warnings: SpoolWarning[] = []
  t.same(await listUploads(spool, warning => warnings.push(warning)), [])
  t.same(warnings, [])
  await spool.sweep()
  for (const id of ['Documents', 'project', 'locked', 'file.txt']) {
    await t.rejects(Claim.acquire(spool, id), { code: 'ERR_SPOOL_UNREADABLE' }, id)
    await t.rejects(Claim.acquireExisting(spool, id), { code: 'ERR_SPOOL_NOT_FOUND' }, id)
  }
  t.same(tree(home), before)
  const claim = await Claim.acquire(spool, 'upload')
  await claim.db.write(checkpointOf(sealed(), 'upload'))
  await claim.release()
  t.match(await listUploads(spool, warning => warnings.push(warning)), [{ id: 'upload' }])
  await (await Claim.acquireExisting(spool, 'upload')).remove()
  t.same(tree(home), before)
})

t.test('Claim', async t => {
  t.test('a claim creates the upload, keeps saved checkpoints and is exclusive', async t => {
    const spool = spoolWith(t)
    const claim = await Claim.acquire(spool, 'one')
    t.equal(claim.checkpoint, null)
    const state = checkpointOf(sealed(), 'one')
    await claim.db.write(state)
    t.same(claim.db.saved, state)
    for (const method of ['acquire', 'acquireExisting'] as const) {
      await t.rejects(Claim[method](spool, 'one'), {
        code: 'ERR_SPOOL_LOCKED',
        resumable: true,
        id: 'one',
      })
    }
    const other = await Claim.acquire(spool, 'two')
    other.release()
    await claim.release()
    const again = await Claim.acquireExisting(spool, 'one')
    t.same(again.checkpoint, state)
    await again.remove()
    t.notOk(fs.existsSync(again.directory))
    await t.rejects(Claim.acquireExisting(spool, 'one'), { code: 'ERR_SPOOL_NOT_FOUND' })
  })

  t.test('Claim.acquire() succeeds for exactly one of many concurrent callers', async t => {
    const spool = spoolWith(t, 'one')
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, () => Claim.acquire(spool, 'one')),
    )
    const won = answers.filter(answer => answer.status === 'fulfilled')
    const codes = answers.map(answer => answer.status === 'rejected' && answer.reason.code)
    t.equal(won.length, 1)
    t.same(new Set(codes), new Set([false, 'ERR_SPOOL_LOCKED']))
    await won[0]?.value.release()
  })

  t.test(
    'Claim.acquire() stays exclusive while uploads are created, listed and removed',
    async t => {
      const spool = spoolWith(t)
      let [owners, rounds] = [0, 0]
      const failures: unknown[] = []
      const end = Date.now() + 700
      const isWorking = (): boolean => Date.now() < end || (rounds <= 5 && failures.length === 0)
      const work = async (i: number): Promise<void> => {
        while (isWorking()) {
          try {
            const claim = await Claim.acquire(spool, 'one')
            if (++owners > 1) failures.push('two owners')
            if (i % 2 === 0) await claim.db.write(checkpointOf(sealed(), 'one'))
            await sleep(1)
            owners--
            rounds++
            await claim.remove()
          } catch (error) {
            if (!(error instanceof SpoolError && error.code === 'ERR_SPOOL_LOCKED'))
              failures.push(error)
          }
        }
      }
      const look = async (): Promise<void> => {
        while (isWorking()) await listUploads(spool, warning => failures.push(warning))
      }
      await Promise.all([work(0), work(1), work(2), look()])
      t.same(failures, [])
      t.ok(rounds > 5, `${rounds} rounds`)
      await listUploads(spool, warning => failures.push(warning))
      t.same(fs.readdirSync(spool.path), [])
    },
  )

  t.test('releaseOrRemove() removes an upload only if it has no checkpoint', async t => {
    const spool = spoolWith(t)
    const first = await Claim.acquire(spool, 'one')
    await first.releaseOrRemove()
    t.same(fs.readdirSync(spool.path), [])
    const second = await Claim.acquire(spool, 'one')
    await second.db.write(checkpointOf(sealed(), 'one'))
    await second.releaseOrRemove()
    await second.releaseOrRemove()
    const third = await Claim.acquireExisting(spool, 'one')
    t.equal(third.checkpoint.id, 'one')
    await third.release()
  })

  t.test('a claim releases the lock when its directory was moved away', async t => {
    const spool = spoolWith(t, 'one')
    const claim = await Claim.acquireExisting(spool, 'one')
    fs.renameSync(claim.directory, join(spool.path, '.mine'))
    await t.rejects(claim.remove(), { code: 'ENOENT' })
    fs.renameSync(join(spool.path, '.mine'), claim.directory)
    await (await Claim.acquireExisting(spool, 'one')).release()
  })

  t.test(
    'Claim.acquireExisting() cleans up an upload that crashed before its first checkpoint',
    async t => {
      const spool = spoolWith(t)
      await spool.create('empty')
      upload(spool, 'no-checkpoint')
      fs.writeFileSync(join(spool.directoryOf('no-checkpoint'), 'checkpoint.json.9-ab.tmp'), '{"fo')
      for (const id of ['empty', 'no-checkpoint']) {
        await t.rejects(Claim.acquireExisting(spool, id), { code: 'ERR_SPOOL_NOT_FOUND' })
      }
      t.same(fs.readdirSync(spool.path), [])
    },
  )
})

t.test('untrusted uploads', async t => {
  const whole = encodeCheckpoint(checkpointOf(sealed(), 'bad'))
  const damages: Record<string, string> = {
    truncated: whole.slice(0, -40),
    empty: '',
    null: 'null',
    'an empty object': '{}',
    garbage: '\0\0\0\0',
    'a changed byte': whole.replace('a/key.csv', 'a/key.tsv'),
    'the checkpoint of another id': encodeCheckpoint(checkpointOf(sealed(), 'other')),
  }
  for (const [name, text] of Object.entries(damages)) {
    t.test(
      `a damaged checkpoint (${name}) is quarantined with its temp file and reported`,
      async t => {
        const spool = spoolWith(t, 'good')
        upload(spool, 'bad', text)
        const before = tree(spool.directoryOf('bad'))
        await t.rejects(Claim.acquire(spool, 'bad'), {
          code: 'ERR_SPOOL_CORRUPT',
          resumable: false,
        })
        t.notOk(fs.existsSync(spool.directoryOf('bad')))
        const [where = ''] = quarantineOf(spool)
        t.match({ ...tree(join(spool.path, 'quarantine', where)), lock: '' }, before)
        const claim = await Claim.acquire(spool, 'bad')
        t.equal(claim.checkpoint, null, 'its id can be used again')
        await claim.remove()
        const good = await Claim.acquireExisting(spool, 'good') // other uploads are unchanged
        await good.release()
      },
    )
  }

  const later = JSON.stringify({ format: 99, digest: 'new', checkpoint: {} })
  const untouchable: Record<string, (spool: LocalRecordStore) => void> = {
    'later format': spool => upload(spool, 'bad', later),
    'checkpoint is a directory': spool => {
      upload(spool, 'bad')
      fs.mkdirSync(spool.checkpointPath('bad'))
    },
    'checkpoint is a symlink loop': spool => {
      upload(spool, 'bad')
      fs.symlinkSync('checkpoint.json', spool.checkpointPath('bad'))
    },
    'lock is a directory': spool => {
      upload(spool, 'bad', whole)
      fs.rmSync(join(spool.directoryOf('bad'), 'lock'))
      fs.mkdirSync(join(spool.directoryOf('bad'), 'lock'))
    },
  }
  for (const [name, make] of Object.entries(untouchable)) {
    t.test(`an unreadable upload (${name}) is reported and left in place`, async t => {
      const spool = spoolWith(t, 'good')
      make(spool)
      const before = fs.readdirSync(spool.directoryOf('bad'))
      for (const method of ['acquire', 'acquireExisting'] as const) {
        await t.rejects(Claim[method](spool, 'bad'), {
          code: 'ERR_SPOOL_UNREADABLE',
          resumable: name.startsWith('lock '), // its checkpoint is readable and sealed
        })
      }
      t.same(fs.readdirSync(spool.directoryOf('bad')), before)
      t.same(quarantineOf(spool), [])
    })
  }

  t.test('an id that differs only in case is in use on a case-insensitive disk', async t => {
    const spool = spoolWith(t)
    // A case-insensitive disk shows the upload Orders under the name orders.
    upload(spool, 'orders', encodeCheckpoint(checkpointOf(sealed(), 'Orders')))
    await t.rejects(Claim.acquire(spool, 'orders'), { code: 'ERR_SPOOL_ID_IN_USE' })
    t.same(quarantineOf(spool), [])
    t.ok(fs.existsSync(spool.checkpointPath('orders')))
  })

  t.test('a damaged upload is quarantined only by the holder of its lock', async t => {
    const spool = spoolWith(t, 'bad')
    const owner = await Claim.acquireExisting(spool, 'bad')
    fs.writeFileSync(spool.checkpointPath('bad'), 'garbage')
    const warnings: SpoolWarning[] = []
    t.same(await listUploads(spool, warning => warnings.push(warning)), [])
    t.same(quarantineOf(spool), [])
    owner.release()
    await listUploads(spool, warning => warnings.push(warning))
    t.equal(quarantineOf(spool).length, 1)
  })

  t.test(
    'listUploads() lists the other uploads and warns about a quarantined one once',
    async t => {
      const spool = spoolWith(t, 'a', 'c')
      upload(spool, 'damaged', '{')
      upload(spool, 'later', later)
      upload(spool, 'crashed')
      await spool.create('empty')
      const look = async (): Promise<[string[], unknown[]]> => {
        const warnings: SpoolWarning[] = []
        const statuses = await listUploads(spool, warning => warnings.push(warning))
        return [statuses.map(status => status.id), warnings.map(({ cause }) => codeOf(cause))]
      }
      const [first, codes] = await look()
      t.same(first.toSorted(), ['a', 'c'])
      t.same(codes, ['ERR_SPOOL_CORRUPT', 'ERR_SPOOL_UNREADABLE'])
      t.same(await look(), [first, ['ERR_SPOOL_UNREADABLE']])
      t.same(fs.readdirSync(spool.path).toSorted(), ['a', 'c', 'later', 'quarantine'])
    },
  )

  t.test('listUploads() shows the owner of an upload', async t => {
    const spool = spoolWith(t, 'one')
    const claim = await Claim.acquireExisting(spool, 'one')
    const owner = { pid: process.pid, host: hostname() }
    t.match(await listUploads(spool, () => {}), [{ id: 'one', phase: 'sealed', owner }])
    await claim.release()
    const [status] = await listUploads(spool, () => {})
    t.notOk(status === undefined || 'owner' in status)
  })
})

function codeOf(error: unknown): unknown {
  return error instanceof SpoolError ? error.code : error
}

t.test('an upload whose lock cannot be opened is resumable if it is sealed', async t => {
  const spool = spoolWith(t, 'sealed')
  upload(spool, 'spooling', encodeCheckpoint(checkpointOf(spooling(), 'spooling')))
  upload(spool, 'damaged', 'no checkpoint')
  for (const id of ['sealed', 'spooling', 'damaged']) {
    const path = join(spool.directoryOf(id), 'lock')
    fs.rmSync(path)
    fs.symlinkSync('elsewhere', path) // never followed, fails with ELOOP
    const before = fs.readdirSync(spool.path, { recursive: true })
    const resumable = id === 'sealed'
    await t.rejects(
      Claim.acquireExisting(spool, id),
      { code: 'ERR_SPOOL_UNREADABLE', resumable },
      id,
    )
    t.same(fs.readdirSync(spool.path, { recursive: true }), before, 'nothing is changed')
  }
})
