/** The live check: no difference between two emulators, and exactly those of a server that differs on purpose. */
import { createServer, request, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { LiveCheck } from '../../src/live-check/live-check.js'
import type { ClientOptions } from '../../src/oss/client-options.js'
import { BUCKET } from '../support/oss.js'
import { until } from '../support/command-line.js'
import { sampled } from '../support/long.js'

interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: string
}
type Change = (reply: Reply, request: IncomingMessage) => void

/** Starts a server in front of `oss` that changes its replies. Resolves with its URL. */
async function serverBefore(t: Test, oss: Emulator, change: Change): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming
    const onward = request(oss.endpoint + url, { method, headers }, response => {
      void buffer(response).then(data => {
        const { statusCode: status = 0, headers: replied } = response
        const reply = { status, headers: { ...replied }, body: data.toString('latin1') }
        change(reply, incoming)
        if (method !== 'HEAD' && reply.body !== '')
          reply.headers['content-length'] = String(reply.body.length)
        outgoing.writeHead(reply.status, reply.headers)
        outgoing.end(Buffer.from(reply.body, 'latin1'))
      })
    })
    onward.on('error', () => outgoing.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  // `server.listen()` with a port returns no pipe.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function emulator(t: Test): Promise<Emulator> {
  const oss = await startEmulator({ buckets: [BUCKET] })
  t.teardown(() => oss.close())
  return oss
}

function checkOf(client: ClientOptions, signal = new AbortController().signal): LiveCheck {
  return new LiveCheck({ client: { ...client, bucket: BUCKET }, prefix: 'live/', signal })
}

/** Returns what the bucket still has. */
async function remainsOf(oss: Emulator): Promise<string> {
  const { default: OSS } = await import('ali-oss')
  const client = new OSS(oss.clientOptions(BUCKET))
  // The client returns no list where the typings promise an empty one.
  const { objects } = Object(await client.listV2({}, {}))
  const { uploads } = Object(await client.listUploads({}))
  return JSON.stringify([objects ?? [], uploads ?? []].flat())
}

/** Ways in which the check leaves something to remove. Each transfers 80 MB, so that one runs with the other tests. */
const SCENARIOS: [name: string, body: (t: Test) => Promise<void>][] = []

function scenario(name: string, body: (t: Test) => Promise<void>): void {
  SCENARIOS.push([name, body])
}

t.test('two emulators do not differ, and nothing is left', async t => {
  const oss = await emulator(t)
  const check = checkOf(oss.clientOptions())
  const forecast = await check.rehearse()
  t.equal(oss.requests.length, 0, 'the rehearsal sends nothing')
  t.ok(forecast.requests < 300)
  t.ok(forecast.bytes < 50_000_000)
  const { differences, leftBehind, requests, bytes } = await check.run()
  t.same(differences, [])
  t.equal(leftBehind, undefined)
  t.same({ requests, bytes }, { requests: forecast.requests, bytes: forecast.bytes })
  t.equal(oss.requests.length, requests, 'every request is recorded')
  t.ok(oss.requests.every(({ key }) => key === undefined || key.startsWith(forecast.folder)))
  t.equal(await remainsOf(oss), '[]')
})

