/**
 * Secrets must not appear in the output of a command, in errors, in files of a spool directory, or in process
 * arguments. Every command runs, usually into a failure, with the most verbose flags.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { environment, server, start, until, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes, streamOf } from '../support/oss.js'
import { SECRETS, secretsIn, secretsUnder } from '../support/secrets.js'
import { LONG, long, sampled } from '../support/long.js'
import { SecretMask } from '../../src/util/secret-mask.js'
import { hostileServer, reply } from './hostile-server.js'

const { accessKeySecret, stsToken, endpointPassword, proxyPassword, redisPassword } = SECRETS
const DATA = bytes(150_000)
const PART = '--part-size=100KiB'

t.test('the test helpers find a secret as plain text, base64 and hex', async t => {
  t.same(secretsIn(`a ${stsToken} b`), ['stsToken'])
  t.same(secretsIn(Buffer.from(proxyPassword).toString('base64')), ['proxyPassword'])
  t.same(secretsIn(Buffer.from(redisPassword).toString('hex')), ['redisPassword'])
  const directory = t.testdir({ a: { b: `x${accessKeySecret}` } })
  t.same(secretsUnder(directory), ['accessKeySecret'])
})

void long(t, 'no command prints a secret or writes one to a file', async t => {
  const cwd = t.testdir({ file: DATA.toString('latin1') })
  const oss = await startEmulator({
    dir: `${t.testdirName}-server`,
    buckets: [BUCKET],
    credentials: { accessKeyId: 'LTAI5tSecretsOfTests', accessKeySecret },
  })
  t.teardown(async () => {
    await oss.close()
    fs.rmSync(`${t.testdirName}-server`, { recursive: true, force: true })
  })
  const env = environment(oss)
  const temporary = oss.sts.issue()
  const issued = { issuedToken: temporary.stsToken, issuedSecret: temporary.accessKeySecret }
  const withToken: Env = {
    ...env,
    OSS_ACCESS_KEY_ID: temporary.accessKeyId,
    OSS_ACCESS_KEY_SECRET: temporary.accessKeySecret,
    OSS_SESSION_TOKEN: temporary.stsToken,
  }
  const badToken = { ...env, OSS_SESSION_TOKEN: stsToken }
  const wrongKey = { ...env, OSS_ACCESS_KEY_SECRET: `${accessKeySecret}!` }
  const badEndpoint = { ...env, OSS_ENDPOINT: `https://user:${endpointPassword}@oss.invalid:99999` }
  const badPlace = { ...env, OSS_ENDPOINT: `https://user:${endpointPassword}@oss.invalid` }
  const proxied = {
    ...env,
    OSS_ENDPOINT: 'https://oss-cn-hangzhou.aliyuncs.com',
    HTTPS_PROXY: `http://user:${proxyPassword}@127.0.0.1:1`,
    NO_PROXY: '',
  }
  const noProxy = { ...proxied, HTTPS_PROXY: `socks5://user:${proxyPassword}@127.0.0.1:1` }
  for (const [name, content] of Object.entries({
    'no.json': `{"accessKeySecret":"${accessKeySecret}",`,
    'wrong.json': JSON.stringify({ accessKeyId: 'a', accessKeySecret: [accessKeySecret] }),
    'right.json': JSON.stringify({
      accessKeyId: 'a',
      accessKeySecret,
      sessionToken: stsToken,
      endpoint: badPlace['OSS_ENDPOINT'],
    }),
  })) {
    fs.writeFileSync(join(cwd, name), content, { mode: 0o600 })
  }
  const object = (key: string): string => `oss://${BUCKET}/${key}`
  const loud = ['--debug', '--json', '--retries=1']
  const put = (key: string, ...more: string[]): string[] => [
    'put',
    object(key),
    'file',
    PART,
    ...loud,
    ...more,
  ]
  const commands: readonly [name: string, args: readonly string[], env: Env, status: number][] = [
    ['put', put('done', '--progress=json'), env, 0],
    ['put with a token', put('token', '--progress=json'), withToken, 0],
    ['put with DEBUG=*', put('debug'), { ...withToken, DEBUG: '*' }, 0],
    ['put with a refused token', put('refused', '--id=refused'), badToken, 75],
    ['put with a wrong key', put('wrong', '--id=wrong'), wrongKey, 75],
    ['put through an unreachable proxy', put('proxied'), proxied, 75],
    ['put through a proxy of an unsupported protocol', put('noproxy'), noProxy, 75],
    ['put to an invalid endpoint', put('endpoint'), badEndpoint, 2],
    ['put to an endpoint with a password', put('place'), badPlace, 2],
    ['put with a malformed configuration file', put('a', '--config=no.json'), {}, 2],
    ['put with an invalid configuration file', put('a', '--config=wrong.json'), {}, 2],
    ['put to an invalid target', ['put', `oss://id:${accessKeySecret}@bucket/key`, 'file'], env, 2],
    [
      'run of a failing command',
      ['run', object('run'), ...loud, '--', 'sh', '-c', 'exit 3'],
      withToken,
      3,
    ],
    ['doctor', ['doctor', object('x'), '--json'], withToken, 0],
    ['doctor with a wrong key', ['doctor', object('x'), '--json'], wrongKey, 1],
    ['doctor through a proxy', ['doctor', object('x')], proxied, 1],
    ['config show', ['config', 'show', '--json'], withToken, 0],
    ['config show of a file', ['config', 'show', '--config=right.json'], {}, 0],
  ]
  const check = async (
    name: string,
    args: readonly string[],
    env: Env,
    status: number,
  ): Promise<void> => {
    const { out, err, status: real } = await run(cwd, args, undefined, env)
    t.equal(real, status, `${name}\n${real === status ? '' : out + err}`)
    t.same(secretsIn(out + err, issued), [], name)
  }
  for (let i = 0; i < commands.length; i += 4) {
    await Promise.all(commands.slice(i, i + 4).map(each => check(...each)))
  }
  for (const each of [
    ['ls', ['ls', '--json'], env, 0],
    ['show', ['show', 'wrong', '--json'], env, 0],
    ['resume', ['resume', 'wrong', ...loud], wrongKey, 75],
    ['resume all', ['resume', '--all', '--debug'], badToken, 75],
    ['abort', ['abort', 'wrong', '--yes', '--debug'], wrongKey, 0],
    ['prune', ['prune', '--older-than=0s', '--orphans', '--yes', '--debug'], wrongKey, 0],
  ] as const) {
    const { out, err } = await run(cwd, each[1], undefined, each[2])
    t.same(secretsIn(out + err, issued), [], each[0])
  }
  t.same(secretsUnder(join(cwd, 'spool'), issued), [], 'the spool directory')
  t.same(secretsUnder(`${t.testdirName}-server`, issued), [], 'the emulator’s directory')
  t.notOk(JSON.stringify(oss.requests).includes(accessKeySecret), 'the emulator’s request log')

  const slow = start(cwd, ['put', object('slow')], undefined, withToken)
  if (process.platform === 'linux') {
    const proc = `/proc/${slow.child.pid}/cmdline`
    await until(() => fs.existsSync(proc))
    t.same(secretsIn(fs.readFileSync(proc), issued), [], 'the arguments of the process')
  }
  await slow.done
})

t.test('errors and warnings of the library contain no secret in any property', async t => {
  const oss = await startEmulator({
    buckets: [BUCKET],
    credentials: { accessKeyId: 'LTAI5tSecretsOfTests', accessKeySecret },
  })
  t.teardown(() => oss.close())
  const client = oss.clientOptions(BUCKET)
  const redis = new Redis(`redis://:${redisPassword}@127.0.0.1:1`, {
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  })
  redis.on('error', () => {})
  t.teardown(() => redis.disconnect())
  const clients = {
    'a wrong key': { ...client, accessKeySecret: `${accessKeySecret}!` },
    'a wrong token': { ...client, stsToken },
    'another bucket': { ...client, bucket: 'missing' },
    'an unreachable endpoint': { ...client, endpoint: 'http://127.0.0.1:1' },
    'a failing credential provider': {
      endpoint: client.endpoint ?? '',
      region: 'oss-cn-hangzhou',
      bucket: BUCKET,
      credentials: () => Promise.reject(new Error(`no ${accessKeySecret}`)),
    },
  }
  const retry = { attempts: 1, minDelay: 1, maxDelay: 1 }
  const dir = t.testdir({})
  for (const [name, each] of Object.entries(clients)) {
    const warnings: unknown[] = []
    const spool = new Spool({ client: each, dir, partSize: 102_400, retry })
    spool.on('warning', warning => warnings.push(warning))
    const error = await spool.upload(name, () => streamOf(DATA)).catch((reason: unknown) => reason)
    t.type(error, Error)
    t.same(secretsIn(inspect([error, warnings], { depth: Infinity, showHidden: true })), [], name)
    t.same(secretsIn(JSON.stringify([error, warnings])), [], `${name}, as JSON`)
  }
  const checkpoints = redisCheckpoints(redis, { host: 'a', lockTimeout: 300 })
  const spool = new Spool({ client, dir, checkpointStore: checkpoints, retry })
  const error = await spool.upload('redis', () => streamOf(DATA)).catch((reason: unknown) => reason)
  t.type(error, Error)
  t.same(secretsIn(inspect(error, { depth: Infinity, showHidden: true })), [], 'Redis')
  t.same(secretsUnder(dir), [])
})

const ACCESS_KEY_ID = 'LTAI5tQmWzXyVbNcKpRd4TgH'
const KEY_SECRET = 'p0Qw/9eR+tYu7iOa&sDf3gHjKlZxCv'
/** As long as the tokens of STS, and random, so that no piece of it occurs by chance. */
const LONG_TOKEN = Buffer.from(
  Array.from({ length: 528 }, (_, i) => (i * 7919 + ((i * i * 31) >> 3)) % 251),
).toString('base64')

