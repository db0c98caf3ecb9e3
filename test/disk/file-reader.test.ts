/** Regions of a file are read exactly, also where one disk read serves several of them. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileReader } from '../../src/disk/file-reader.js'

const KIB = 1024
const PART = 100 * KIB

/** Opens a file of `size` bytes, all of them `a`. */
function openFile(t: Test, size: number) {
  const fd = openSync(join(t.testdir(), 'file'), 'w+')
  t.teardown(() => closeSync(fd))
  const write = (start: number, bytes: number, fill: string): void =>
    void writeSync(fd, Buffer.alloc(bytes, fill), 0, bytes, start)
  write(0, size, 'a')
  const reader = new FileReader(fd, message => new RangeError(message))
  return { reader, write }
}

async function readAll(chunks: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of chunks) text += chunk.toString('latin1')
  return text
}

t.test('small regions in order share a read, and a repeated one is read anew', async t => {
  const { reader, write } = openFile(t, 3 * PART)
  const part = (i: number) => readAll(reader.chunks(i * PART, PART, 3 * PART))
  t.equal(await part(0), 'a'.repeat(PART))
  write(0, 3 * PART, 'b')
  t.equal(await part(1), 'a'.repeat(PART), 'read ahead')
  t.equal(await part(0), 'b'.repeat(PART), 'a retry')
  t.equal(await part(1), 'b'.repeat(PART), 'the one after the retry')
  write(0, 3 * PART, 'c')
  reader.forget()
  t.equal(await part(2), 'c'.repeat(PART), 'after the file has changed')
})

t.test('regions of any size are read exactly, one by one and concurrently', async t => {
  const { reader, write } = openFile(t, 40 * PART)
  const size = 40 * PART
  for (let i = 0; i < size; i += 10 * KIB) write(i, 10 * KIB, String.fromCharCode(65 + (i % 26)))
  const whole = await readAll(reader.chunks(0, size, size))
  for (const region of [1, 7 * KIB, PART, 256 * KIB, 256 * KIB + 1, 600 * KIB]) {
    const starts = Array.from({ length: Math.floor(size / region) }, (_, i) => i * region)
    for (const concurrently of [1, 5]) {
      const queue = starts.slice(0, 60)
      const worker = async (): Promise<string[]> => {
        const wrong: string[] = []
        for (let start = queue.shift(); start !== undefined; start = queue.shift()) {
          const text = await readAll(reader.chunks(start, region, size))
          if (text !== whole.slice(start, start + region)) wrong.push(`${start} ${region}`)
        }
        return wrong
      }
      const wrong = await Promise.all(Array.from({ length: concurrently }, worker))
      t.same(wrong.flat(), [], `${region} bytes, ${concurrently} concurrently`)
    }
  }
})

t.test('a chunk stays unchanged until the next one is requested', async t => {
  const { reader } = openFile(t, 40 * PART)
  const held = reader.chunks(0, PART, 40 * PART)
  const { value: chunk } = await held.next()
  for (let i = 1; i < 40; i++) await readAll(reader.chunks(i * PART, PART, 40 * PART))
  const other = openFile(t, 1)
  other.write(0, 40 * PART, 'z')
  for (let i = 0; i < 40; i++) await readAll(other.reader.chunks(i * PART, PART, 40 * PART))
  t.equal(chunk?.toString('latin1'), 'a'.repeat(PART))
})

t.test('a file that is too short fails only the regions that are missing', async t => {
  const { reader } = openFile(t, 2 * PART)
  const part = (i: number) => readAll(reader.chunks(i * PART, PART, 4 * PART))
  t.equal(await part(0), 'a'.repeat(PART))
  t.equal(await part(1), 'a'.repeat(PART))
  await t.rejects(part(2), RangeError)
  await t.rejects(part(3), RangeError)
})