t.test('exactly the changes of a server are reported, and no secret is recorded', async t => {
  const oss = await emulator(t)
  const keys = oss.sts.issue()
  const signatures = new Set<string>()
  const endpoint = await serverBefore(t, oss, (reply, { method, url = '', headers }) => {
    const { authorization = '' } = headers
    for (const text of [authorization, url]) {
      const signature = /[Ss]ignature=(\w{64})/.exec(text)?.[1]
      if (signature !== undefined) signatures.add(signature)
    }
    reply.headers['server'] = 'Another'
    reply.headers['x-echo'] = `${authorization} ${String(headers['x-oss-security-token'])}`
    if (method === 'GET') reply.body = reply.body.replace('NoSuchKey', 'NoSuchObject')
    const [first] = /<LastModified>[^<]*/.exec(reply.body) ?? []
    if (reply.body.includes('<ListBucketResult>') && first !== undefined) {
      const time = Date.parse(first.slice('<LastModified>'.length)) + 8 * 3_600_000
      const local = new Date(time).toISOString()
      reply.body = reply.body.replace(first, `<LastModified>${local}`)
    }
    // A server that describes the signature in its own words.
    if (reply.body.includes('<Code>SignatureDoesNotMatch')) {
      reply.body = reply.body.replace('</Message>', ` (${url} ${authorization})</Message>`)
    }
  })
  const check = checkOf({ ...oss.clientOptions(), ...keys, endpoint })
  await check.rehearse()
  const { differences, leftBehind } = await check.run()
  t.equal(leftBehind, undefined)
  const own = differences.filter(({ fact }) => fact !== 'header x-echo' && fact !== 'Error/Message')
  t.same(
    own.map(({ fact, oss, emulator }) => ({ fact, oss, emulator })),
    [
      { fact: 'header server', oss: 'Another', emulator: 'AliyunOSS' },
      { fact: 'Error/Code', oss: 'NoSuchObject', emulator: 'NoSuchKey' },
      {
        fact: 'ListBucketResult/Contents/LastModified',
        oss: '0000-00-00T00:00:00.000Z (480 min off)',
        emulator: '0000-00-00T00:00:00.000Z',
      },
    ],
  )
  const described = differences.filter(({ fact }) => fact === 'Error/Message')
  t.same(
    described.flatMap(({ where }) => where),
    ['SignatureDoesNotMatch: GET', 'SignatureDoesNotMatch: PUT', 'presigned URL: GET'],
  )

  const transcript = JSON.stringify([...check.transcript()])
  t.ok(signatures.size > 100)
  const secrets = [keys.accessKeyId, keys.accessKeySecret, keys.stsToken, ...signatures]
  t.same(
    secrets.filter(secret =>
      [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')].some(text =>
        transcript.includes(text),
      ),
    ),
    [],
  )
})

scenario('every version is removed from a bucket that keeps them', async t => {
  const oss = await emulator(t)
  const { default: OSS } = await import('ali-oss')
  // The typings lack the calls about versions.
  const client = Object(new OSS(oss.clientOptions(BUCKET)))
  await client.putBucketVersioning(BUCKET, 'Enabled')
  const check = checkOf(oss.clientOptions())
  await check.rehearse()
  const { leftBehind, differences } = await check.run()
  t.equal(leftBehind, undefined)
  t.ok(differences.some(({ fact }) => fact === 'header x-oss-version-id'))
  t.notOk(
    differences.some(({ fact }) => fact.endsWith('/UploadId')),
    'upload ids of one check do not depend on another',
  )
  const { objects, deleteMarker } = await client.getBucketVersions({ prefix: 'live/' })
  t.same([objects ?? [], deleteMarker ?? []].flat(), [])
})

scenario('everything is removed after an interrupt', async t => {
  const oss = await emulator(t)
  const controller = new AbortController()
  const check = checkOf(oss.clientOptions(), controller.signal)
  await check.rehearse()
  const running = check.run()
  await until(() => oss.requests.some(({ key }) => key?.endsWith('/pages')))
  controller.abort()
  const { leftBehind, differences } = await running
  t.equal(leftBehind, undefined)
  t.ok(differences.length > 0)
  t.equal(await remainsOf(oss), '[]')
})

scenario('a network that fails is a difference, and everything is removed', async t => {
  const oss = await emulator(t)
  const check = checkOf(oss.clientOptions())
  await check.rehearse()
  oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', times: 'always' })
  const { leftBehind, differences } = await check.run()
  t.equal(leftBehind, undefined)
  const facts = new Set(differences.map(({ fact }) => fact))
  for (const fact of ['reply', 'request', 'status']) t.ok(facts.has(fact), fact)
  t.equal(await remainsOf(oss), '[]')
})

for (const [name, body] of sampled(t, SCENARIOS, 3)) void t.test(name, body)