const percent = (text: string): string =>
  [...Buffer.from(text)].map(byte => `%${byte.toString(16).padStart(2, '0')}`).join('')
const base64 = (text: string): string => Buffer.from(text).toString('base64')

/** Forms in which a server or a proxy may echo a secret. */
const ECHOES: Readonly<Record<string, (secret: string) => string>> = {
  plain: secret => secret,
  'a prefix': secret => secret.slice(0, -5),
  'a suffix': secret => secret.slice(5),
  'a piece': secret => secret.slice(4, 16),
  'lower case': secret => secret.toLowerCase(),
  'percent-encoded': encodeURIComponent,
  'percent-encoded with lower-case digits': percent,
  'percent-encoded with upper-case digits': secret => percent(secret).toUpperCase(),
  'percent-encoded twice': secret => encodeURIComponent(percent(secret)),
  'percent-encoded in part': secret =>
    secret.slice(0, 7) + percent(secret.slice(7, 9)) + secret.slice(9),
  base64,
  'base64 in a URL': secret => Buffer.from(secret).toString('base64url'),
  'base64 behind 1 byte': secret => base64(`:${secret}`),
  'base64 behind 2 bytes': secret => base64(`a:${secret}:b`),
  'base64 of a header': secret => base64(`Authorization: OSS ${secret}, x`),
  'base64, percent-encoded': secret => encodeURIComponent(base64(secret)),
  hex: secret => Buffer.from(secret).toString('hex'),
  'XML entities': secret => secret.replaceAll(/./g, c => `&#${c.charCodeAt(0)};`),
  'hexadecimal XML entities': secret => secret.replaceAll('&', '&amp;').replaceAll('/', '&#x2F;'),
  'JSON escapes': secret => secret.replaceAll('/', '\\/').replaceAll('+', '\\u002b'),
}

