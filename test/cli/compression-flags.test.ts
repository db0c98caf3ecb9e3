/** Parsing of `--gzip` and `--zstd`, and their configuration. */
import { Command } from 'commander'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { toCompression } from '../../src/cli/compression-flags.js'
import { readConfiguration } from '../../src/cli/configuration.js'
import { SETTING_DEFINITIONS } from '../../src/cli/config-schema.js'
import { BARE_FLAG_VALUES } from '../../src/cli/raw-flags.js'
import { addSettings } from '../../src/cli/shared-options.js'
import { COMPRESSION_LEVELS, isCompressionSupported } from '../../src/util/compression.js'

const usage = { code: 'ERR_USAGE' }

/** Returns the flags that commander parses. */
function parsed(...args: string[]): Record<string, unknown> {
  const command = addSettings(new Command('put'), 'gzip', 'zstd').exitOverride()
  command.configureOutput({ outputError: () => {} })
  return command.parse(args, { from: 'user' }).opts()
}

/** Returns the settings that variables and flags result in. */
function configured(
  dir: string,
  env: Record<string, string>,
  flags: Record<string, unknown> = {},
): Record<string, unknown> {
  const settings = SETTING_DEFINITIONS
  return { ...readConfiguration({ flags, env: { HOME: dir, ...env }, settings }).values }
}

t.test('--gzip and --zstd take a level of their format in the same argument', async t => {
  for (const format of ['gzip', 'zstd'] as const) {
    const { min, max, default: level } = COMPRESSION_LEVELS[format]
    for (const each of [min, level, max]) {
      t.same(parsed(`--${format}=${each}`), { [format]: each })
    }
    for (const text of ['', '0', '-1', '1.5', '1e0', ' 1', 'fast', '007', String(max + 1)]) {
      t.throws(
        () => parsed(`--${format}=${text}`),
        { code: 'commander.invalidArgument' },
        `${format} ${text}`,
      )
    }
    t.throws(() => parsed(`--${format}=1`, `--${format}=1`), usage)
    t.equal(BARE_FLAG_VALUES.get(`--${format}`), String(level), 'a bare flag is the default level')
  }
})

t.test('a variable or the configuration file sets a level, and 0 switches it off', async t => {
  const dir = t.testdir({})
  t.match(configured(dir, { OSS_SPOOL_GZIP: '9' }), { gzip: 9 })
  t.match(configured(dir, { OSS_SPOOL_GZIP: '0' }), { gzip: false })
  t.match(configured(dir, { OSS_SPOOL_GZIP: '9' }, { gzip: 1 }), { gzip: 1 })
  for (const text of ['10', 'yes', '-1']) {
    t.throws(() => configured(dir, { OSS_SPOOL_GZIP: text }), usage, text)
  }
  const file = join(dir, 'config.json')
  const write = (value: unknown): void =>
    writeFileSync(file, JSON.stringify({ gzip: value }), { mode: 0o600 })
  const env = { OSS_SPOOL_CONFIG: file }
  write(4)
  t.match(configured(dir, env), { gzip: 4 })
  t.match(configured(dir, { ...env, OSS_SPOOL_GZIP: '0' }), { gzip: false })
  for (const value of [0, 10, 1.5, '4', true, null, [4]]) {
    write(value)
    t.throws(() => configured(dir, env), usage, JSON.stringify(value))
  }
})

t.test('a format takes precedence over the other one of a lower source', async t => {
  const dir = t.testdir({})
  const flag = configured(dir, { OSS_SPOOL_GZIP: '9' }, { zstd: 3 })
  t.equal(flag['gzip'], undefined)
  t.equal(flag['zstd'], 3)
  const file = join(dir, 'config.json')
  writeFileSync(file, '{"zstd":3}', { mode: 0o600 })
  const env = { OSS_SPOOL_CONFIG: file }
  t.equal(configured(dir, { ...env, OSS_SPOOL_GZIP: '9' })['zstd'], undefined)
  t.equal(configured(dir, { ...env, OSS_SPOOL_GZIP: '0' })['zstd'], 3)
  t.match(configured(dir, { OSS_SPOOL_GZIP: '9', OSS_SPOOL_ZSTD: '3' }), { gzip: 9, zstd: 3 })
})

t.test('toCompression rejects both formats, and a format that this Node does not have', async t => {
  t.equal(toCompression({}), undefined)
  t.equal(toCompression({ gzip: false, zstd: false }), undefined)
  t.same(toCompression({ gzip: 9, zstd: false }), { format: 'gzip', level: 9 })
  t.throws(() => toCompression({ gzip: 6, zstd: 3 }), usage)
  if (isCompressionSupported('zstd')) {
    t.same(toCompression({ zstd: 19 }), { format: 'zstd', level: 19 })
  } else {
    t.throws(() => toCompression({ zstd: 19 }), { ...usage, message: /22\.15/ })
  }
})
