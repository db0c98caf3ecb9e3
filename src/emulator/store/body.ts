/**
 * Reading an object's bytes, from one file or from many, without ever holding more than a chunk.
 * A body that is overwritten while it is read goes on from the old bytes where its file is open
 * already; otherwise the read fails, and is never a mix of two objects.
 */
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { Segment } from './record.js'

const CHUNK = 256 * 1024
const ZEROS = Buffer.alloc(64 * 1024)

/** A range of a body: first byte and number of bytes. */
export interface Span {
  readonly offset: number
  readonly length: number
}

/** The bytes of `span` out of files laid end to end. The first file is open when this resolves. */
export async function readSegments(
  dir: string,
  segments: readonly Segment[],
  span: Span,
): Promise<Readable> {
  const pieces = piecesOf(segments, span)
  const [first] = pieces
  const opened = first && (await open(join(dir, first.file), 'r'))
  return streamOf(async function* () {
    let file = opened
    try {
      for (const piece of pieces) {
        file ??= await open(join(dir, piece.file), 'r')
        yield* readFrom(file, piece)
        await file.close()
        file = undefined
      }
    } finally {
      await file?.close()
    }
  })
}

/** So many zeros, for bodies that were thrown away. */
export function readZeros(length: number): Readable {
  return streamOf(async function* () {
    for (let left = length; left > 0; left -= ZEROS.length)
      yield left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS
  })
}

interface Piece extends Span {
  readonly file: string
}

/** Which bytes of which files make up the span. Pure. */
export function piecesOf(segments: readonly Segment[], { offset, length }: Span): Piece[] {
  const pieces: Piece[] = []
  let start = 0
  for (const [file, size] of segments) {
    const from = Math.max(offset, start)
    const to = Math.min(offset + length, start + size)
    if (from < to) pieces.push({ file, offset: from - start, length: to - from })
    start += size
  }
  return pieces
}

type File = Awaited<ReturnType<typeof open>>

async function* readFrom(file: File, { offset, length }: Span): AsyncGenerator<Buffer> {
  let position = offset
  const end = offset + length
  while (position < end) {
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK, end - position))
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) throw new Error('a body file is shorter than its record says')
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

function streamOf(bytes: () => AsyncGenerator<Buffer>): Readable {
  return Readable.from(bytes(), { objectMode: false, highWaterMark: CHUNK })
}