t.test('a secret is masked in every form, and as a piece of one', async t => {
  const mask = new SecretMask()
  mask.add(ACCESS_KEY_ID, KEY_SECRET, LONG_TOKEN, 'short1')
  for (const secret of [ACCESS_KEY_ID, KEY_SECRET, LONG_TOKEN.slice(0, 40)]) {
    for (const [name, echo] of Object.entries(ECHOES)) {
      const form = echo(secret)
      const masked = mask.mask(`before ${form} after`)
      t.match(masked, /^before .*\*\*\*.* after$/, name)
      const left = masked.replaceAll('***', '').length - 'before  after'.length
      t.ok(left < echo('').length + 8, `${name}: ${masked}`)
    }
  }
  t.equal(mask.mask('user short1 failed'), 'user *** failed', 'a short one as a whole')
  mask.add('key-of-oss-spool')
  t.equal(mask.mask('run "oss-spool ls"'), 'run "oss-spool ls"', 'words of a secret are words')
  t.equal(mask.mask('no key-of-oss-spool'), 'no ***', 'all of them are the secret')
  t.equal(mask.mask(`${KEY_SECRET}${KEY_SECRET}`), '***')
  t.equal(mask.mask(`%2${KEY_SECRET}%`), '%2***%')
  for (const text of [
    '',
    'NoSuchBucket',
    '%zz %',
    'part 7 of oss://b/k: 503 (request 5C06A3B67B8B5A3D)',
  ]) {
    t.equal(mask.mask(text), text, 'other text is unchanged')
  }
})

