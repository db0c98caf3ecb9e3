/** Compares an uploaded object with its source file, byte by byte. */
import { open } from 'node:fs/promises'

/**
 * Returns the number of bytes compared if `stream` equals the file at `path`.
 * @throws Error with the position of the first difference
 */
export async function compare(stream, path) {
  const file = await open(path)
  try {
    let offset = 0
    for await (const chunk of stream) {
      const expected = Buffer.alloc(chunk.length)
      const { bytesRead } = await file.read(expected, 0, chunk.length, offset)
      if (bytesRead < chunk.length || !expected.equals(chunk)) {
        throw new Error(`the object differs from its source after byte ${offset}`)
      }
      offset += chunk.length
    }
    const { size } = await file.stat()
    if (offset !== size) throw new Error(`the object has ${offset} bytes, its source ${size}`)
    return offset
  } finally {
    await file.close()
  }
}
