/** Configuration files that others could have written or could read, and files that are none. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readConfigFile } from '../../src/cli/config-file.js'
import { UsageError } from '../../src/cli/exit-status.js'
import { readOssutilConfig } from '../../src/cli/ossutil-config.js'
import { parseRedisUrl } from '../../src/cli/redis-url.js'

const skip = process.getuid?.() !== 0 && 'needs root, to give files away'
const OURS = JSON.stringify({ endpoint: 'https://h' })
const THEIRS = '[Credentials]\nendpoint = https://h\n'
const KEYS = '[Credentials]\naccessKeyID = id\naccessKeySecret = secret\n'
const NOBODY = 65_534

t.test('files that others can write are refused', t => {
  const directory = t.testdir({ 'a b.json': OURS, ossutil: THEIRS })
  const ours = join(directory, 'a b.json')
  const theirs = join(directory, 'ossutil')
  for (const mode of [0o644, 0o600, 0o444]) {
    chmodSync(ours, mode)
    chmodSync(theirs, mode)
    t.strictSame(readConfigFile(ours, true).values, { endpoint: 'https://h' }, mode.toString(8))
    t.equal(readOssutilConfig(theirs).settings['endpoint'], 'https://h', mode.toString(8))
  }
  for (const mode of [0o666, 0o602, 0o777]) {
    chmodSync(ours, mode)
    chmodSync(theirs, mode)
    t.throws(() => readConfigFile(ours, false), UsageError, mode.toString(8))
    t.throws(() => readOssutilConfig(theirs), UsageError, mode.toString(8))
  }
  const command = /Run "(.*)"$/.exec(errorOf(() => readConfigFile(ours, true)))?.[1]
  execFileSync('sh', ['-c', command ?? 'false'])
  t.strictSame(readConfigFile(ours, true).values, { endpoint: 'https://h' }, 'the command works')
  t.end()
})

t.test('files that belong to others, or a group can write, are refused', { skip }, t => {
  const path = join(t.testdir({ config: OURS }), 'config')
  chownSync(path, NOBODY, 0)
  t.throws(() => readConfigFile(path, false), UsageError)
  chownSync(path, 0, 12_345)
  chmodSync(path, 0o664)
  t.throws(() => readConfigFile(path, false), UsageError, 'a group')
  chownSync(path, 0, 0)
  t.strictSame(readConfigFile(path, false).values, { endpoint: 'https://h' }, 'a private group')
  t.end()
})

t.test('the remedy is a command only where it would work', { skip }, t => {
  const path = join(t.testdir({ config: OURS }), 'config')
  const asNobody = (gid: number): string => {
    process.setegid!(gid) // exists where the user is root
    process.seteuid!(NOBODY)
    try {
      return errorOf(() => readConfigFile(path, true))
    } finally {
      process.seteuid!(0)
      process.setegid!(0)
    }
  }
  chmodSync(join(path, '..'), 0o755)
  chmodSync(path, 0o664)
  t.match(asNobody(0), /can be written by other users.*Use a copy/, 'the group of root is shared')
  chownSync(path, 12_345, 12_345)
  t.match(asNobody(NOBODY), /belongs to uid 12345.*Use a copy/)
  chownSync(path, NOBODY, NOBODY)
  t.equal(asNobody(NOBODY), '', 'its own group is private')
  chownSync(path, NOBODY, 12_345)
  t.match(asNobody(NOBODY), /Run "chmod go-w/)
  chownSync(path, NOBODY, 0)
  const command = /Run "(.*)"$/.exec(errorOf(() => readConfigFile(path, true)))?.[1]
  execFileSync('sh', ['-c', command ?? 'false'], { cwd: '/' })
  chmodSync(path, 0o644)
  t.equal(
    errorOf(() => readConfigFile(path, true)),
    '',
    `${command} works`,
  )
  t.end()
})

t.test('~/.ossutilconfig with keys is refused if others can read it', t => {
  const path = join(t.testdir({ config: KEYS }), 'config')
  chmodSync(path, 0o644)
  const message = errorOf(() => readOssutilConfig(path))
  t.match(message, /chmod 600/)
  t.notMatch(message, /= secret|"secret"/)
  chmodSync(path, 0o600)
  t.equal(readOssutilConfig(path).settings['accesskeysecret'], 'secret')
  t.end()
})

t.test('what is no regular file is refused, and a FIFO does not block', t => {
  const directory = t.testdir({})
  const fifo = join(directory, 'fifo')
  const isMissing = spawnSync('mkfifo', [fifo]).status !== 0
  const folder = join(directory, 'folder')
  mkdirSync(folder)
  const long = join(directory, 'long')
  writeFileSync(long, ' '.repeat(2 ** 20 + 1), { mode: 0o600 })
  for (const path of [...(isMissing ? [] : [fifo]), folder, long, '/dev/zero']) {
    t.throws(() => readConfigFile(path, false), UsageError, path)
    t.throws(() => readOssutilConfig(path), UsageError, path)
  }
  t.end()
})

t.test('a password in any part of --redis is refused and not repeated', t => {
  for (const url of [
    'redis://:hunter22@h',
    'redis://h/?password=hunter22',
    'rediss://h/0?db=1&PassWord=hunter22',
    'redis://h?sentinelPassword=hunter22',
  ]) {
    const message = errorOf(() => parseRedisUrl(url, true))
    t.match(message, /REDIS_URL/, url)
    t.notMatch(message, /hunter22/)
    t.match(parseRedisUrl(url, false), { kind: 'server', url })
  }
  t.match(parseRedisUrl('redis://h/?family=6', true), { url: 'redis://h/?family=6' })
  for (const url of [
    'redis+sentinel://:hunter22@a,b:2/main',
    'rediss+cluster://user:hunter22@a,b:2',
    'redis+sentinel://a/main?sentinelPassword=hunter22',
    'nonsense://:hunter22@a,b',
  ]) {
    const message = errorOf(() => parseRedisUrl(url, true))
    t.match(message, /REDIS_URL/, url)
    t.notMatch(message, /hunter22/)
  }
  t.end()
})

function errorOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  return ''
}