const MASKED_SIZE = LONG ? 2 ** 20 : 2 ** 18

t.test('the time to mask grows with the text, not with its square', async t => {
  const mask = new SecretMask()
  mask.add(ACCESS_KEY_ID, KEY_SECRET, LONG_TOKEN)
  // Returns the processor time of all of `MASKED_SIZE` in pieces, which other processes do not change.
  const time = (unit: string, pieces: number): number => {
    const size = MASKED_SIZE / pieces
    const text = unit.repeat(Math.ceil(size / unit.length)).slice(0, size)
    const times = [1, 2, 3].map(() => {
      const start = process.cpuUsage()
      for (let i = 0; i < pieces; i++) mask.mask(text)
      return process.cpuUsage(start).user
    })
    return Math.min(...times)
  }
  const marks = ['a', '%', '%2', '%25', '&#x', '&amp;', '\\']
  for (const unit of sampled(t, [...marks, KEY_SECRET, LONG_TOKEN, percent(KEY_SECRET)], 3)) {
    const ratio = (8 * time(unit, 1)) / time(unit, 8)
    t.ok(ratio < 30, `${unit.slice(0, 20)}: eight times the text took ${ratio} times as long`) // the square would take 64
  }
})

t.test('the short keys of a test server mask no part of a bucket or a command', async t => {
  const cwd = t.testdir({})
  const env = {
    OSS_ACCESS_KEY_ID: 'test',
    OSS_ACCESS_KEY_SECRET: 'secret',
    OSS_REGION: 'oss-cn-hangzhou',
    OSS_ENDPOINT: 'http://127.0.0.1:1',
  }
  const args = ['put', `oss://${BUCKET}/secret`, '--id=test-of-secret', '--retries=1']
  const { err, status } = await run(cwd, args, DATA, env)
  t.equal(status, 75)
  t.match(err, `oss://${BUCKET}/secret`)
  t.match(err, 'test-of-secret')
})

t.test('replaced credentials stay secret, and old ones are forgotten in the end', async t => {
  const mask = new SecretMask()
  for (let i = 0; i < 12; i++) mask.add(`id-of-credentials-${i}`, `${KEY_SECRET}${i}`)
  t.equal(mask.mask('id-of-credentials-0'), '***')
  for (let i = 0; i < 100; i++) mask.add(`another-one-${i}`)
  t.equal(mask.mask(KEY_SECRET), KEY_SECRET)
})

