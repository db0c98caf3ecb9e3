/** Hashing of any number of bytes. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { updateHash } from '../../src/util/update-hash.js'

t.test('updateHash() passes on more bytes than Node takes at once, in order', async t => {
  const bytes = Buffer.alloc(2 ** 31 + 1) // of zero pages that take no memory
  const pieces: Uint8Array[] = []
  updateHash({ update: piece => pieces.push(piece) }, bytes)
  let end = 0
  for (const { byteOffset, length } of pieces) {
    t.equal(byteOffset - bytes.byteOffset, end)
    t.ok(length < 2 ** 31)
    end += length
  }
  t.equal(end, bytes.length)
})

t.test('updateHash() hashes a short chunk as it is', async t => {
  const [hash, expected] = [createHash('md5'), createHash('md5')]
  updateHash(hash, Buffer.from('abc'))
  t.equal(hash.digest('hex'), expected.update('abc').digest('hex'))
})
