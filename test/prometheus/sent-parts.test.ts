/** Which bytes count as sent again. */
import t from 'tap'
import { SentParts } from '../../src/prometheus/sent-parts.js'

t.test('bytes of a failed request count as sent again once the part is acknowledged', async t => {
  const parts = new SentParts()
  parts.failed('id', 1, 70)
  parts.failed('id', 1, 30)
  parts.failed('id', 2, 5)
  t.equal(parts.acknowledged('id', 1, 100), 100)
  t.equal(parts.acknowledged('id', 2, 100), 5)
  t.equal(parts.acknowledged('id', 3, 100), 0)
})

t.test('a part that is acknowledged twice counts as sent again', async t => {
  const parts = new SentParts()
  t.equal(parts.acknowledged('id', 1, 100), 0)
  t.equal(parts.acknowledged('id', 1, 100), 100)
})

t.test('a part that OSS has although its reply was lost does not count', async t => {
  const parts = new SentParts()
  parts.failed('id', 1, 100)
  parts.found('id', 1)
  t.equal(parts.acknowledged('id', 1, 100), 0)
})

t.test('uploads are counted apart, and forgotten when they end', async t => {
  const parts = new SentParts()
  parts.failed('a', 1, 100)
  t.equal(parts.acknowledged('b', 1, 100), 0)
  parts.ended('a')
  t.equal(parts.acknowledged('a', 1, 100), 0)
})
