/** `oss-spool split` as a real process: lines of standard input into objects, while OSS refuses and signals arrive. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t, { type Test } from 'tap'
import type { Emulator } from '../../src/emulator/index.js'
import { Spool, type UploadStatus } from '../../src/index.js'
import { bare, BIN, ended, get, server, until, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { LONG, long, sampled } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { randomOf } from '../support/seed.js'
import { tinyDisk } from '../support/tiny-disk.js'

const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const TEMPLATE = `oss://${BUCKET}/logs/{job}-{seq:05}`

interface Shown {
  readonly key: string
  readonly size: number
}

interface Place {
  readonly dir: string
  readonly oss: Emulator
  readonly env: Env
}

async function setUp(test: Test): Promise<Place> {
  const dir = test.testdir({})
  return { dir, ...(await server(test, dir)) }
}

/** Starts `split` with an input that stays open. @param input – default: a pipe, which is the `stdin` of the result */
function start({ dir, env }: Place, args: readonly string[], input?: Socket) {
  const child = spawn('env', ['-u', 'NODE_OPTIONS', process.execPath, BIN, 'split', ...args], {
    cwd: dir,
    stdio: [input ?? 'pipe', 'pipe', 'pipe'],
    env: bare(dir, env),
  })
  child.stdin?.on('error', () => {}) // EPIPE after it has exited
  return { child, done: ended(child) }
}

function write({ stdin }: ChildProcess, text: string): Promise<void> {
  return new Promise(resolve => {
    if (stdin === null) resolve()
    else stdin.write(text, () => resolve())
  })
}

function uploadsOf({ dir, oss }: Place): Promise<UploadStatus[]> {
  return new Spool({ client: oss.clientOptions(BUCKET), dir: `${dir}/spool` }).uploads()
}

/** Resolves with a value that has not changed for a second. */
async function untilSteady(value: () => number): Promise<number> {
  for (;;) {
    const before = value()
    await sleep(1000)
    if (value() === before) return before
  }
}

/** Returns the keys of all objects below `logs/` that a request has named and that exist, in order. */
async function objects({ oss }: Place): Promise<Map<string, Buffer>> {
  const keys = new Set(oss.requests.flatMap(({ key }) => (key?.startsWith('logs/') ? [key] : [])))
  const found = new Map<string, Buffer>()
  for (const key of [...keys].toSorted()) {
    const content = await get(oss, key)
    if (content !== undefined) found.set(key, content)
  }
  return found
}

const joined = (found: ReadonlyMap<string, Buffer>): string =>
  Buffer.concat([...found.values()]).toString()
const lines = (count: number, from = 0): string =>
  Array.from({ length: count }, (_, i) => `line ${from + i}\n`).join('')
const shown = (out: string): Shown[] =>
  out
    .split('\n')
    .slice(0, -1)
    .map(line => JSON.parse(line) as Shown) // checked against the schema

t.test('lines become objects, and each object is a line of the result', async t => {
  const place = await setUp(t)
  const input = `${lines(25)}crlf\r\n\n\u0000binary\xff\nunterminated`
  const all = await run(
    place.dir,
    ['split', TEMPLATE, '--every', '10lines', '--json', '--job=web'],
    Buffer.from(input, 'latin1'),
    place.env,
  )
  t.equal(all.status, 0, all.err)
  const found = await objects(place)
  t.same(
    [...found.values()].map(each => each.toString('latin1').split(/(?<=\n)/).length),
    [10, 10, 9],
  )
  t.equal(Buffer.concat([...found.values()]).toString('latin1'), input)
  t.same(
    shown(all.out)
      .map(({ key }) => key)
      .toSorted(),
    [...found.keys()],
  )
  for (const [i, key] of [...found.keys()].entries()) {
    t.match(key, new RegExp(`^logs/web-\\d{8}T\\d{9}Z-\\d+-0000${i}$`))
  }
  t.same(await uploadsOf(place), [])
})

t.test('an empty input gives no object', async t => {
  const place = await setUp(t)
  t.match(await run(place.dir, ['split', TEMPLATE], Buffer.alloc(0), place.env), {
    status: 0,
    out: '',
  })
  t.equal(place.oss.requests.length, 0)
})

