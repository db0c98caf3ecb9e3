/**
 * Hostile clients of the emulator. For any bytes it receives, the emulator answers or closes the connection,
 * writes nothing outside its directory, and keeps serving other requests.
 */
import * as fs from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import OSS from 'ali-oss'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { signed } from '../emulator/clients.js'
import { randomOf } from '../support/seed.js'
import { fuzz, mutate, oneOf, type Random } from './fuzz.js'

const BUCKET = 'bucket'

/** Milliseconds of silence after which the client takes a request for incomplete and closes the connection. */
const SILENCE = 150

/**
 * Sends `bytes` and resolves with the received text when the connection is closed.
 *
 * @param hangUp – close the connection after `SILENCE` ms without data
 */
function ask(port: number, bytes: Buffer, hangUp: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const limit = setTimeout(
      () => reject(new Error('the emulator neither answers nor closes the connection')),
      60_000,
    )
    const socket = connect(port, '127.0.0.1', () => void socket.write(bytes))
    socket.setEncoding('latin1')
    if (hangUp) socket.setTimeout(SILENCE, () => socket.destroy())
    socket.on('data', (text: string) => void (answer += text))
    socket
      .on('error', () => {})
      .on('close', () => {
        clearTimeout(limit)
        resolve(answer)
      })
  })
}

