/**
 * The two kinds of file of an upload. The checkpoint is replaced completely or not at all, whichever step
 * fails. The temp file returns exactly the bytes written to it, or fails.
 */
import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as fsp from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { Checkpoint } from '../../src/disk/checkpoint.js'
import { CheckpointDb, CheckpointFile } from '../../src/disk/checkpoint-db.js'
import { TempFile, TempFileDamagedError } from '../../src/disk/temp-file.js'
import { checkpointOf, spooling } from '../support/records.js'
import { tinyDisk } from '../support/tiny-disk.js'

const checkpoint = (spooled: number, key = 'key'): Checkpoint => ({
  ...checkpointOf({ ...spooling(), spooled }),
  key,
})

const read = (path: string): Promise<Checkpoint | null> => new CheckpointFile(path).read()

/** System calls that replace a checkpoint, in order. */
const STEPS = [
  'open',
  'write',
  'short write',
  'sync',
  'close',
  'rename',
  'open directory',
  'sync directory',
] as const
type Step = (typeof STEPS)[number] | 'unlink'

interface FaultyStore {
  readonly store: CheckpointDb
  readonly counts: { replaced: number }
  /** The steps executed, in order. */
  readonly steps: Step[]
  /** Makes the next such step fail. */
  fail(step: Step, code?: string): void
}

/** Returns a store whose file system fails on demand. */
async function faultyStore(t: Test, path: string): Promise<FaultyStore> {
  const failing = new Map<Step, string>()
  const steps: Step[] = []
  const counts = { replaced: 0 }
  const step = (name: Step): void => {
    steps.push(name)
    const code = failing.get(name)
    if (!failing.delete(name)) return
    throw Object.assign(new Error(`${code}: ${name}`), { code, syscall: name })
  }
  const directories = new Set<number>()
  /** Wraps `run` so that `promisify` returns it. */
  const asynchronous = (run: (...of: never[]) => Promise<unknown>): object =>
    Object.assign(() => undefined, { [promisify.custom]: run })
  const writeFile = promisify(fs.writeFile)
  const fsync = promisify(fs.fsync)
  const calls = {
    open: asynchronous(async (at: string, flags: string, mode: number) => {
      step('open')
      return promisify(fs.open)(at, flags, mode)
    }),
    openSync: (at: string, flags: string) => {
      step('open directory')
      const fd = fs.openSync(at, flags)
      directories.add(fd)
      return fd
    },
    writeFile: asynchronous(async (fd: number, text: string) => {
      if (failing.has('short write')) {
        await writeFile(fd, text.slice(0, text.length / 2))
        step('short write')
      }
      step('write')
      await writeFile(fd, text)
    }),
    fsync: asynchronous(async (fd: number) => {
      step(directories.has(fd) ? 'sync directory' : 'sync')
      await fsync(fd)
    }),
    closeSync: (fd: number) => {
      fs.closeSync(fd)
      if (!directories.delete(fd)) step('close')
    },
  }
  const rename = async (from: string, to: string): Promise<void> => {
    step('rename')
    await fsp.rename(from, to)
    counts.replaced++
  }
  const unlink = async (at: string): Promise<void> => {
    step('unlink')
    await fsp.unlink(at)
  }
  // A mock replaces only the imports of one module, so the importing module is mocked, too.
  const durable = await t.mockImport<typeof import('../../src/disk/durable-fs.js')>(
    new URL('../../src/disk/durable-fs.js', import.meta.url).href,
    {
      'node:fs': t.createMock(fs, calls),
      'node:fs/promises': t.createMock(fsp, { rename, unlink }),
    },
  )
  const { CheckpointDb: Store, CheckpointFile: File } = await t.mockImport<
    typeof import('../../src/disk/checkpoint-db.js')
  >(new URL('../../src/disk/checkpoint-db.js', import.meta.url).href, {
    [new URL('../../src/disk/durable-fs.js', import.meta.url).href]: durable,
  })
  return {
    store: new Store(new File(path)),
    counts,
    steps,
    fail: (name, code = 'EIO') => void failing.set(name, code),
  }
}