t.test('size is the size as stored, and --gzip takes a level', async t => {
  const place = await setUp(t)
  const input = lines(200_000)
  const plain = await run(
    place.dir,
    ['split', TEMPLATE, '--every', '500KiB', '--json'],
    Buffer.from(input),
    place.env,
  )
  t.equal(plain.status, 0, plain.err)
  const sizes = shown(plain.out).map(({ size }) => size)
  t.equal(sizes.length, Math.ceil(input.length / (500 * 1024)))
  t.equal(joined(await objects(place)), input)

  const packed = await setUp(t)
  const args = [
    'split',
    TEMPLATE,
    '--gzip=1',
    '--every=200KiB',
    '--json',
    '--content-type=text/plain',
  ]
  const all = await run(packed.dir, args, Buffer.from(input), packed.env)
  t.equal(all.status, 0, all.err)
  const found = await objects(packed)
  t.ok(found.size > 1)
  t.equal([...found.values()].map(each => gunzipSync(each).toString()).join(''), input)
})

t.test('--every TIME ends an object without further lines', async t => {
  const place = await setUp(t)
  const { child, done } = start(place, [TEMPLATE, '--every', '1s', '--every', '1GiB'])
  await write(child, lines(3))
  await until(async () => (await objects(place)).size === 1)
  t.equal(child.exitCode, null)
  await write(child, lines(3, 3))
  child.stdin?.end()
  t.match(await done, { status: 0 })
  t.equal(joined(await objects(place)), lines(6))
})

t.test('lines of JSON are partitioned, as Hive escapes', async t => {
  const place = await setUp(t)
  const values: readonly [line: string, partition: string][] = [
    ['{"c":"DE"}', 'DE'],
    ['{"c":"a/b=c%"}', 'a%2Fb%3Dc%25'],
    ['{"c":".."}', '%2E%2E'],
    ['{"c":12}', '12'],
    ['{"c":true}', 'true'],
    ...['{"d":1}', '{"c":null}', '{"c":{}}', '{"c":""}', '[1]', 'no json', '{"c":1e999}', ''].map(
      line => [line, '__HIVE_DEFAULT_PARTITION__'] as [string, string],
    ),
    [`{"c":"${'x'.repeat(2000)}"}`, '__HIVE_DEFAULT_PARTITION__'],
    ['{"c":"\\ud800"}', '__HIVE_DEFAULT_PARTITION__'],
  ]
  const input = values.map(([line]) => `${line}\n`).join('')
  const all = await run(
    place.dir,
    ['split', `oss://${BUCKET}/logs/c={partition}/{job}-{seq}`, '--partition=c'],
    Buffer.from(input),
    place.env,
  )
  t.equal(all.status, 0, all.err)
  const found = await objects(place)
  const expected = new Map<string, string>()
  for (const [line, partition] of values)
    expected.set(partition, `${expected.get(partition) ?? ''}${line}\n`)
  t.same(
    new Map([...found].map(([key, content]) => [key.split('/')[1]?.slice(2), String(content)])),
    expected,
  )
})

t.test('wrong usage is found before a byte is read', async t => {
  const place = await setUp(t)
  const good = `oss://${BUCKET}/{job}-{seq}`
  const uses: readonly string[][] = [
    [`oss://${BUCKET}/{job}`],
    [`oss://${BUCKET}/{seq}`],
    [`oss://${BUCKET}/{job}-{seq}-{nonsense}`],
    [`oss://${BUCKET}/{job}-{seq`],
    [`oss://${BUCKET}/../{job}-{seq}`],
    [`oss://${BUCKET}/{partition}/{job}-{seq}`],
    [`oss://${BUCKET}/{partition:path}/{job}-{seq}`, '--partition=x'],
    [good, '--partition=x'],
    [good, '--every=0lines'],
    [good, '--every=many'],
    [good, '--every=0s'],
    [good, '--every=99999d'],
    [good, '--commit=0s'],
    [good, '--job=a/b'],
    [good, `--job=${'x'.repeat(65)}`],
    [good, '--gzip=10'],
    [good, '--gzip', '--zstd'],
    [good, '--part-size=5'],
    [good, 'file'],
    [],
    ...[
      '--id=x',
      '--size=1',
      '--once',
      '--no-overwrite',
      '--expect-bytes=1',
      '--if-changed',
      '--in-place',
    ].map(flag => [good, flag]),
  ]
  for (const args of uses) {
    const { status, out } = await run(place.dir, ['split', ...args], Buffer.from('x\n'), place.env)
    t.match({ status, out }, { status: 2, out: '' }, args.join(' '))
  }
  t.match(
    await run(place.dir, ['split', good], Buffer.from('x\n')),
    { status: 2 },
    'no credentials',
  )
  t.equal(place.oss.requests.length, 0)
})

