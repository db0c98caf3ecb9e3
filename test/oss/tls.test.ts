/**
 * HTTPS against the emulator with our own certificate authority: trusted and rejected certificates, their effect
 * on uploads, and scripts that exit by themselves.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import type { ClientOptions } from '../../src/oss/client-options.js'
import { unverifiedTlsWarning } from '../../src/oss/tls-identity.js'
import { CERT, KEY } from '../emulator/certificate.js'
import { makeAuthority } from '../support/authority.js'
import { useProxies } from '../support/no-proxy.js'
import { BUCKET, bytes, streamOf } from '../support/oss.js'
import { SLOWEST } from '../support/slowest.js'
import { long } from '../support/long.js'
import { pathOf, urlOf } from '../support/project.js'

useProxies()

const authority = makeAuthority(t)
const skip = authority === undefined && 'needs openssl'
const { ca, path: caPath } = authority ?? { ca: '', path: '' }
const sign = (...names: string[]): { key: string; cert: string } =>
  authority?.sign(...names) ?? { key: '', cert: '' }

async function emulator(t: Test, tls: { key: string; cert: string }): Promise<Emulator> {
  const oss = await startEmulator({ buckets: [BUCKET], tls })
  t.teardown(() => oss.close())
  return oss
}

interface Case {
  readonly spool: Spool
  readonly warnings: string[]
}

function spoolFor(oss: Emulator, dir: string, more: Partial<ClientOptions> = {}): Case {
  const spool = new Spool({
    client: { ...oss.clientOptions(BUCKET), ...more },
    dir,
    partSize: 102_400,
  })
  const warnings: string[] = []
  spool.on('warning', ({ message }) => warnings.push(message))
  return { spool, warnings }
}

const upload = (spool: Spool, data: Buffer) => spool.upload('k', () => streamOf(data), { id: 'k' })

t.test('trusts a custom CA for an endpoint with an IP address', { skip }, async t => {
  // `ali-oss` sends the bucket's domain as `Host`, but the certificate must match the host of the endpoint.
  const oss = await emulator(t, sign('IP:127.0.0.1'))
  t.match(oss.endpoint, /^https:\/\/127/)
  const forms: ClientOptions['ca'][] = [ca, Buffer.from(ca), [CERT, ca]]
  for (const [i, form] of forms.entries()) {
    const data = bytes(300_000)
    const result = await upload(spoolFor(oss, t.testdir({}), { ca: form! }).spool, data) // all defined
    t.equal(result.parts, 3, `form ${i}`)
  }
  // No need to read the object: the upload verifies the CRC64 of the stored bytes.
  t.ok(oss.requests.some(({ operation }) => operation === 'CompleteMultipartUpload'))
})

t.test('the caller’s agent takes precedence over ca', { skip }, async t => {
  const oss = await emulator(t, sign('IP:127.0.0.1'))
  const httpsAgent = new https.Agent({ ca })
  t.teardown(() => httpsAgent.destroy())
  const { spool } = spoolFor(oss, t.testdir({}), { httpsAgent, ca: CERT })
  t.equal((await upload(spool, bytes(1000))).size, 1000)
})

t.test('an invalid certificate fails the upload immediately, resumable', { skip }, async t => {
  const own = sign('IP:127.0.0.1')
  const cases: [string, { key: string; cert: string }, Partial<ClientOptions>, RegExp][] = [
    ['an untrusted CA', own, {}, /UNABLE_TO_VERIFY|SELF_SIGNED|ISSUER/],
    ['another CA', own, { ca: CERT }, /UNABLE_TO_VERIFY|SELF_SIGNED|ISSUER/],
    ['self-signed', { key: KEY, cert: CERT }, { ca }, /DEPTH_ZERO_SELF_SIGNED_CERT/],
    ['for another host', sign('DNS:elsewhere.test'), { ca }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    // A certificate that matches only the `Host` header does not prove the identity of the endpoint.
    ['for the bucket’s domain only', sign('DNS:*.oss-cn-hangzhou.aliyuncs.com'), { ca }, /ALTNAME/],
  ]
  for (const [title, tls, client, cause] of cases) {
    for (const size of [1000, 300_000]) {
      const oss = await emulator(t, tls)
      const { spool, warnings } = spoolFor(oss, t.testdir({}), client)
      const at = performance.now()
      const error: unknown = await upload(spool, bytes(size)).catch((error: unknown) => error)
      t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true, message: cause }, title)
      t.ok(performance.now() - at < SLOWEST, `${title}: not retried many times`)
      t.ok(warnings.length <= 1, `${title}: ${warnings.join('; ')}`)
      t.same(oss.requests, [], `${title}: no request was sent to an unverified server`)
      await oss.close()
    }
  }
})

t.test('resumes an upload once its certificate is trusted', { skip }, async t => {
  const oss = await emulator(t, sign('IP:127.0.0.1'))
  const dir = t.testdir({})
  const data = bytes(300_000)
  await t.rejects(upload(spoolFor(oss, dir).spool, data), { code: 'ERR_SPOOL_DENIED' })
  const result = await spoolFor(oss, dir, { ca }).spool.resume('k')
  t.match(result, { size: data.length, sourceRead: false, resumed: true })
})

t.test('an agent that verifies no certificate is a warning, once per spool', { skip }, async t => {
  const oss = await emulator(t, sign('IP:127.0.0.1'))
  const httpsAgent = new https.Agent({ rejectUnauthorized: false })
  t.teardown(() => httpsAgent.destroy())
  const { spool, warnings } = spoolFor(oss, t.testdir({}), { httpsAgent })
  await upload(spool, bytes(1000))
  await upload(spool, bytes(1000))
  t.match(warnings, [/not verified, because the agent of the client/])
  t.equal(warnings.length, 1)
  oss.inject({ operation: 'UploadPart', do: 'answer', status: 403, code: 'AccessDenied' })
  await t.rejects(
    spool.upload('r', () => streamOf(bytes(300_000)), { id: 'r' }),
    { code: 'ERR_SPOOL_DENIED' },
  )
  const later = spoolFor(oss, spool.dir, { httpsAgent })
  await later.spool.resume('r')
  t.match(later.warnings, [/not verified/], 'resume warns, too')
})

t.test('what turns the verification of certificates off', t => {
  const OFF = { NODE_TLS_REJECT_UNAUTHORIZED: '0' }
  const agent = (options?: https.AgentOptions): https.Agent => new https.Agent(options)
  const warns = (...of: Parameters<typeof unverifiedTlsWarning>): boolean =>
    unverifiedTlsWarning(...of) !== undefined
  t.notOk(warns('https://a', undefined, {}))
  t.notOk(warns('https://a', agent(), { NODE_TLS_REJECT_UNAUTHORIZED: '1' }))
  t.ok(warns('https://a', undefined, OFF))
  t.ok(warns('https://a', agent(), OFF))
  t.ok(warns('https://a', agent({ rejectUnauthorized: false }), {}))
  // The agents of agentkeepalive are no https.Agent.
  const foreign = Object.assign(new http.Agent(), { options: { rejectUnauthorized: false } })
  t.ok(warns('https://a', foreign, {}))
  t.notOk(warns('https://a', agent({ rejectUnauthorized: true }), OFF), 'the agent has priority')
  t.notOk(warns('http://a', undefined, OFF), 'nothing is encrypted anyway')
  t.end()
})

t.test('ca is validated', t => {
  const client = {
    accessKeyId: 'a',
    accessKeySecret: 'b',
    region: 'oss-cn-hangzhou',
    bucket: 'abc',
  }
  for (const wrong of [1, {}, [1]]) {
    const make = () => new Spool({ client: { ...client, ca: wrong as unknown as string } }) // wrong on purpose
    t.throws(make, { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE', message: /client\.ca/ })
  }
  t.end()
})

async function run(
  args: readonly string[],
  input: Buffer,
  env: Readonly<Record<string, string>>,
): Promise<{ status: unknown; out: string; err: string; at: number }> {
  const child = spawn(process.execPath, args, { env: { PATH: process.env['PATH'], ...env } })
  child.stdin.on('error', () => undefined) // the process may exit before reading everything
  child.stdin.end(input)
  const closed = once(child, 'close')
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = (await closed) as unknown[]
  return { status, out, err, at: Date.now() }
}

if (!skip)
  void long(t, 'the command line trusts NODE_EXTRA_CA_CERTS', async t => {
    const oss = await emulator(t, sign('IP:127.0.0.1'))
    const HOME = t.testdir({})
    const { accessKeyId, accessKeySecret } = oss.clientOptions()
    const env = { HOME, OSS_ACCESS_KEY_ID: accessKeyId, OSS_ACCESS_KEY_SECRET: accessKeySecret }
    const bin = pathOf('dist/cli/bin.js')
    const connection = ['--endpoint', oss.endpoint, '--region', 'cn-hangzhou']
    const put = [bin, 'put', `oss://${BUCKET}/k`, '--id=k', ...connection]
    const refused = await run(put, bytes(1000), env)
    t.match(refused, { status: 75, err: /ERR_SPOOL_DENIED.*certificate/ })
    const trusting = { ...env, NODE_EXTRA_CA_CERTS: caPath }
    t.match(await run([bin, 'resume', 'k', ...connection], bytes(0), trusting), { status: 0 })
    t.match(await run(put, bytes(300_000), trusting), { status: 0, err: '' })
  })

if (!skip)
  void long(t, 'a script exits by itself after success and after failure', async t => {
    const oss = await emulator(t, sign('IP:127.0.0.1'))
    const script = `
    import { Spool } from ${JSON.stringify(urlOf('dist/index.js').href)}
    const [client, dir, maxRate] = JSON.parse(process.argv[1])
    const spool = new Spool({ client, dir, partSize: 102400, maxRate: maxRate ?? undefined, retry: { attempts: 2, maxDelay: 10 } })
    await spool.upload('k', () => process.stdin).then(({ size }) => console.log(size, Date.now()),
      ({ code }) => console.log(code, Date.now()))`
    const client = oss.clientOptions(BUCKET)
    const cases: [string, object, number | undefined, RegExp][] = [
      ['success', { ...client, ca }, undefined, /^300000 /],
      ['success with a rate limit', { ...client, ca }, 1e6, /^300000 /],
      ['failure', client, undefined, /^ERR_SPOOL_DENIED /],
      [
        'unreachable endpoint',
        { ...client, endpoint: 'https://127.0.0.1:1', ca },
        1e6,
        /UPLOAD_FAILED /,
      ],
    ]
    for (const [title, options, maxRate, output] of cases) {
      const argument = JSON.stringify([options, t.testdir({}), maxRate])
      const args = ['--input-type=module', '-e', script, argument]
      const { status, out, err, at } = await run(args, bytes(300_000), { HOME: t.testdirName })
      t.equal(status, 0, `${title}: ${err}`)
      t.match(out, output, title)
      const lingered = at - Number(out.split(' ')[1])
      t.ok(lingered < SLOWEST, `${title}: exited ${lingered} ms later`)
    }
  })

t.test('a server that speaks no TLS fails with the reason, and a hint at the scheme', async t => {
  const oss = await startEmulator({ buckets: [BUCKET] })
  t.teardown(() => oss.close())
  const endpoint = oss.endpoint.replace('http:', 'https:')
  const { spool, warnings } = spoolFor(oss, t.testdir({}), { endpoint, secure: true })
  const options = { id: 'k', retry: { attempts: 1 } }
  const failure: unknown = await spool
    .upload('k', () => streamOf(bytes(10)), options)
    .catch((error: unknown) => error)
  t.match(failure, { code: 'ERR_SPOOL_UPLOAD_FAILED', hint: /http:\/\// })
  // What OpenSSL writes has its error number and the place in its source.
  for (const text of [String(failure), ...warnings]) t.notMatch(text, /error:|\.c:|: \./)
})