t.test('CheckpointDb', async t => {
  const pathIn = (t: Test): string => join(t.testdir({}), 'checkpoint.json')

  t.test('read() returns null without a file, otherwise the written checkpoint', async t => {
    const path = pathIn(t)
    t.equal(await new CheckpointDb(new CheckpointFile(path)).read(), null)
    const state = checkpoint(1)
    await new CheckpointDb(new CheckpointFile(path)).write(state)
    const store = new CheckpointDb(new CheckpointFile(path))
    t.same(await store.read(), state)
    t.same([store.checkpoint, store.saved], [state, state])
    t.equal((await fsp.stat(path)).mode & 0o777, 0o600)
    t.same(await fsp.readdir(dirname(path)), ['checkpoint.json'])
  })

  t.test('write() never exposes a partial checkpoint to a reader', async t => {
    const path = pathIn(t)
    const store = new CheckpointDb(new CheckpointFile(path))
    await store.write(checkpoint(0))
    const state = { writing: true }
    const writer = (async () => {
      for (let i = 1; i <= 50; i++) await store.write(checkpoint(i, 'k'.repeat((i * 37) % 900)))
      state.writing = false
    })()
    let reads = 0
    for (let last = 0; state.writing; reads++) {
      const { upload } = (await read(path))! // never without a file
      if (upload.spooled < last) t.fail('read() returned an older checkpoint')
      last = upload.spooled
    }
    await writer
    t.ok(reads > 0, `${reads} reads`)
  })

  t.test(
    'write() resolves when its checkpoint or a later one is on disk, and merges calls',
    async t => {
      const path = pathIn(t)
      const { store, counts } = await faultyStore(t, path)
      let latest = -1
      const wrong: string[] = []
      const writers = Array.from({ length: 300 }, async (_, i) => {
        await new Promise(resolve => setTimeout(resolve, i % 40))
        const mine = ++latest
        await store.write(checkpoint(mine))
        const there = (await read(path))!.upload.spooled // the file exists after a write
        if (there < mine) wrong.push(`${there} after ${mine}`)
      })
      await Promise.all(writers)
      t.same(wrong, [])
      const burst = counts.replaced
      const all = Array.from({ length: 500 }, (_, i) => store.write(checkpoint(i)))
      await Promise.all(all)
      t.ok(
        counts.replaced > burst && counts.replaced - burst <= 2,
        `${counts.replaced - burst} replacements for 500 writes`,
      )
      t.equal((await read(path))?.upload.spooled, 499, 'the last write wins')
      t.equal(store.saved?.upload.spooled, 499)
    },
  )

  t.test('write() during another write resolves when its checkpoint is on disk', async t => {
    const path = pathIn(t)
    const store = new CheckpointDb(new CheckpointFile(path))
    for (let i = 0; i < 20; i += 2) {
      const first = store.write(checkpoint(i))
      await new Promise(setImmediate) // the first write is in progress
      const second = store.write(checkpoint(i + 1))
      await first
      t.ok((store.saved?.upload.spooled ?? -1) >= i)
      await second
      t.equal((await read(path))?.upload.spooled, i + 1)
    }
  })

  t.test('idle() waits for pending writes, including failing ones', async t => {
    const path = pathIn(t)
    const store = new CheckpointDb(new CheckpointFile(path))
    void store.write(checkpoint(1))
    void store.write(checkpoint(2))
    await store.idle()
    t.equal(store.saved?.upload.spooled, 2)
    await fsp.rm(dirname(path), { recursive: true })
    const failing = store.write(checkpoint(3)).catch((error: unknown) => error)
    await store.idle()
    t.match(await failing, { code: 'ENOENT' })
    await store.idle()
  })

  for (const step of STEPS) {
    t.test(`write() rejects and stays usable after a failed ${step}`, async t => {
      const path = pathIn(t)
      const faulty = await faultyStore(t, path)
      const { store } = faulty
      await store.write(checkpoint(1))
      faulty.fail(step)
      await t.rejects(store.write(checkpoint(2)), { code: 'EIO' })
      const there = await read(path)
      // After the rename the new checkpoint is in place, and only its durability is uncertain.
      t.equal(there?.upload.spooled, step.endsWith('directory') ? 2 : 1)
      t.same(store.saved, there, '`saved` is the checkpoint on disk')
      t.same(await fsp.readdir(dirname(path)), ['checkpoint.json'], 'no temporary file is left')
      await store.write(checkpoint(3))
      t.equal((await read(path))?.upload.spooled, 3, 'the next write succeeds')
    })
  }

  t.test('write() rejects with the original error, not with a cleanup error', async t => {
    const path = pathIn(t)
    const faulty = await faultyStore(t, path)
    faulty.fail('write')
    faulty.fail('unlink', 'EROFS')
    await t.rejects(faulty.store.write(checkpoint(1)), { code: 'EIO' })
  })

  t.test('write() syncs the file before the rename and the directory after it', async t => {
    const { store, steps } = await faultyStore(t, pathIn(t))
    await store.write(checkpoint(1))
    t.same(steps, ['open', 'write', 'sync', 'close', 'rename', 'open directory', 'sync directory'])
  })

  t.test('write() keeps the old checkpoint intact on a full disk', async t => {
    const disk = tinyDisk(t)
    if (disk === undefined) return
    const path = join(disk.path, 'checkpoint.json')
    const store = new CheckpointDb(new CheckpointFile(path))
    await store.write(checkpoint(1))
    disk.fill()
    await t.rejects(store.write(checkpoint(2)), { code: 'ENOSPC' })
    t.equal((await read(path))?.upload.spooled, 1)
    t.equal(store.saved?.upload.spooled, 1)
    fs.truncateSync(join(disk.path, 'filling'), 48 * 1024)
    // Only a part of the checkpoint fits, so this write is short before it fails.
    await t.rejects(store.write(checkpoint(3, 'k'.repeat(60_000))), { code: 'ENOSPC' })
    t.equal((await read(path))?.upload.spooled, 1)
    t.same(fs.readdirSync(disk.path).toSorted(), ['checkpoint.json', 'filling'])
    await store.write(checkpoint(4))
    t.equal((await read(path))?.upload.spooled, 4)
  })
})

