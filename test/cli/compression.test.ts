/** `--gzip` and `--zstd` of `put` and `run`: compressed on the way, and exactly the source when decompressed. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import OSS from 'ali-oss'
import t from 'tap'
import { crc64 } from '../../src/crc64.js'
import type { Emulator } from '../../src/emulator/index.js'
import { createDecompressor, isCompressionSupported } from '../../src/util/compression.js'
import { get, PART, server, shell, start, until, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { sampled } from '../support/long.js'
import { BUCKET, bytes, sha256 } from '../support/oss.js'

const K = `oss://${BUCKET}/k`
const PUT = ['put', '--gzip', K]
const RUN = ['run', K, '--gzip', '--id=k', '--part-size=100KiB', '--retries=1']
/** Prints `data` and notes that it was started. */
const PRODUCER = ['--', 'sh', '-c', 'echo x >> started; cat data']
const noZstd = !isCompressionSupported('zstd') && `Node ${process.version} has no zstd`
const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

async function unzipped(oss: Emulator, key = 'k'): Promise<Buffer> {
  return gunzipSync((await get(oss, key)) ?? '')
}

const parsed = ({ out }: { out: string }) => JSON.parse(out)

/** Returns the lines of `--progress json`. */
function progressOf(err: string): { phase: string; size?: number; eta?: number }[] {
  const lines = err.split('\n').filter(line => line.startsWith('{'))
  return lines.map(line => JSON.parse(line).progress)
}

t.test('put compresses files and standard input, and the key stays as given', async t => {
  const data = Buffer.concat([Buffer.alloc(300_000, 'a line\n'), bytes(200_000)])
  const dir = t.testdir({ empty: '' })
  await writeFile(join(dir, 'data'), data)
  const { oss, env } = await server(t, dir)
  const calls: readonly (readonly [key: string, args: readonly string[], input?: Buffer])[] = [
    ['file', ['put', '--gzip', `oss://${BUCKET}/file`, 'data']],
    ['level', ['put', `oss://${BUCKET}/level`, 'data', '--gzip=1']],
    ['last', ['put', `oss://${BUCKET}/last`, '--gzip'], data],
    ['stdin.gz', ['put', `oss://${BUCKET}/stdin.gz`, '-', '--gzip=9'], data],
  ]
  for (const [key, args, input] of calls) {
    const done = await run(dir, [...args, '--json', '--part-size=100KiB'], input, env)
    t.equal(done.status, 0, done.err)
    const object = await get(oss, key)
    t.same(gunzipSync(object ?? ''), data, key)
    t.match(parsed(done), { key, size: object?.length, crc64: String(crc64(object ?? data)) })
  }
  const { res } = await new OSS(oss.clientOptions(BUCKET)).head('stdin.gz')
  const headers = { ...res.headers } as Record<string, unknown>
  t.equal(headers['content-encoding'], undefined)
  t.equal(headers['content-type'], 'application/gzip')

  const folder = await run(
    dir,
    ['put', '--gzip', `oss://${BUCKET}/d/`, 'data', 'empty'],
    undefined,
    env,
  )
  t.equal(folder.status, 0, folder.err)
  t.same(await unzipped(oss, 'd/data'), data)
  t.same(await unzipped(oss, 'd/empty'), Buffer.alloc(0), 'no bytes are a valid empty gzip file')
  t.same((await get(oss, 'd/empty'))?.length, gzipSync('').length)
})

t.test('run compresses the output of a command; a failed one publishes nothing', async t => {
  const dir = t.testdir({ data: 'the output' })
  const { oss, env } = await server(t, dir)
  t.match(await run(dir, [...RUN, ...PRODUCER], undefined, env), { status: 0, out: /^oss:/ })
  t.equal(String(await unzipped(oss)), 'the output')
  const failed = ['run', `oss://${BUCKET}/failed`, '--gzip', '--shell', 'cat data; exit 3']
  t.match(await run(dir, failed, undefined, env), { status: 3 })
  t.equal(await get(oss, 'failed'), undefined)
  const none = ['run', `oss://${BUCKET}/none`, '--gzip', '--json', '--', 'true']
  t.match(parsed(await run(dir, none, undefined, env)), { sourceRead: false })
  t.same(await unzipped(oss, 'none'), Buffer.alloc(0))
})

