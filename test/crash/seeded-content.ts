/** Pseudo-random bytes from a seed, so that a worker and the test that checks its object have the same content. */
import { createCipheriv, createHash } from 'node:crypto'

export function contentOf(seed: number, size: number): Buffer {
  const name = createHash('sha256').update(String(seed)).digest()
  return createCipheriv('aes-256-ctr', name, Buffer.alloc(16)).update(Buffer.alloc(size))
}