t.test('TempFile', async t => {
  const bytes = Buffer.from(Array.from({ length: 3 * 2 ** 20 + 17 }, (_, i) => (i * 31) >> (i % 5)))
  const make = async (t: Test, size = 0): Promise<TempFile> => {
    const file = TempFile.create(t.testdir({}))
    t.teardown(() => file.close())
    await file.append([bytes.subarray(0, size)])
    return file
  }

  /** Collects copies, because a chunk is valid only until the next one is requested. */
  const collect = async (chunks: AsyncIterable<Buffer>): Promise<Buffer> => {
    const copies: Buffer[] = []
    for await (const chunk of chunks) copies.push(Buffer.from(chunk))
    return Buffer.concat(copies)
  }

  t.test('create() makes a private file with a new, recognisable name', async t => {
    const [one, other] = [await make(t), TempFile.create(t.testdirName)]
    t.teardown(() => other.close())
    t.equal(fs.statSync(one.path).mode & 0o777, 0o600)
    t.match(one.name, /^spool-[A-Za-z0-9-]+$/, 'a name that a checkpoint accepts')
    t.not(one.name, other.name)
    t.equal(dirname(one.path), t.testdirName)
  })

  t.test(
    'append() accepts empty chunks and more chunks than one system call can write',
    async t => {
      const file = await make(t)
      const chunks = Array.from({ length: 5000 }, (_, i) => bytes.subarray(i * 7, i * 7 + (i % 8)))
      await file.append([])
      await file.append([Buffer.alloc(0), Buffer.alloc(0)])
      t.equal(file.size, 0)
      await file.append(chunks)
      await file.append([Buffer.alloc(0), Buffer.from('end'), Buffer.alloc(0)])
      const expected = Buffer.concat([...chunks, Buffer.from('end')])
      t.equal(file.size, expected.length)
      t.same(fs.readFileSync(file.path), expected)
    },
  )

  t.test('append() continues after a short write', async t => {
    // At most 5 bytes per call, as on a nearly full disk or after a signal.
    const short = (
      fd: number,
      chunks: readonly Uint8Array[],
      at: number,
    ): { bytesWritten: number } => ({
      bytesWritten: fs.writeSync(fd, Buffer.concat(chunks).subarray(0, 5), 0, 5, at),
    })
    const writev = Object.assign(() => {}, {
      [promisify.custom]: async (fd: number, chunks: readonly Uint8Array[], at: number) =>
        Buffer.concat(chunks).length < 5
          ? promisify(fs.writev)(fd, chunks, at)
          : short(fd, chunks, at),
    })
    const mocked = await t.mockImport<typeof import('../../src/disk/temp-file.js')>(
      new URL('../../src/disk/temp-file.js', import.meta.url).href,
      { 'node:fs': t.createMock(fs, { writev }) },
    )
    const { path } = await make(t)
    const file = await mocked.TempFile.open(dirname(path), basename(path))
    t.teardown(() => file.close())
    const chunks = [3, 0, 1, 8, 2, 5, 0, 4].map((size, i) => bytes.subarray(i * 10, i * 10 + size))
    await file.append(chunks)
    t.same(fs.readFileSync(path), Buffer.concat(chunks))
    t.equal(file.size, 23)
  })

  t.test('read() and chunks() return exactly the requested region', async t => {
    const size = bytes.length
    const file = await make(t, size)
    for (const [start, length] of [
      [0, 0],
      [0, 1],
      [0, size],
      [size - 1, 1],
      [size, 0],
      [5, 2 ** 20],
      [2 ** 20 - 1, 2 ** 20 + 2],
    ] as const) {
      const expected = bytes.subarray(start, start + length)
      t.ok(expected.equals(await file.read(start, length)), `read ${start}+${length}`)
      t.ok(expected.equals(await collect(file.chunks(start, length))), `chunks ${start}+${length}`)
    }
  })

  t.test('read() and chunks() reject a file that is too short', async t => {
    const file = await make(t, 1000)
    fs.truncateSync(file.path, 900)
    await t.rejects(file.read(0, 1000), TempFileDamagedError)
    await t.rejects(collect(file.chunks(500, 500)), TempFileDamagedError)
    t.same(await file.read(0, 900), bytes.subarray(0, 900))
  })

  t.test('read() uses the open descriptor after the file was renamed or removed', async t => {
    const file = await make(t, 100)
    fs.renameSync(file.path, `${file.path}-moved`)
    fs.writeFileSync(file.path, 'another file of the same name')
    t.same(await file.read(0, 100), bytes.subarray(0, 100))
    fs.rmSync(`${file.path}-moved`)
    t.same(await collect(file.chunks(50, 50)), bytes.subarray(50, 100))
  })

  t.test('chunks() never reuses the last chunk of an abandoned iteration', async t => {
    // A socket may still hold it.
    const file = await make(t, bytes.length)
    let held: Buffer = Buffer.alloc(0)
    for await (const chunk of file.chunks(1000, bytes.length - 1000)) {
      held = chunk
      break
    }
    for (let i = 0; i < 3; i++) await collect(file.chunks(0, bytes.length))
    t.same(held, bytes.subarray(1000, 1000 + held.length))
  })

  t.test('chunks() reuses its buffer for the next region', async t => {
    const file = await make(t, bytes.length)
    const buffers = new Set<ArrayBufferLike>()
    for (let i = 0; i < 5; i++) {
      for await (const chunk of file.chunks(0, bytes.length)) buffers.add(chunk.buffer)
    }
    t.equal(buffers.size, 1)
  })

  t.test('sync() rejects if an earlier background sync lost pages', async t => {
    let syncs = 0
    const fdatasync = (fd: number, done: (error: Error | null) => void): void => {
      const lost = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' })
      if (++syncs === 1)
        setImmediate(done, lost) // the kernel reports the loss only once
      else fs.fdatasync(fd, done)
    }
    const mocked = await t.mockImport<typeof import('../../src/disk/temp-file.js')>(
      new URL('../../src/disk/temp-file.js', import.meta.url).href,
      { 'node:fs': t.createMock(fs, { fdatasync }) },
    )
    const file = mocked.TempFile.create(t.testdir({}))
    t.teardown(() => file.close())
    const batch = Buffer.alloc(16 * 2 ** 20)
    for (let i = 0; i < 2; i++) await file.append([batch])
    await new Promise(resolve => setTimeout(resolve, 20))
    t.equal(syncs, 1, 'a background sync runs while bytes are still being appended')
    await t.rejects(file.sync(), { code: 'EIO' })
  })

  t.test('append() continues at the end of a truncated file', async t => {
    const file = await make(t, 100)
    await file.truncate(40)
    t.equal(file.size, 40)
    await file.append([Buffer.from('xyz')])
    await file.sync()
    t.same(fs.readFileSync(file.path), Buffer.concat([bytes.subarray(0, 40), Buffer.from('xyz')]))
  })

  t.test('open() reopens the same file and rejects paths that are not regular files', async t => {
    const file = await make(t, 100)
    const directory = dirname(file.path)
    const again = await TempFile.open(directory, file.name)
    t.equal(again.size, 100)
    await again.append([Buffer.from('more')])
    t.equal(fs.statSync(file.path).size, 104)
    await again.remove()
    await again.remove()
    await again.close()
    fs.mkdirSync(join(directory, 'directory'))
    fs.symlinkSync('/etc/hostname', join(directory, 'link'))
    const names = [file.name, 'directory', 'link']
    if (process.platform !== 'win32') {
      execFileSync('mkfifo', [join(directory, 'fifo')])
      names.push('fifo')
    }
    for (const name of names)
      await t.rejects(TempFile.open(directory, name), TempFileDamagedError, name)
  })

  t.test('append() rejects on a full disk and keeps the bytes already written', async t => {
    const disk = tinyDisk(t)
    if (disk === undefined) return
    const file = TempFile.create(disk.path)
    await file.append([bytes.subarray(0, 40_000)])
    await t.rejects(file.append([bytes.subarray(40_000, 80_000)]), { code: 'ENOSPC' })
    t.ok(file.size >= 40_000 && file.size <= 65_536, `${file.size} bytes`)
    t.ok(bytes.subarray(0, file.size).equals(await file.read(0, file.size)))
    await file.close()
  })
})
