/** `TempFile`: what waits for a file to be closed. The system calls are real, but some are delayed or refused. */
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'

const LARGE = Buffer.alloc(2 * 1024 * 1024, 'x')
const SMALL = Buffer.alloc(1000, 'x')
const close = promisify(fs.close)
const writev = promisify(fs.writev)

/** Loads `TempFile`. Descriptors are closed only after `free()`; until then, writes fail if the disk is `full`. */
async function setUp(t: Test) {
  let free: () => void = () => {}
  const freed = new Promise<void>(resolve => (free = resolve))
  const disk = { isFull: false, free: () => free() }
  const delayed = (): void => {}
  const refused = (): void => {}
  Object.assign(delayed, {
    [promisify.custom]: async (fd: number) => {
      await freed
      disk.isFull = false
      await close(fd)
    },
  })
  Object.assign(refused, {
    [promisify.custom]: async (fd: number, chunks: Uint8Array[], position: number) => {
      if (disk.isFull) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
      return writev(fd, chunks, position)
    },
  })
  const { TempFile } = await t.mockImport<typeof import('../../src/disk/temp-file.js')>(
    new URL('../../src/disk/temp-file.js', import.meta.url).href,
    { 'node:fs': t.createMock(fs, { close: delayed, writev: refused }) },
  )
  return { disk, directory: t.testdir({}), TempFile }
}

/** Returns whether `promise` is settled before `disk.free()` was called. */
async function isDone(promise: Promise<unknown>): Promise<boolean> {
  const pending = new Promise(resolve => setTimeout(resolve, 50, 'pending'))
  return (await Promise.race([promise, pending])) !== 'pending'
}

t.test('closing a large removed file does not wait until its bytes are freed', async t => {
  const { disk, directory, TempFile } = await setUp(t)
  const file = TempFile.create(directory)
  await file.append([LARGE])
  await file.remove()
  t.ok(await isDone(file.close()))
  t.same(fs.readdirSync(directory), [])
  disk.free()
})

t.test('closing any other file waits until it is closed', async t => {
  const { disk, directory, TempFile } = await setUp(t)
  const [kept, small] = [TempFile.create(directory), TempFile.create(directory)]
  await kept.append([LARGE])
  await small.append([SMALL])
  await small.remove()
  const closing = [kept.close(), small.close()]
  for (const each of closing) t.notOk(await isDone(each))
  disk.free()
  await Promise.all(closing)
})

t.test('a write to a full disk waits until the bytes of removed files are freed', async t => {
  const { disk, directory, TempFile } = await setUp(t)
  const [removed, next] = [TempFile.create(directory), TempFile.create(directory)]
  await removed.append([LARGE])
  await removed.remove()
  await removed.close()
  disk.isFull = true
  const writing = next.append([SMALL])
  t.notOk(await isDone(writing))
  disk.free()
  await writing
  t.equal(next.size, SMALL.length)
  disk.isFull = true
  await t.rejects(next.append([SMALL]), { code: 'ENOSPC' }, 'nothing is being freed')
  await next.close()
})