t.test('no field of a reply brings a secret into an error, a warning or a file', async t => {
  const server = await hostileServer(t)
  const client = {
    endpoint: server.endpoint,
    region: 'oss-cn-hangzhou',
    bucket: BUCKET,
    accessKeyId: ACCESS_KEY_ID,
    accessKeySecret: KEY_SECRET,
    stsToken: LONG_TOKEN,
  }
  const xml = (fields: Readonly<Record<string, string>>): string => {
    const elements = Object.entries({ Code: 'AccessDenied', Message: 'm', ...fields })
    const text = elements.map(([name, value]) => `<${name}>${value}</${name}>`).join('')
    return `<?xml version="1.0"?><Error>${text}</Error>`
  }
  const XML = { 'Content-Type': 'application/xml' }
  const fields: Readonly<Record<string, (echo: string) => string>> = {
    message: echo => reply(403, xml({ Message: `${'x'.repeat(40)} ${echo}` }), XML),
    'a message that is cut': echo => reply(403, xml({ Message: `${'x'.repeat(440)}${echo}` }), XML),
    code: echo => reply(403, xml({ Code: echo.slice(0, 120) }), XML),
    'request id': echo => reply(403, xml({ RequestId: echo.slice(0, 120) }), XML),
    EC: echo => reply(403, xml({ EC: echo.slice(0, 120) }), XML),
    'header of the request id': echo =>
      reply(403, xml({}), { ...XML, 'x-oss-request-id': echo.slice(0, 120) }),
    'header of the EC': echo => reply(403, xml({}), { ...XML, 'x-oss-ec': echo.slice(0, 120) }),
    'upload id': echo =>
      reply(
        200,
        `<InitiateMultipartUploadResult><UploadId>${echo}</UploadId></InitiateMultipartUploadResult>`,
        XML,
      ),
    'text that is no XML': echo => reply(403, echo),
    redirect: echo => reply(302, '', { Location: `http://127.0.0.1/${echo}` }),
  }
  const secrets = { ACCESS_KEY_ID, KEY_SECRET, LONG_TOKEN }
  const dir = t.testdir({})
  for (const [field, respond] of Object.entries(fields)) {
    for (const [secretName, secret] of Object.entries(secrets)) {
      const echo = secret.replaceAll('&', '&amp;')
      server.respond = () => respond(echo)
      const warnings: unknown[] = []
      const spool = new Spool({
        client,
        dir,
        partSize: 102_400,
        retry: { attempts: 1, minDelay: 1, maxDelay: 1 },
      })
      spool.on('warning', warning => warnings.push(warning))
      const id = `${field} ${secretName}`.replaceAll(' ', '-')
      const error = await spool
        .upload(id, () => streamOf(DATA), { id })
        .catch((reason: unknown) => reason)
      t.type(error, Error)
      const shown = inspect([error, warnings], {
        depth: Infinity,
        showHidden: true,
        breakLength: Infinity,
      })
      const files = fs
        .readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile() && entry.name.endsWith('.json'))
        .map(entry => fs.readFileSync(join(entry.parentPath, entry.name), 'latin1'))
      for (const text of [shown, JSON.stringify([error, warnings]), ...files]) {
        for (let at = 0; at + 12 <= secret.length; at++) {
          if (!text.includes(secret.slice(at, at + 12))) continue
          t.fail(`${field}: ${secretName} is in ${text.slice(0, 300)}`)
          break
        }
      }
    }
  }
})

t.test('argument errors of the library quote no secret', async t => {
  const client = {
    endpoint: 'http://127.0.0.1:1',
    region: 'oss-cn-hangzhou',
    bucket: BUCKET,
    accessKeyId: ACCESS_KEY_ID,
    accessKeySecret: KEY_SECRET,
  }
  const dir = t.testdir({})
  // A caller without types may pass a secret anywhere.
  const make = (options: unknown): Spool =>
    new Spool(options as ConstructorParameters<typeof Spool>[0])
  for (const [name, secret] of Object.entries({ KEY_SECRET, ACCESS_KEY_ID, LONG_TOKEN })) {
    const calls: readonly (() => unknown)[] = [
      () => make(secret),
      () => make({ client: secret }),
      () => make({ client: { ...client, region: secret } }),
      () => make({ client: { ...client, bucket: secret } }).upload('a', () => streamOf(DATA)),
      () => make({ client: { ...client, endpoint: `http://${secret}@host` } }),
      () => make({ client: { ...client, endpoint: `http://ak:${secret}@host` } }),
      () => make({ client: { ...client, endpoint: `ftp://${secret}` } }),
      () => make({ client: { ...client, credentials: secret } }),
      () => make({ client: { ...client, ca: { secret } } }),
      () => make({ client, dir, partSize: secret }),
      () => make({ client, dir, retry: { attempts: secret } }),
      () => make({ client, dir, [secret]: 1 }),
      () => make({ client, dir, maxRate: secret }),
      () =>
        make({ client, dir }).upload('a', () => streamOf(DATA), { storageClass: secret as 'IA' }),
      () => make({ client, dir }).upload('a', () => streamOf(DATA), { id: `${secret}/` }),
      () => make({ client, dir }).resume(`../${secret}`),
    ]
    for (const call of calls) {
      const error = await Promise.resolve()
        .then(call)
        .catch((reason: unknown) => reason)
      t.type(error, Error, String(call))
      t.notOk(
        inspect(error, { depth: Infinity, showHidden: true }).includes(secret.slice(4, 16)),
        `${name}: ${String(call)}`,
      )
    }
  }
})

