/** URLs of Redis: what they name, and their passwords, which are never shown. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { UsageError } from '../../src/cli/exit-status.js'
import { hasHashTag, parseRedisUrl, redactRedisUrl } from '../../src/cli/redis-url.js'
import { environmentSecrets } from '../../src/util/secret-mask.js'
import { run } from '../support/in-process.js'

t.test('a URL names a server, a primary of Sentinel, or a cluster', t => {
  t.same(parseRedisUrl('rediss://u:p@h:1/2?family=6', false), {
    kind: 'server',
    isTls: true,
    url: 'rediss://u:p@h:1/2?family=6',
  })
  t.same(parseRedisUrl('redis+sentinel://u:p%40%2F@a,b.c:2,[::1]:3/my%20main/4', false), {
    kind: 'sentinel',
    isTls: false,
    nodes: [
      { host: 'a', port: 26_379 },
      { host: 'b.c', port: 2 },
      { host: '::1', port: 3 },
    ],
    name: 'my main',
    db: 4,
    username: 'u',
    password: 'p@/',
  })
  t.same(parseRedisUrl('rediss+cluster://:p@a,b:2', false), {
    kind: 'cluster',
    isTls: true,
    nodes: [
      { host: 'a', port: 6_379 },
      { host: 'b', port: 2 },
    ],
    password: 'p',
  })
  t.match(parseRedisUrl('redis+sentinel://a/main', true), { db: 0, isTls: false })
  t.match(parseRedisUrl('redis+cluster://u@a/', true), { username: 'u' })
  t.end()
})

t.test('any other URL is a usage error that does not quote it', t => {
  for (const url of [
    undefined,
    '',
    'h:6379',
    'http://hunter22',
    'redis+sentinel://hunter22',
    'redis+sentinel://hunter22/',
    'redis+sentinel://hunter22/main/x',
    'redis+sentinel://a:0/hunter22',
    'redis+sentinel://a:65536/hunter22',
    'redis+sentinel://a,,b/hunter22',
    'redis+sentinel://a:b:c/hunter22',
    'redis+cluster://a/1',
    'redis+cluster://',
    'redis+cluster://a?x=hunter22',
    'redis+cluster://hunter22:%E0%A4%A@a',
    'redis+socket://hunter22',
  ]) {
    const error = errorOf(() => parseRedisUrl(url, false))
    t.ok(error instanceof UsageError, String(url))
    t.notMatch(String(error), 'hunter22')
  }
  t.end()
})

t.test('the password of a URL is hidden wherever it is', t => {
  for (const [url, shown] of [
    ['redis://h', 'redis://h'],
    ['redis://u@h:1/2?family=6', 'redis://u@h:1/2?family=6'],
    ['redis://u:p@ss/word@h:1', 'redis://u:***@h:1'],
    ['redis+sentinel://:p@a:1,b:2/main', 'redis+sentinel://:***@a:1,b:2/main'],
    ['redis://h?Password=p&family=6', 'redis://h?Password=***&family=6'],
    ['redis://h?a=1&sentinelPassword=p', 'redis://h?a=1&sentinelPassword=***'],
  ] as const) {
    t.equal(redactRedisUrl(url), shown)
  }
  t.same(environmentSecrets({ REDIS_URL: 'redis+sentinel://:p%40ss@a:1,b:2/main' }), [
    'p%40ss',
    'p@ss',
  ])
  t.same(environmentSecrets({ REDIS_PASSWORD: 'a', OSS_SPOOL_REDIS_SENTINEL_PASSWORD: 'b' }), [
    'a',
    'b',
  ])
  t.end()
})

t.test('a hash tag is what Redis takes for one', t => {
  for (const prefix of ['{a}', 'x{a}y', 'a{b}{c}']) t.ok(hasHashTag(prefix), prefix)
  for (const prefix of ['a', '{}', '{}{a}', '{a', '}a{']) t.notOk(hasHashTag(prefix), prefix)
  t.end()
})

t.test('config show hides the passwords of Redis', async t => {
  const dir = t.testdir({})
  const { out, status } = await run(dir, ['config', 'show', '--json'], undefined, {
    REDIS_URL: 'redis+sentinel://:hunter22@a:1,b:2/main',
    REDIS_PASSWORD: 'hunter23',
    OSS_SPOOL_REDIS_SENTINEL_PASSWORD: 'hunter24',
  })
  t.equal(status, 0)
  t.notMatch(out, 'hunter')
  const shown = JSON.parse(out)
  t.equal(shown.redis.value, 'redis+sentinel://:***@a:1,b:2/main')
  t.match(shown, {
    redisPassword: { value: '********', from: '$REDIS_PASSWORD' },
    redisSentinelPassword: { from: '$OSS_SPOOL_REDIS_SENTINEL_PASSWORD' },
  })
})

t.test('a configuration file with a password of Redis must be private', async t => {
  const dir = t.testdir({})
  for (const settings of [
    { redis: 'redis://:hunter22@h' },
    { redis: 'redis+cluster://:hunter22@h,i' },
    { redisPassword: 'hunter22' },
    { redisSentinelPassword: 'hunter22' },
  ]) {
    const file = join(dir, 'config.json')
    writeFileSync(file, JSON.stringify(settings), { mode: 0o644 })
    const args = ['config', 'show', '--config', file]
    t.match(await run(dir, args), { status: 2, err: /chmod 600/ })
  }
  const file = join(dir, 'public.json')
  writeFileSync(file, JSON.stringify({ redis: 'redis://h' }), { mode: 0o644 })
  t.match(await run(dir, ['config', 'show', '--config', file]), { status: 0 })
})

t.test('wrong connections of a worker are usage errors before any work', async t => {
  const dir = t.testdir({ 'sources.mjs': 'export const none = () => []', 'bad.pem': 'x' })
  const common = ['worker', '--local', '--bucket=b', '--sources=sources.mjs']
  for (const [args, err] of [
    [['--redis=redis+cluster://127.0.0.1:1'], /--redis-prefix/],
    [['--redis=redis+cluster://127.0.0.1:1', '--redis-prefix=a'], /--redis-prefix/],
    [['--redis=redis://127.0.0.1:1', '--redis-ca=bad.pem'], /TLS/],
    [['--redis=redis://127.0.0.1:1', '--redis-cert=bad.pem'], /TLS/],
    [['--redis=rediss://127.0.0.1:1', '--redis-ca=none.pem'], /ENOENT/],
    [['--redis=rediss://127.0.0.1:1', '--redis-key=bad.pem'], /--redis-cert/],
    [['--redis=rediss://127.0.0.1:1', '--redis-cert=bad.pem', '--redis-key=bad.pem'], /invalid/],
    [['--redis=redis://127.0.0.1:1', '--fleet=a b'], /--fleet/],
    [['--redis=redis://127.0.0.1:1', '--queue=a:b'], /--queue/],
  ] as const) {
    t.match(await run(dir, [...common, ...args]), { status: 2, out: '', err }, args.join(' '))
  }
})

function errorOf(action: () => unknown): unknown {
  try {
    action()
    return undefined
  } catch (error) {
    return error
  }
}