t.test('gzip itself reads the object', async t => {
  const dir = t.testdir({})
  const line = `seq 200000 | oss-spool put --local --gzip oss://${BUCKET}/seq.gz --expect-bytes=1288895 &&
gunzip -c < oss-data/buckets/${BUCKET}/objects/seq.gz.object/body-* | sha256sum && seq 200000 | sha256sum`
  const { out, err, status } = await shell(dir, line).done
  t.equal(status, 0, err)
  const [, unpacked, original] = out.trim().split('\n')
  t.equal(unpacked, original)
})

t.test('--zstd compresses with zstd', { skip: noZstd }, async t => {
  const data = Buffer.concat([Buffer.alloc(300_000, 'a line\n'), bytes(200_000)])
  const dir = t.testdir({ empty: '' })
  await writeFile(join(dir, 'data'), data)
  const { oss, env } = await server(t, dir)
  for (const [args, expected] of [
    [['put', '--zstd', K, 'data'], data],
    [['put', '--zstd=19', K, 'data'], data],
    [['put', '--zstd=1', K, 'empty'], Buffer.alloc(0)],
    [['run', '--zstd', K, '--', 'cat', 'data'], data],
  ] as const) {
    const done = await run(dir, args, undefined, env)
    t.equal(done.status, 0, done.err)
    const decompressor = createDecompressor('zstd')
    decompressor?.end(await get(oss, 'k'))
    t.same(Buffer.concat((await decompressor?.toArray()) ?? []), expected, args.join(' '))
  }
})