/** Returns requests that the emulator understands, as bytes. */
async function samples(oss: Emulator): Promise<Buffer[]> {
  const text = (
    method: string,
    path: string,
    resource: string,
    body = '',
    more: Record<string, string> = {},
  ): Buffer => {
    const headers = {
      Host: `127.0.0.1:${oss.port}`,
      Connection: 'close',
      ...signed(oss, { method, resource }),
      ...more,
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`)
  }
  const lengthOf = (body: string): Record<string, string> => ({
    'Content-Length': String(body.length),
  })
  const chunked = '5;a=b\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n'
  const part =
    '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"A"</ETag></Part></CompleteMultipartUpload>'
  const remove = '<Delete><Quiet>false</Quiet><Object><Key>a</Key></Object></Delete>'
  const endpoint = `http://localhost:${oss.port}` // `ali-oss` makes no URLs for IP addresses
  const presigned = (v4: boolean): Promise<string> =>
    v4
      ? new OSS({
          ...oss.clientOptions(BUCKET),
          authorizationV4: true,
        }).signatureUrlV4('PUT', 60, {}, 'p')
      : Promise.resolve(
          new OSS({ ...oss.clientOptions(BUCKET), endpoint }).signatureUrl('p', { method: 'PUT' }),
        )
  const urls = await Promise.all([presigned(true), presigned(false)])
  const v4 = `OSS4-HMAC-SHA256 Credential=${oss.credentials.accessKeyId}/20260101/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host,Signature=${'0'.repeat(64)}`
  return [
    text('PUT', `/${BUCKET}/a/b`, `/${BUCKET}/a/b`, 'hello', lengthOf('hello')),
    text('PUT', `/${BUCKET}/chunks`, `/${BUCKET}/chunks`, chunked, {
      'Transfer-Encoding': 'chunked',
    }),
    text(
      'PUT',
      `/${BUCKET}/..%2f..%2f..%2fescape`,
      `/${BUCKET}/../../../escape`,
      'x',
      lengthOf('x'),
    ),
    text('PUT', '/..%2f..%2fescape/key', '/../../escape/key', 'x', lengthOf('x')),
    text('GET', `/${BUCKET}/?prefix=a&max-keys=5&encoding-type=url`, `/${BUCKET}/`),
    text('POST', `/${BUCKET}/a?uploads`, `/${BUCKET}/a?uploads`),
    text(
      'POST',
      `/${BUCKET}/a?uploadId=${'0'.repeat(32)}`,
      `/${BUCKET}/a?uploadId=${'0'.repeat(32)}`,
      part,
      lengthOf(part),
    ),
    text(
      'PUT',
      `/${BUCKET}/a?partNumber=1&uploadId=../../x`,
      `/${BUCKET}/a?partNumber=1&uploadId=../../x`,
      'x',
      lengthOf('x'),
    ),
    text('POST', `/${BUCKET}/?delete`, `/${BUCKET}/?delete`, remove, lengthOf(remove)),
    text('GET', `/${BUCKET}/a/b`, `/${BUCKET}/a/b`, '', { Range: 'bytes=0-3,9-' }),
    text('PUT', `/${BUCKET}/v4`, '', '', {
      Authorization: v4,
      'x-oss-date': '20260101T000000Z',
      'Content-Length': '0',
    }),
    ...urls.map(url =>
      Buffer.from(
        `PUT ${url.slice(url.indexOf('/', 8))} HTTP/1.1\r\nHost: ${BUCKET}.oss-cn-hangzhou.aliyuncs.com\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`,
      ),
    ),
  ]
}

/** Lists the names next to and above the data directory, where no file may appear. */
function around(dir: string): string {
  return JSON.stringify([fs.readdirSync(join(dir, '..')), fs.readdirSync(join(dir, '..', '..'))])
}

async function startTest(t: Test): Promise<{ oss: Emulator; dir: string; random: Random }> {
  const dir = join(t.testdir({ outer: { data: {} } }), 'outer', 'data')
  const oss = await startEmulator({ dir, buckets: [BUCKET], idleTimeout: 300, createBuckets: true })
  t.teardown(() => oss.close())
  return { oss, dir, random: randomOf(t) }
}

t.test(
  'mutated requests are answered or refused, and write no file outside the data directory',
  async t => {
    const { oss, dir, random } = await startTest(t)
    const before = around(dir)
    const all = await samples(oss)
    const statuses = new Map<string, number>()
    for (const bytes of all) {
      const status = /^HTTP\/1.1 (\d+)/.exec(await ask(oss.port, bytes, false))?.[1] ?? 'none'
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
    t.ok(
      (statuses.get('200') ?? 0) >= 7,
      `most unmodified requests succeed: ${JSON.stringify([...statuses])}`,
    )
    t.notOk(statuses.has('500'), 'no unmodified request fails with status 500')
    const one = async (): Promise<void> => {
      const pipelined = random() < 0.2 ? [oneOf(random, all)] : []
      const mutant = Buffer.concat([mutate(random, oneOf(random, all)), ...pipelined])
      const answer = await ask(oss.port, mutant, true)
      if (/^HTTP\/1.1 500/m.test(answer) || !/^(HTTP\/1.1 \d|$)/.test(answer)) {
        throw new Error(`${answer} to ${mutant.toString('latin1')}`)
      }
    }
    await fuzz(t, 50, () => Promise.all(Array.from({ length: 8 }, one)))
    t.equal(around(dir), before, 'no file was written outside the data directory')
    const client = new OSS(oss.clientOptions(BUCKET))
    await client.put('after', Buffer.from('all'))
    t.equal(String((await client.get('after')).content), 'all', 'later requests succeed')
  },
)

t.test('endless headers and chunk extensions end the connection within 64 MiB', async t => {
  const { oss } = await startTest(t)
  const endless = (first: string, piece: string): Promise<number> =>
    new Promise(resolve => {
      let sent = 0
      const socket = connect(oss.port, '127.0.0.1', () => {
        socket.write(first)
        const more = (): void => {
          if (socket.destroyed) return
          sent += piece.length
          if (socket.write(piece)) setImmediate(more)
          else socket.once('drain', more)
        }
        more()
      })
      socket.on('error', () => {}).on('close', () => resolve(sent))
      socket.resume()
    })
  const host = `Host: 127.0.0.1:${oss.port}\r\n`
  for (const [name, first, piece] of [
    ['a request line', 'GET /', 'a'.repeat(10_000)],
    ['a header', `GET / HTTP/1.1\r\n${host}X-A: `, 'a'.repeat(10_000)],
    ['headers', `GET / HTTP/1.1\r\n${host}`, 'X-A: b\r\n'.repeat(1000)],
    [
      'a chunk extension',
      `PUT /${BUCKET}/a HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n5;`,
      'a'.repeat(10_000),
    ],
  ] as const) {
    const sent = await endless(first, piece)
    t.ok(sent < 64 * 2 ** 20, `${name}: the connection is closed after ${sent} bytes`)
  }
})

t.test('XML bombs are refused with status 400', async t => {
  const { oss } = await startTest(t)
  const client = new OSS(oss.clientOptions(BUCKET))
  const bombs = [
    `<!DOCTYPE a [<!ENTITY b "${'c'.repeat(1000)}">]><Delete>${'&b;'.repeat(1000)}</Delete>`,
    '<Delete>'.repeat(100_000),
    `${'<a>'.repeat(200_000)}${'</a>'.repeat(200_000)}`,
    `<Delete>${'&#x41;'.repeat(500_000)}</Delete>`,
  ]
  for (const body of bombs) {
    const headers = {
      Host: `127.0.0.1:${oss.port}`,
      Connection: 'close',
      ...signed(oss, { method: 'POST', resource: `/${BUCKET}/?delete` }),
      'Content-Length': String(body.length),
    }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const answer = await ask(
      oss.port,
      Buffer.from(`POST /${BUCKET}/?delete HTTP/1.1\r\n${lines.join('')}\r\n${body}`),
      false,
    )
    t.match(answer, /^HTTP\/1.1 400/, body.slice(0, 20))
  }
  await client.put('after', Buffer.from('all'))
})
