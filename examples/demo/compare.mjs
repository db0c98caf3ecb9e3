/** The last word on an upload: its object and the file it must equal, byte by byte. */
import { open } from 'node:fs/promises'

/**
 * Bytes compared, if they are the same in `stream` and in the file at `path`.
 * @throws Error that says where they differ first
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