t.test('--dry-run prints the plan', async t => {
  const place = await setUp(t)
  const args = [
    'split',
    `oss://${BUCKET}/{partition}/{yyyy}/{job}-{seq:03}`,
    '--partition=c',
    '--dry-run',
  ]
  const limits = ['--every=1MiB', '--every=5lines', '--every=10m', '--job=j']
  const text = await run(place.dir, [...args, ...limits], Buffer.from('x\n'), place.env)
  t.match(text, { status: 0, out: /<c>\/20\d\d\/j-\S+-000: .*1\.0 MiB or 10 min 0 s or 5 lines/ })
  const json = await run(place.dir, [...args, ...limits, '--json'], Buffer.from('x\n'), place.env)
  t.match(JSON.parse(json.out), {
    dryRun: true,
    action: 'split',
    bucket: BUCKET,
    every: { bytes: 2 ** 20, lines: 5, ms: 600_000 },
    commit: 1000,
  })
  t.equal(place.oss.requests.length, 0)
})

t.test('input is read while OSS refuses; resume publishes what is left', async t => {
  const place = await setUp(t)
  const denied = place.oss.inject({ operation: 'PutObject', ...DENIED })
  const { child, done } = start(place, [TEMPLATE, '--every=100lines', '--retries=1'])
  await write(child, lines(1050))
  await until(async () => (await uploadsOf(place)).length === 11)
  child.stdin?.end()
  const all = await done
  t.equal(all.status, 75, all.err)
  t.match(all.err, 'ERR_SPOOL_DENIED')
  t.match(all.err, '11 objects are kept on this disk. Run "oss-spool resume --all"')
  t.equal(all.out, '')
  denied.remove()
  t.match(await run(place.dir, ['resume', '--all'], undefined, place.env), { status: 0 })
  t.equal(joined(await objects(place)), lines(1050))
})

t.test('objects that OSS refused are published once it accepts them', async t => {
  const place = await setUp(t)
  const denied = place.oss.inject({ operation: 'PutObject', ...DENIED })
  const { child, done } = start(place, [TEMPLATE, '--every=100lines', '--retries=1', '--json'])
  await write(child, lines(1000))
  await until(async () => (await uploadsOf(place)).length === 10)
  denied.remove()
  await until(async () => (await objects(place)).size === 10)
  t.equal(child.exitCode, null)
  child.stdin?.end()
  const all = await done
  t.equal(all.status, 0, all.err)
  t.equal(shown(all.out).length, 10)
  t.equal(joined(await objects(place)), lines(1000))
})

const SIGNALS = [
  ['SIGTERM', 143],
  ['SIGINT', 130],
  ['SIGHUP', 129],
] as const

for (const [signal, status] of sampled(t, SIGNALS, 3)) {
  t.test(`${signal} publishes all that was read, an unfinished line as well`, async t => {
    const place = await setUp(t)
    const { child, done } = start(place, [TEMPLATE, '--every=100lines', '--json'])
    const input = `${lines(250)}unfinished`
    await write(child, input)
    await until(async () => (await objects(place)).size === 2)
    child.kill(signal)
    const all = await done
    t.equal(all.status, status, all.err)
    t.equal(joined(await objects(place)), input)
    t.equal(shown(all.out).length, 3)
    t.same(await uploadsOf(place), [])
  })
}

t.test('SIGTERM in a stream that never pauses ends after a whole line', async t => {
  const place = await setUp(t)
  const line = `${'x'.repeat(997)}\n`
  const { child, done } = start(place, [TEMPLATE, '--every=1MiB'])
  const flood = (async () => {
    while (child.exitCode === null) {
      await Promise.race([write(child, line.repeat(100)), done])
      await sleep(20) // the pipe is never empty, and the test reads all objects
    }
  })()
  await until(() => place.oss.requests.length >= 2)
  child.kill('SIGTERM')
  const all = await done
  await flood
  t.equal(all.status, 143, all.err)
  const content = joined(await objects(place))
  t.ok(content.length > 0)
  t.equal(content.length % line.length, 0)
  t.same(await uploadsOf(place), [])
})

