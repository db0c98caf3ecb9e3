/**
 * Reads an object's bytes from one or more files, one chunk at a time. If the object is overwritten
 * during a read, a file that is already open continues to yield the old bytes; otherwise the read fails.
 * It never mixes two objects.
 */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { hasErrorCode } from './files.js'
import type { Segment } from './record.js'

const CHUNK_BYTES = 256 * 1024
const ZEROS = Buffer.alloc(64 * 1024)

/** A range of a body, as first byte and number of bytes. */
export interface ByteSpan {
  readonly offset: number
  readonly length: number
}

/**
 * Reads a span of the concatenated files. The first file is open when this resolves; destroy the stream unless it is read.
 * @param dirs – where the files may be, in the order in which to look, since Complete moves them during a read
 */
export async function readSegments(
  dirs: readonly string[],
  segments: readonly Segment[],
  span: ByteSpan,
): Promise<Readable> {
  const fileSpans = fileSpansOf(segments, span)
  const [first] = fileSpans
  let file = first && (await openIn(dirs, first.file))
  const body = toReadable(async function* () {
    for (const fileSpan of fileSpans) {
      file ??= await openIn(dirs, fileSpan.file)
      yield* readFileSpan(file, fileSpan)
      await file.close()
      file = undefined
    }
  })
  // a generator that was never started runs no `finally`
  body.once('close', () => void file?.close())
  return body
}

/** Opens a file in the first directory that has it. */
async function openIn(dirs: readonly string[], name: string): Promise<FileHandle> {
  const [dir = '', ...others] = dirs
  try {
    return await open(join(dir, name), 'r')
  } catch (error) {
    if (others.length === 0 || !hasErrorCode(error, 'ENOENT')) throw error
    return openIn(others, name)
  }
}

/** Returns a stream of `length` zeros, for discarded bodies. */
export function readZeros(length: number): Readable {
  return toReadable(async function* () {
    for (let left = length; left > 0; left -= ZEROS.length)
      yield left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS
  })
}

interface FileSpan extends ByteSpan {
  readonly file: string
}

/** Returns the ranges of the files that make up the span. Pure. */
export function fileSpansOf(
  segments: readonly Segment[],
  { offset, length }: ByteSpan,
): FileSpan[] {
  const fileSpans: FileSpan[] = []
  let start = 0
  for (const [file, size] of segments) {
    const from = Math.max(offset, start)
    const to = Math.min(offset + length, start + size)
    if (from < to) fileSpans.push({ file, offset: from - start, length: to - from })
    start += size
  }
  return fileSpans
}

type FileHandle = Awaited<ReturnType<typeof open>>

async function* readFileSpan(
  file: FileHandle,
  { offset, length }: ByteSpan,
): AsyncGenerator<Buffer> {
  let position = offset
  const end = offset + length
  while (position < end) {
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, end - position))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0)
      throw new Error('Reading an object failed: its body file is shorter than its record says')
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

function toReadable(bytes: () => AsyncGenerator<Buffer>): Readable {
  return Readable.from(bytes(), { objectMode: false, highWaterMark: CHUNK_BYTES })
}