t.test('argument errors of the command line quote no secret', async t => {
  const cwd = t.testdir({ file: 'x' })
  const { env } = await server(t, cwd)
  const write = (name: string, json: object): string => {
    fs.writeFileSync(join(cwd, name), JSON.stringify(json), { mode: 0o600 })
    return `--config=${name}`
  }
  const secret = KEY_SECRET
  const url = `oss://${BUCKET}/key`
  const uses: readonly (readonly [args: readonly string[], env?: Env])[] = [
    [['resume', `oss://${ACCESS_KEY_ID}:${secret}@bucket/key`]],
    [['put', `oss://${ACCESS_KEY_ID}:${secret}@bucket/key`, 'file']],
    [['put', `oss://${secret.replace('/', '')}/key`, 'file']],
    [['put', secret, 'file']],
    [['put', url, 'file', '--size', `-k${secret}`]],
    [['put', url, 'file', '--size', secret]],
    [['put', url, 'file', `--size=it's '${secret}' is invalid. ${secret}`]],
    [['put', url, 'file', `-k${secret}`]],
    [['put', url, 'file', `--access-key-secret=${secret}`]],
    [['put', url, 'file', '--storage-class', secret]],
    [['put', url, 'file', '--meta', secret]],
    [['put', url, 'file', '--retries', secret]],
    [['put', url, 'file', '--max-age', secret]],
    [['put', url, 'file', '--expect-md5', secret]],
    [['put', url, 'file', '--region', secret]],
    [['put', url, 'file', '--endpoint', `http://${ACCESS_KEY_ID}:${secret}@host`]],
    [['put', url, 'file', '--endpoint', `ftp://${secret}`]],
    [['put', url, 'file', '--part-size=8MiB'], { ...env, OSS_SPOOL_RETRIES: secret }],
    [['put', url, 'file'], { ...env, OSS_SPOOL_STORAGE_CLASS: secret }],
    [['put', url, 'file'], { ...env, OSS_SPOOL_QUIET: secret }],
    [['put', url, 'file'], { ...env, OSS_REGION: secret }],
    [['put', url, 'file', write('name.json', { [secret]: 1 })]],
    [['put', url, 'file', write('choice.json', { storageClass: secret })]],
    [['put', url, 'file', write('size.json', { partSize: secret })]],
    [['put', url, 'file', write('age.json', { maxAge: secret })]],
    [['put', url, 'file', '--log-format', secret]],
    [['put', url, 'file', '--progress', secret]],
    [['completion', secret]],
    [['worker', '--health', secret]],
    [[secret]],
    // Secrets of the environment are masked wherever they are given.
    [['put', url, `missing-${secret}`], { ...env, OSS_ACCESS_KEY_SECRET: secret }],
    [['resume', ACCESS_KEY_ID], { ...env, OSS_ACCESS_KEY_ID: ACCESS_KEY_ID }],
  ]
  for (const [args, own = env] of uses) {
    const { out, err, status } = await run(cwd, [...args, '--json', '--debug'], undefined, own)
    const name = JSON.stringify(args)
    t.not(status, 0, name)
    t.match(err, /oss-spool: ERR_/, 'there is a message')
    for (const each of [secret.slice(6, 18), ACCESS_KEY_ID.slice(4, 16)]) {
      t.notOk((out + err).includes(each), `${name}\n${err}`)
    }
  }
})
