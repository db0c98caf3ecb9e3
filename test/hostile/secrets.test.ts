/**
 * Secrets must not appear in the output of a command, in errors, in files of a spool directory, or in process
 * arguments. Every command runs as shipped, usually into a failure, with the most verbose flags.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { environment, run, start, until, type Env } from '../support/command-line.js'
import { BUCKET, bytes, streamOf } from '../support/oss.js'
import { SECRETS, secretsIn, secretsUnder } from '../support/secrets.js'
import { long } from '../support/long.js'

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