t.test('SIGTERM while OSS does not answer keeps everything for resume', async t => {
  const place = await setUp(t)
  const hung = place.oss.inject({ do: 'hang', operation: 'PutObject', times: 'always' })
  const { child, done } = start(place, [TEMPLATE, '--every=100lines', '--json'])
  await write(child, lines(350))
  await until(async () => (await uploadsOf(place)).length === 4)
  child.kill('SIGTERM')
  const all = await done
  t.equal(all.status, 143, all.err)
  t.match(JSON.parse(all.out), { error: { code: 'ERR_SPOOL_ABORTED', resumable: true } })
  hung.remove()
  t.match(await run(place.dir, ['resume', '--all'], undefined, place.env), { status: 0 })
  t.equal(joined(await objects(place)), lines(350))
})

// Slow. `SIGTERM publishes all that was read` tests the signal, and test/etl/open-objects.test.ts the limit.
void long(t, 'SIGTERM loses no line of more partitions than objects can be open', async t => {
  const place = await setUp(t)
  const template = `oss://${BUCKET}/logs/{partition}/{job}-{seq}`
  const { child, done } = start(place, [template, '--partition=p'])
  const input = Array.from({ length: 300 }, (_, i) => `${JSON.stringify({ p: `p${i}` })}\n`)
  await write(child, input.join(''))
  await until(async () => (await uploadsOf(place)).length > 0)
  child.kill('SIGTERM')
  const all = await done
  t.equal(all.status, 143, all.err)
  await run(place.dir, ['resume', '--all'], undefined, place.env)
  const found = joined(await objects(place))
  t.same(found.split('\n').toSorted(), input.join('').split('\n').toSorted())
  t.same(await uploadsOf(place), [])
})

/** Starts `split`, writes two lines to its input, a socket, and resets that once they are in an upload. */
async function runWithFailedInput(place: Place, args: readonly string[]) {
  const listener = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo // never a string: it listens on TCP
  const peer = connect(port, '127.0.0.1')
  const [input] = (await once(listener, 'connection')) as [Socket] // as documented
  const { done } = start(place, args, input)
  peer.write(lines(2))
  await until(async () => (await uploadsOf(place)).length > 0)
  peer.resetAndDestroy()
  const all = await done
  input.destroy()
  listener.close()
  return all
}

t.test('a failed read of the input publishes the lines before it, and is status 1', async t => {
  const place = await setUp(t)
  const all = await runWithFailedInput(place, [TEMPLATE, '--json'])
  t.equal(all.status, 1, all.err)
  const [object, failure] = all.out.trim().split('\n')
  t.match(JSON.parse(object ?? ''), { size: lines(2).length })
  t.match(JSON.parse(failure ?? ''), { error: { code: 'ERR_SPOOL_SOURCE_FAILED' } })
  t.equal(joined(await objects(place)), lines(2))
})

t.test('a failed read of the input is reported although OSS refuses as well', async t => {
  const place = await setUp(t)
  place.oss.inject({ operation: 'PutObject', ...DENIED })
  const all = await runWithFailedInput(place, [TEMPLATE, '--json', '--retries=1'])
  t.equal(all.status, 75, all.err)
  const [input, output] = all.out.trim().split('\n')
  t.match(JSON.parse(input ?? ''), { error: { code: 'ERR_SPOOL_SOURCE_FAILED' } })
  t.match(JSON.parse(output ?? ''), { error: { code: 'ERR_SPOOL_DENIED' } })
})

t.test('a failure of the disk ends the run while the input is idle', async t => {
  const place = await setUp(t)
  const disk = tinyDisk(t)
  if (disk === undefined) return
  const { child, done } = start(place, [TEMPLATE, `--spool=${disk.path}/spool`])
  await write(child, lines(20_000))
  t.match(await done, { status: 1, err: /ERR_SPOOL_FULL/ })
})

