/** The progress bar, tables and progress sums, at any width and in any script. */
import stringWidth from 'string-width'
import t from 'tap'
import { formatProgressBar, truncateMiddle, type BarStyle } from '../../src/cli/progress-bar.js'
import { formatProgressLine } from '../../src/cli/progress-line.js'
import { computeProgressTotal, type ProgressTotal } from '../../src/cli/progress-total.js'
import { formatTable } from '../../src/cli/table.js'
import { escapeControlChars } from '../../src/util/control-chars.js'

const PLAIN: BarStyle = { hasColors: false, hasUnicode: false }
const MIB = 2 ** 20
const HALF: ProgressTotal = {
  stage: 'sealed',
  spooled: 40 * MIB,
  sent: 20 * MIB,
  size: 40 * MIB,
  rate: 4 * MIB,
  eta: 5,
  retries: 2,
}

t.test('the bar drops figures as the terminal gets narrower', async t => {
  const at = (columns: number): string =>
    formatProgressBar('oss://bucket/key', HALF, columns, PLAIN)
  const progress = '20.0 MiB of 40.0 MiB'
  const figures = `${progress}  4.0 MiB/s  5.0 s to go`
  t.equal(at(120), `oss://bucket/key  [${'#'.repeat(16)}${'='.repeat(16)}]  ${figures}  2 retries`)
  t.equal(at(100), `oss://bucket/key  [${'#'.repeat(11)}${'='.repeat(11)}]  ${figures}  2 retries`)
  t.equal(at(80), `oss:/…/key  [####====]  ${figures}  2 retries`)
  t.equal(at(60), `[#####======]  ${figures}`)
  t.equal(at(34), `[####=====]  ${progress}`)
  t.equal(at(22), progress)
  t.equal(at(8), '50%')
  const bad: string[] = []
  for (let columns = 1; columns < 200; columns++) {
    for (const name of ['k', '报表/二月.csv', 'a\nb\u001B[2J']) {
      const line = formatProgressBar(name, HALF, columns, PLAIN)
      if (stringWidth(line) >= Math.max(2, columns) || /\p{Cc}/u.test(line)) bad.push(line)
    }
  }
  t.same(bad, [], 'every line is narrower than the terminal, for any name')
})

t.test(
  'the bar distinguishes bytes on OSS from bytes only on disk while the source flows',
  async t => {
    const flowing: ProgressTotal = {
      stage: 'spooling',
      spooled: 32,
      sent: 8,
      rate: 0,
      retries: 0,
    }
    t.equal(
      formatProgressBar('k', flowing, 100, PLAIN),
      `k  [${'#'.repeat(8)}${'='.repeat(24)}]  8 B sent of 32 B read`,
    )
    t.equal(formatProgressLine(flowing), 'spooling, 8 B sent of 32 B read')
    t.equal(
      formatProgressLine(HALF),
      'sealed, 20.0 MiB of 40.0 MiB, 4.0 MiB/s, 5.0 s to go, 2 retries',
    )
    const known = { ...flowing, size: 64 }
    t.match(
      formatProgressBar('k', known, 100, PLAIN),
      `[${'#'.repeat(4)}${'='.repeat(12)}${' '.repeat(16)}]`,
    )
  },
)

t.test('several uploads are summed, and have a size once all sizes are known', async t => {
  const event = {
    phase: 'sealed',
    spooled: 10,
    uploaded: 4,
    sent: 6,
    parts: { done: 1 },
    rate: 2,
  } as const
  t.same(computeProgressTotal([], 2, 0), {
    stage: '0 of 2',
    spooled: 0,
    sent: 0,
    rate: 0,
    retries: 0,
  })
  t.match(computeProgressTotal([event], 1, 0), { stage: 'sealed', size: undefined })
  const running = { ...event, size: 10, eta: 3 }
  const both = [
    running,
    { ...running, phase: 'published' as const, uploaded: 10, sent: 10, eta: 0 },
  ]
  t.same(computeProgressTotal(both, 2, 1), {
    stage: '2 of 2',
    spooled: 20,
    sent: 16,
    size: 20,
    rate: 2,
    eta: 3,
    retries: 1,
  })
  const { eta: _unknown, ...starting } = { ...running, sent: 0, rate: 0 }
  t.match(computeProgressTotal([running, starting, running], 3, 0), {
    rate: 4,
    eta: (6 + 10 + 6) / 4, // at the rate of all
  })
  t.notOk('eta' in computeProgressTotal([starting, starting], 2, 0), 'nothing moves')
  t.equal(computeProgressTotal(both, 3, 0).size, undefined, 'one upload has not started')
})

t.test(
  'a table is complete on a pipe, truncated on a terminal, and split into blocks if it cannot fit',
  async t => {
    const columns = [{ name: 'ID' }, { name: 'OBJECT', minWidth: 6 }, { name: 'PHASE' }]
    const rows = [
      ['a', 'oss://bucket/一二三四五六七', 'sealed'],
      ['long-id', 'oss://b/k', '-'],
    ]
    t.same(formatTable(columns, rows), [
      'ID       OBJECT                       PHASE',
      'a        oss://bucket/一二三四五六七  sealed',
      'long-id  oss://b/k                    -',
    ])
    const truncated = formatTable(columns, rows, 30)
    t.ok(
      truncated.every(line => stringWidth(line) <= 30),
      truncated.join('\n'),
    )
    t.match(truncated[2], /^long-id {2}oss:\/\/b\/k {2,}-$/)
    t.same(formatTable(columns, rows, 15), [
      'ID      a',
      'OBJECT  os…六七',
      'PHASE   sealed',
      '',
      'ID      long-id',
      'OBJECT  oss…b/k',
      'PHASE   -',
    ])
  },
)

t.test(
  'truncateMiddle keeps both ends, and escapeControlChars escapes control characters',
  async t => {
    t.equal(truncateMiddle('abcdef', 6), 'abcdef')
    t.equal(truncateMiddle('abcdef', 5), 'ab…ef')
    t.equal(truncateMiddle('abcdef', 1), '…')
    t.equal(truncateMiddle('abcdef', 0), '')
    t.equal(escapeControlChars('a\nb\u001B[2J\u0007'), 'a b\\x1b[2J\\x07')
  },
)
