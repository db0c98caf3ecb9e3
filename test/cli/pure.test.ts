/** Parsing and formatting on the command line: sizes, durations, targets, exit statuses. */
import t from 'tap'
import { exitStatusOf, UsageError, combineExitStatuses } from '../../src/cli/exit-status.js'
import {
  formatBytes,
  formatDuration,
  parseCount,
  digestParser,
  parseDuration,
  parseSize,
} from '../../src/cli/units.js'
import { parseTarget } from '../../src/cli/target.js'
import { invalidType, outOfRange, SpoolError } from '../../src/errors.js'

const wrong = { code: 'commander.invalidArgument' }

t.test('parseSize accepts binary and decimal units; a single letter is binary', async t => {
  for (const [text, bytes] of [
    ['0', 0],
    ['5', 5],
    ['5B', 5],
    ['8MiB', 8 * 2 ** 20],
    ['8 mib', 8 * 2 ** 20],
    ['8M', 8 * 2 ** 20],
    ['8MB', 8e6],
    ['1.5k', 1536],
    ['5GiB', 5 * 2 ** 30],
    ['2TB', 2e12],
    ['1tib', 2 ** 40],
  ] as const) {
    t.equal(parseSize(text), bytes, text)
  }
  for (const text of [
    '',
    'M',
    '-5',
    '+5',
    '5X',
    '5 5',
    '0x10',
    '1e6',
    '5PB',
    '1.',
    '.5',
    '١',
    'NaN',
  ]) {
    t.throws(() => parseSize(text), wrong, text)
  }
})

t.test('parseDuration accepts an integer with one unit', async t => {
  for (const [text, ms] of [
    ['0s', 0],
    ['90m', 54e5],
    ['7d', 6048e5],
    ['1w', 6048e5],
    ['100000000d', 864e13], // largest time value of a date (ECMA-262, "Time Values")
  ] as const) {
    t.equal(parseDuration(text), ms, text)
  }
  for (const text of ['', '7', 'd', '1.5d', '-1d', '7D', '7d ', '999999999w']) {
    t.throws(() => parseDuration(text), wrong, text)
  }
})

t.test('parseCount and digestParser reject malformed numbers and digests', async t => {
  t.equal(parseCount('0'), 0)
  t.equal(parseCount('10000'), 10_000)
  for (const text of ['', '-1', '1.5', '1k', '9'.repeat(10)])
    t.throws(() => parseCount(text), wrong)
  t.equal(digestParser(32)('A'.repeat(32)), 'a'.repeat(32))
  for (const text of ['', 'a'.repeat(31), 'a'.repeat(33), 'g'.repeat(32), `${'a'.repeat(31)}\n`]) {
    t.throws(() => digestParser(32)(text), wrong)
  }
})

t.test(
  'formatBytes and formatDuration round up to the next unit, never to 60 of the smaller one',
  async t => {
    for (const [bytes, text] of [
      [0, '0 B'],
      [1023, '1023 B'],
      [1024, '1.0 KiB'],
      [12_345_678, '11.8 MiB'],
      [2 ** 20 - 1, '1.0 MiB'],
      [2 ** 30, '1.0 GiB'],
      [5000 * 2 ** 40, '5000.0 TiB'],
    ] as const) {
      t.equal(formatBytes(bytes), text)
    }
    const s = 1000
    for (const [ms, text] of [
      [0, '0.0 s'],
      [1234, '1.2 s'],
      [9_940, '9.9 s'],
      [9_960, '10 s'],
      [59.4 * s, '59 s'],
      [59.6 * s, '1 min 0 s'],
      [75 * s, '1 min 15 s'],
      [119.7 * s, '2 min 0 s'],
      [3599.7 * s, '1 h 0 min'],
      [3600 * s * 2 - 10 * s, '2 h 0 min'],
      [86_399 * s, '1 d 0 h'],
      [90 * 3600 * s, '3 d 18 h'],
    ] as const) {
      t.equal(formatDuration(ms), text, String(ms))
    }
  },
)

t.test('parseTarget splits bucket and key, and rejects invalid targets', async t => {
  t.same(parseTarget('oss://bucket/a/b c.csv'), { bucket: 'bucket', key: 'a/b c.csv' })
  t.same(
    parseTarget('oss://b-1/k?a=b#c%20'),
    { bucket: 'b-1', key: 'k?a=b#c%20' },
    'is not parsed as a URL',
  )
  t.same(parseTarget('oss://bucket/a\nb').key, 'a\nb')
  for (const text of [
    '',
    'bucket/key',
    's3://bucket/key',
    'oss://bucket',
    'oss:///key',
    'oss://B/key',
  ]) {
    t.throws(() => parseTarget(text), { code: 'ERR_USAGE' }, text)
  }
  for (const text of ['oss://bucket/', 'oss://bucket//key', 'oss://bucket/../key']) {
    t.throws(() => parseTarget(text), { code: 'ERR_SPOOL_INVALID_KEY' }, text)
  }
})

t.test('each failure has its exit status, and resumable wins among several', async t => {
  const failure = (resumable: boolean) => new SpoolError('ERR_SPOOL_DENIED', 'm', { resumable })
  t.equal(exitStatusOf(failure(true)), 75)
  t.equal(exitStatusOf(failure(false)), 1)
  t.equal(exitStatusOf(new SpoolError('ERR_SPOOL_INVALID_KEY', 'm')), 2)
  t.equal(exitStatusOf(new UsageError('m')), 2)
  t.equal(exitStatusOf(invalidType('a', 'b', 1)), 2)
  t.equal(exitStatusOf(outOfRange('a', 'b', 1)), 2)
  t.equal(exitStatusOf(new TypeError('a bug')), 1)
  t.equal(exitStatusOf('thrown'), 1)
  t.equal(combineExitStatuses([]), 0)
  t.equal(combineExitStatuses([0, 0]), 0)
  t.equal(combineExitStatuses([0, 1, 75, 1]), 75)
  t.equal(combineExitStatuses([0, 1]), 1)
})
