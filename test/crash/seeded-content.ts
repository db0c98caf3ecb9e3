/** Bytes made from a number: a worker and the one who checks its object make the same. */
import { createCipheriv, createHash } from 'node:crypto'

export function contentOf(seed: number, size: number): Buffer {
  const name = createHash('sha256').update(String(seed)).digest()
  return createCipheriv('aes-256-ctr', name, Buffer.alloc(16)).update(Buffer.alloc(size))
}