t.test('--max-spool pauses the input while OSS does not answer', async t => {
  const place = await setUp(t)
  const hung = place.oss.inject({ do: 'hang', operation: 'PutObject', times: 'always' })
  const args = [TEMPLATE, '--every=100KiB', '--max-spool=1MiB', '--part-size=100KiB']
  const { child, done } = start(place, args)
  const line = `${'x'.repeat(1023)}\n`
  let written = 0
  const writing = (async () => {
    for (; written < 8 * 1024; written += 64) await write(child, line.repeat(64))
    child.stdin?.end()
  })()
  await until(async () => (await uploadsOf(place)).length >= 8)
  const paused = await untilSteady(() => written)
  t.ok(paused < 8 * 1024, `${paused} KiB were accepted`)
  hung.remove()
  await writing
  t.equal((await done).status, 0)
  t.equal(joined(await objects(place)).length, 8 * 1024 * line.length)
})

t.test('--metrics and --progress describe the run', async t => {
  const place = await setUp(t)
  const args = ['split', TEMPLATE, '--every=10lines', '--metrics=m.prom', '--progress=json']
  const { status, err } = await run(place.dir, args, Buffer.from(lines(100)), place.env)
  t.equal(status, 0, err)
  t.match(await readFile(`${place.dir}/m.prom`, 'utf8'), /command="split"/)
  t.match(err, /"spooled":/)
})

t.test('a second signal exits at once', async t => {
  const place = await setUp(t)
  place.oss.inject({ do: 'hang', operation: 'PutObject', times: 'always' })
  const { child, done } = start(place, [TEMPLATE])
  await write(child, lines(10))
  await until(async () => (await uploadsOf(place)).length === 1)
  child.kill('SIGTERM')
  await until(async () => (await uploadsOf(place)).some(({ phase }) => phase !== 'spooling'))
  child.kill('SIGINT')
  t.match(await done, { status: 130 })
})

for (const flags of sampled(t, [[], ['--gzip']], 2)) {
  const name = flags.join() || 'no compression'
  const unpack = flags.length === 0 ? String : (data: Buffer): string => gunzipSync(data).toString()

  t.test(`lines are committed without the end of their object (${name})`, async t => {
    const place = await setUp(t)
    const { child, done } = start(place, [TEMPLATE, ...flags])
    await write(child, `${lines(100)}incomplete`)
    await until(async () => (await uploadsOf(place)).some(({ committed = 0 }) => committed > 0))
    child.kill('SIGKILL')
    await done
    t.match(await run(place.dir, ['resume', '--all'], undefined, place.env), { status: 0 })
    const [content] = (await objects(place)).values()
    t.equal(unpack(content ?? Buffer.alloc(0)), lines(100))
  })

  t.test(`SIGKILL at random moments loses no committed line (${name})`, async t => {
    const random = randomOf(t)
    for (let i = 0; i < (LONG ? 30 : 2); i++) {
      const place = await setUp(t)
      place.oss.inject({ do: 'delay', ms: 10, operation: 'PutObject', times: 'always' })
      const { child, done } = start(place, [TEMPLATE, '--every=700lines', '--every=1s', ...flags])
      const closed = once(child, 'close')
      let written = 0
      const writing = (async () => {
        while (!child.killed) {
          const count = 1 + Math.floor(random() * 200)
          await Promise.race([write(child, lines(count, written)), closed])
          written += count
          await sleep(random() * 20)
        }
      })()
      await until(async () => (await uploadsOf(place)).length > 0)
      await sleep(random() * 2500)
      child.kill('SIGKILL')
      await Promise.all([done, writing])
      const committed = (await uploadsOf(place)).filter(({ resumable }) => resumable)
      const before = await objects(place)
      const resumed = await run(place.dir, ['resume', '--all', '--json'], undefined, place.env)
      t.equal(resumed.status, 0, resumed.err)
      const found = await objects(place)
      t.equal(found.size, new Set([...before.keys(), ...committed.map(({ key }) => key)]).size)
      for (const { key, committed: size = 0 } of committed) {
        t.ok((found.get(key)?.length ?? 0) >= size, `${key} has all that was committed`)
      }
      const content = [...found.values()].map(each => unpack(each)).join('')
      const count = content.split('\n').length - 1
      t.equal(content, lines(count), 'a prefix of the input, without a gap or a repetition')
      t.ok(count <= written)
    }
  })
}