t.test('wrong uses exit with 2 before a byte is read or a request is sent', async t => {
  const dir = t.testdir({ data: 'the file' })
  const { oss, env } = await server(t, dir)
  const wrong: readonly (readonly [args: readonly string[], err: RegExp, env?: Env])[] = [
    [['put', K, 'data', '--gzip=0'], /from 1 to 9/],
    [['put', K, 'data', '--gzip=10'], /from 1 to 9/],
    [['put', K, 'data', '--gzip='], /from 1 to 9/],
    [['put', K, 'data', '--zstd=fast'], /from 1 to 22/],
    [['put', K, 'data', '--zstd=23'], /from 1 to 22/],
    [['put', K, 'data', '--gzip', '--gzip=9'], /twice/],
    [['put', K, 'data', '--gzip', '--zstd'], /--gzip and --zstd cannot be combined/],
    [['run', K, '--zstd=1', '--gzip=1', ...PRODUCER], /cannot be combined/],
    [['put', K, 'data', '--gzip', '--in-place'], /--in-place/],
    [['put', K, 'data', '--gzip', '--if-changed'], /--if-changed/],
    [['put', K, 'data', '--gzip'], /--in-place/, { OSS_SPOOL_IN_PLACE: '1' }],
    [['put', K, 'data', '--in-place'], /--gzip/, { OSS_SPOOL_GZIP: '6' }],
    [['put', K, 'data', '--dry-run', '--gzip', '--in-place'], /--in-place/],
    [['put', '--gzip', '9', K, 'data'], /--gzip=9/],
    [['run', K, '--gzip', '9', ...PRODUCER], /--gzip=9/],
    [['put', K, 'data'], /OSS_SPOOL_GZIP/, { OSS_SPOOL_GZIP: 'yes' }],
    [['put', K, 'data'], /cannot be combined/, { OSS_SPOOL_GZIP: '1', OSS_SPOOL_ZSTD: '1' }],
    [['resume', '--all', '--gzip'], /unknown option '--gzip/],
  ]
  for (const [args, err, more] of wrong) {
    const done = await run(dir, args, undefined, { ...env, ...more })
    t.match(done, { status: 2, out: '', err }, `${args.join(' ')}\n${done.err}`)
  }
  t.equal(oss.requests.length, 0)
  t.notOk(existsSync(join(dir, 'started')))
  t.notOk(existsSync(join(dir, 'spool')))
})

t.test('--zstd exits with 2 where Node has no zstd', { skip: noZstd === false }, async t => {
  const dir = t.testdir({ data: 'the file' })
  const { oss, env } = await server(t, dir)
  for (const args of [
    ['put', K, 'data', '--zstd'],
    ['put', K, '--zstd=3'],
    ['run', K, '--zstd', ...PRODUCER],
  ]) {
    const done = await run(dir, args, undefined, env)
    t.match(done, { status: 2, out: '', err: new RegExp(`22\\.15.*${process.version}`) })
  }
  t.match(await run(dir, ['put', K, 'data'], undefined, { ...env, OSS_SPOOL_ZSTD: '3' }), {
    status: 2,
  })
  t.equal(oss.requests.length, 0)
  t.notOk(existsSync(join(dir, 'started')))
})

t.test('a configured compression applies to put and run, and to standard input', async t => {
  const dir = t.testdir({ data: 'the file' })
  const { oss, env } = await server(t, dir)
  const configured = { ...env, OSS_SPOOL_GZIP: '9' }
  t.match(await run(dir, ['put', K, 'data'], undefined, configured), { status: 0 })
  t.equal(String(await unzipped(oss)), 'the file')
  const ignored = { ...configured, OSS_SPOOL_IN_PLACE: '1', OSS_SPOOL_IF_CHANGED: '1' }
  t.match(await run(dir, ['put', K], Buffer.from('input'), ignored), { status: 0 })
  t.equal(String(await unzipped(oss)), 'input', 'the other two concern files')
  const file = join(dir, 'config.json')
  await writeFile(file, '{"gzip":1}', { mode: 0o600 })
  t.match(await run(dir, ['run', K, `--config=${file}`, ...PRODUCER], undefined, env), {
    status: 0,
  })
  t.equal(String(await unzipped(oss)), 'the file')
  const off = { ...env, OSS_SPOOL_GZIP: '0' }
  t.match(await run(dir, ['put', K, 'data', `--config=${file}`], undefined, off), { status: 0 })
  t.equal(String(await get(oss, 'k')), 'the file')
  const shown = await run(dir, ['config', 'show', '--json'], undefined, configured)
  t.match(parsed(shown), { gzip: { value: 9, from: '$OSS_SPOOL_GZIP' }, zstd: { from: 'default' } })
})

t.test('--size and --expect-* refer to the bytes before compression', async t => {
  const data = Buffer.concat([Buffer.alloc(100_000, 'a line\n'), bytes(50_000)])
  const dir = t.testdir({})
  await writeFile(join(dir, 'data'), data)
  const { oss, env } = await server(t, dir)
  const md5 = createHash('md5').update(data).digest('hex')
  const right = [
    `--size=${data.length}`,
    `--expect-bytes=${data.length}`,
    `--expect-md5=${md5}`,
    `--expect-sha256=${sha256(data)}`,
    `--expect-crc64=${crc64(data)}`,
  ]
  const packed = gzipSync(data)
  const wrong = [
    `--size=${packed.length}`,
    `--size=${data.length + 1}`,
    `--expect-bytes=${packed.length}`,
    `--expect-sha256=${sha256(packed)}`,
    `--expect-crc64=${crc64(packed)}`,
  ]
  for (const [i, flag] of wrong.entries()) {
    const args = i % 2 === 0 ? [...PUT, 'data', flag] : ['run', K, '--gzip', flag, ...PRODUCER]
    const done = await run(dir, args, undefined, env)
    t.match(done, { status: 1, err: /ERR_SPOOL_EXPECTATION/ }, args.join(' '))
  }
  t.equal(await get(oss, 'k'), undefined)
  for (const [args, input] of [
    [[...PUT, 'data', ...right], undefined],
    [[...PUT, ...right], data],
    [['run', K, '--gzip', ...right, ...PRODUCER], undefined],
  ] as const) {
    const done = await run(dir, args, input, env)
    t.equal(done.status, 0, done.err)
    t.same(await unzipped(oss), data)
  }
})

t.test('a rerun of run checks its expectation against the source, without starting it', async t => {
  const data = Buffer.concat([Buffer.alloc(300_000, 'a line\n'), bytes(200_000)])
  const dir = t.testdir({})
  await writeFile(join(dir, 'data'), data)
  const md5 = createHash('md5').update(data).digest('hex')
  const all = [
    `--size=${data.length}`,
    `--expect-bytes=${data.length}`,
    `--expect-md5=${md5}`,
    `--expect-sha256=${sha256(data)}`,
    `--expect-crc64=${crc64(data)}`,
  ]
  const { oss, env } = await server(t, dir)
  for (const [i, given] of [[], all].entries()) {
    const args = [...RUN, ...given]
    const fault = oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
    t.match(await run(dir, [...args, ...PRODUCER], undefined, env), { status: 75 })
    fault.remove()
    for (const wrong of ['--size=1', `--expect-md5=${'0'.repeat(32)}`]) {
      const done = await run(dir, [...RUN, wrong, ...PRODUCER], undefined, env)
      t.match(done, { status: 1, err: /ERR_SPOOL_EXPECTATION/ }, wrong)
    }
    const done = await run(dir, [...RUN, ...all, '--json', ...PRODUCER], undefined, env)
    t.equal(done.status, 0, done.err)
    t.match(parsed(done), { resumed: true, sourceRead: false })
    t.same(await unzipped(oss), data)
    t.equal(readFileSync(join(dir, 'started'), 'utf8'), 'x\n'.repeat(i + 1))
  }
})

t.test('another compression: put supersedes sealed bytes, run publishes them', async t => {
  const dir = t.testdir({ data: 'the output' })
  const { oss, env } = await server(t, dir)
  const sealed = async (args: readonly string[]): Promise<void> => {
    const fault = oss.inject({ operation: 'PutObject', ...refused })
    t.match(await run(dir, args, undefined, env), { status: 75 })
    fault.remove()
  }
  await sealed([...RUN, ...PRODUCER])
  t.match(await run(dir, ['put', K, 'data', '--id=k'], undefined, env), { status: 0 })
  t.equal(String(await get(oss, 'k')), 'the output')
  await sealed(['put', K, 'data', '--id=k'])
  t.match(await run(dir, [...RUN, ...PRODUCER], undefined, env), { err: /was not started/ })
  t.equal(String(await get(oss, 'k')), 'the output', 'the same id is the same content')
})

t.test('after SIGKILL at any phase, the object is exactly the source', async t => {
  const data = bytes(3 * PART)
  for (const operation of sampled(t, ['UploadPart', 'CompleteMultipartUpload'] as const, 2)) {
    const dir = t.testdir({})
    await writeFile(join(dir, 'data'), data)
    const { oss, env } = await server(t, dir)
    const held = oss.inject({ operation, do: 'hang', times: 'always' })
    const { child, done } = start(dir, [...RUN, ...PRODUCER], undefined, env)
    await held.hit()
    await until(async () =>
      /"phase":"(sealed|completing)"/.test((await run(dir, ['ls', '--json'])).out),
    )
    child.kill('SIGKILL')
    await done
    held.remove()
    const resumed = await run(dir, ['resume', '--all', '--json'], undefined, env)
    t.equal(resumed.status, 0, resumed.err)
    t.match(parsed(resumed), { resumed: true, sourceRead: false })
    t.same(await unzipped(oss), data)
  }
})

t.test(
  'after SIGKILL while the source flows, a rerun sends only what OSS does not have',
  async t => {
    const data = bytes(5 * PART)
    const dir = t.testdir({})
    await writeFile(join(dir, 'data'), data)
    const { oss, env } = await server(t, dir)
    const slow = ['--', 'sh', '-c', 'cat data; until [ -e go ]; do sleep 0.1; done']
    const { child, done } = start(dir, [...RUN, ...slow], undefined, env)
    const uploaded = async (): Promise<number> => {
      const { out } = await run(dir, ['ls', '--json'])
      return out === '' ? 0 : JSON.parse(out).parts
    }
    await until(async () => (await uploaded()) >= 4)
    child.kill('SIGKILL')
    await writeFile(join(dir, 'go'), '') // the command outlives the kill, with the output open
    await done
    t.match(await run(dir, ['resume', 'k'], undefined, env), { status: 1, err: /UNSEALED/ })
    const again = await run(dir, [...RUN, '--json', ...slow], undefined, env)
    t.equal(again.status, 0, again.err)
    t.ok(parsed(again).skipped >= 4 * PART)
    t.same(await unzipped(oss), data)
  },
)

t.test('progress has no total before the seal', async t => {
  const dir = t.testdir({})
  await writeFile(join(dir, 'data'), bytes(5 * PART))
  const { env } = await server(t, dir)
  const flags = [`--size=${5 * PART}`, '--progress=json', '--json']
  const slow = ['--', 'sh', '-c', 'cat data; sleep 1.5']
  const done = await run(dir, [...RUN, ...flags, ...slow], undefined, env)
  t.equal(done.status, 0, done.err)
  const lines = progressOf(done.err)
  const flowing = lines.filter(({ phase }) => phase === 'spooling')
  t.ok(flowing.length > 0)
  t.ok(flowing.every(({ size, eta }) => size === undefined && eta === undefined))
  t.match(lines.at(-1), { size: parsed(done).size })
})

t.test('--max-spool bounds the compressed bytes, and --once leaves a receipt', async t => {
  const data = bytes(10 * PART)
  const dir = t.testdir({})
  await writeFile(join(dir, 'data'), data)
  const { oss, env } = await server(t, dir)
  const flags = ['--max-spool=200KiB', '--parallel=1', '--once', '--json']
  const done = await run(dir, [...RUN, ...flags, ...PRODUCER], undefined, env)
  t.equal(done.status, 0, done.err)
  t.same(await unzipped(oss), data)
  const sent = oss.requests.length
  const again = await run(dir, [...RUN, ...flags, ...PRODUCER], undefined, env)
  t.match(parsed(again), { receipt: true, size: parsed(done).size })
  t.equal(oss.requests.length, sent)
})

t.test('--dry-run names the compression', async t => {
  const dir = t.testdir({ data: 'the file' })
  const { oss, env } = await server(t, dir)
  const json = await run(dir, [...PUT, 'data', '--dry-run', '--json'], undefined, env)
  const compression = { format: 'gzip', level: 6 }
  t.match(parsed(json), { action: 'upload', size: 8, compression })
  const text = await run(dir, [...RUN, '--dry-run', ...PRODUCER], undefined, env)
  t.match(text, { status: 0, out: /compressed with gzip/ })
  t.equal(oss.requests.length, 0)
})

t.test('put that is proposed for quarantined bytes does not compress them again', async t => {
  const dir = t.testdir({ data: 'the file' })
  const { oss, env } = await server(t, dir)
  const configured = { ...env, OSS_SPOOL_GZIP: '6' }
  const fault = oss.inject({ operation: 'PutObject', ...refused })
  t.match(await run(dir, ['put', K, 'data', '--id=k'], undefined, configured), { status: 75 })
  fault.remove()
  const checkpoint = join(dir, 'spool', 'k', 'checkpoint.json')
  const text = readFileSync(checkpoint, 'utf8')
  await writeFile(
    checkpoint,
    text.replace('"format":2,"digest":"sha256:', '"format":2,"digest":"sha256:0'),
  )
  t.match(await run(dir, ['resume', 'k'], undefined, configured), { status: 1, err: /CORRUPT/ })
  const { err } = await run(dir, ['resume', 'k'], undefined, configured)
  const [, proposed = ''] = /run "(OSS_SPOOL_GZIP=0 .* put .*)"\.$/m.exec(err) ?? []
  const done = await shell(dir, proposed, configured).done
  t.equal(done.status, 0, `${err}\n${done.err}`)
  t.equal(String(await unzipped(oss)), 'the file')
})
