/**
 * Output during an upload: on a real pseudo-terminal and on pipes, with signals, and when the reader goes
 * away.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t from 'tap'
import { get, PART, server, shell, start, terminal, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { schema } from '../support/schema.js'
import { long } from '../support/long.js'

const K = `oss://${BUCKET}/k`
const RATE = ['--part-size=100KiB', '--max-rate=500KB']
const ESCAPE = '\u001B'

/** Returns the successive contents of the terminal's last line, without colours. */
function frames(out: string): string[] {
  return out
    .split('\r')
    .map(frame => frame.replaceAll(new RegExp(`${ESCAPE}\\[[0-9;?]*[a-zA-Z]`, 'g'), '').trim())
    .filter(frame => frame !== '')
}

t.test('a terminal shows one bar with two segments, which is erased at the end', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  await writeFile(join(dir, 'file'), bytes(10 * PART))
  const put = `oss-spool put ${K} file ${RATE.join(' ')}`
  const { out, status } = await terminal(dir, put, 90, env).done
  t.equal(status, 0, out)
  t.match(out, `${ESCAPE}[32m█`, 'sent: green')
  t.match(out, `${ESCAPE}[33m▒`, 'on this disk: yellow')
  const shown = frames(out)
  t.match(shown[0], /^oss:\/\/test-bucket\/k  \[[▒░]{32}\]  0 B /)
  const bar =
    /^oss:\/\/test-bucket\/k  \[█+▒*░*\]  [\d.]+ KiB of 1000\.0 KiB  [\d.]+ KiB\/s  .* to go$/
  t.ok(
    shown.some(frame => bar.test(frame)),
    shown.join('\n'),
  )
  t.match(shown.at(-1), /^oss:\/\/test-bucket\/k: 1000\.0 KiB in 10 parts, CRC64 \d+, /)
  t.ok((await get(oss, 'k'))?.length === 10 * PART)
})

void long(
  t,
  'the bar fits a narrow terminal and follows a resize; NO_COLOR disables colours',
  async t => {
    const dir = t.testdir({})
    const { env } = await server(t, dir)
    await writeFile(join(dir, 'file'), bytes(10 * PART))
    const line = `(sleep 1.8; stty -F /dev/tty cols 60) & oss-spool put ${K} file ${RATE.join(' ')}; wait`
    const { out, status } = await terminal(dir, line, 30, { ...env, NO_COLOR: '1' }).done
    t.equal(status, 0, out)
    t.notMatch(out, `${ESCAPE}[3`, 'no colours')
    const shown = frames(out).filter(frame => !frame.includes('CRC64'))
    const wide = shown.findIndex(frame => frame.length > 29)
    t.ok(wide > 0, `it grows: ${shown.join('\n')}`)
    t.same(
      shown.filter(frame => frame.length >= 60),
      [],
    )
  },
)

void long(t, 'warnings are printed above the bar, and the bar counts retries', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  await writeFile(join(dir, 'file'), bytes(5 * PART))
  oss.inject({
    operation: 'UploadPart',
    do: 'answer',
    status: 500,
    code: 'InternalError',
    times: 3,
  })
  const { out, status } = await terminal(dir, `oss-spool put ${K} file ${RATE.join(' ')}`, 120, env)
    .done
  t.equal(status, 0)
  t.match(out, `\r${ESCAPE}[Koss-spool: UploadPart: 500 InternalError`)
  t.match(out, /  [1-3] (retry|retries)/)
})

t.test('Ctrl-C on a terminal counts no retries and proposes resume', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  await writeFile(join(dir, 'file'), bytes(50 * PART))
  const command = `oss-spool put ${K} file --part-size=1MiB --max-rate=100KB; echo "is $?"`
  const interrupted = terminal(dir, command, 120, env)
  let isInterrupted = false // the bar is drawn again until the signal arrives, and a second one exits at once
  interrupted.child.stdout?.on('data', (chunk: Buffer) => {
    if (isInterrupted || !/ of 4\.9 MiB/.test(String(chunk)) || / 0 B of/.test(String(chunk)))
      return
    isInterrupted = true
    interrupted.child.stdin?.write('\u0003')
  })
  const { out } = await interrupted.done
  t.match(out, /ERR_SPOOL_ABORTED.*\r\n[^]*To finish the upload, run "oss-spool resume/)
  t.match(out, /is 130/)
  t.notMatch(out, /retr(y|ies)/)
})

void long(
  t,
  'ls truncates or splits rows to fit the terminal, and prints all on a pipe',
  async t => {
    const dir = t.testdir({})
    const { env } = await server(t, dir)
    const key = `a/very/long/way/down/to/报表-\u0007bell.csv`
    await run(dir, ['run', `oss://${BUCKET}/${key}`, '--id=k', '--', 'false'], undefined, env)
    const piped = await run(dir, ['ls'])
    t.match(piped.out, /^ID +OBJECT +PHASE +RESUMABLE +SENT +AGE +OWNER +LAST ERROR\nk +oss:/)
    t.match(piped.out, `oss://${BUCKET}/a/very/long/way/down/to/报表-\\x07bell.csv`)
    const wide = await terminal(dir, 'oss-spool ls', 100).done
    t.match(wide.out, /\nk +oss:\/\/\S*…\S*bell\.csv +spooling/)
    t.ok(wide.out.split('\r\n').every(line => line.length <= 100))
    const narrow = await terminal(dir, 'oss-spool ls', 40).done
    t.match(narrow.out, /^ID {10}k\r\nOBJECT {6}oss:.*\r\nPHASE {7}spooling\r\n/)
    const shown = await run(dir, ['show', 'k'])
    t.match(shown.out, /^Upload k to oss:.*\n[^]*\nNext: upload again from the source/)
  },
)

void long(t, 'abort and prune ask on a terminal, and do nothing if the answer is no', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  await run(dir, ['run', K, '--id=k', '--', 'false'], undefined, env)
  const line = ['abort k', 'prune --older-than 0s', 'abort k --yes']
    .map(command => `oss-spool ${command}; echo "is $?"`)
    .join('; ')
  const asked = terminal(dir, line, 80, env)
  asked.child.stdout?.on('data', (chunk: Buffer) => {
    if (chunk.includes('[y/N]')) asked.child.stdin?.write('n\n')
  })
  const { out } = await asked.done
  t.match(out, /Abort k.*\[y\/N\][^]*is 1\r\n[^]*Remove stale[^]*is 1\r\n[^]*k: aborted\r\nis 0/)
})

t.test(
  'a pipe gets only the result; --progress=json prints JSON lines; --quiet prints nothing',
  async t => {
    const dir = t.testdir({})
    const { env } = await server(t, dir)
    const args = ['put', K, ...RATE, '--json', '--progress=json']
    const { out, err } = await run(dir, args, bytes(8 * PART), env)
    t.ok(schema('result')(JSON.parse(out)))
    const events = err
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    for (const event of events) t.ok(schema('progress')(event), JSON.stringify(event))
    t.match(events.at(-1), { progress: { name: 'k', phase: 'published', uploaded: 8 * PART } })
    const quiet = await run(dir, ['put', K, '--quiet', '--progress=json'], bytes(10), env)
    t.equal(quiet.err, '')
  },
)

t.test('--debug logs each request, and no secret', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const { err } = await run(dir, ['put', K, '--part-size=100KiB', '--debug'], bytes(2 * PART), env)
  t.match(
    err,
    /debug: PUT UploadPart test-bucket\.\S+\/k part 1: 200, \d+ ms, 102400 bytes request \w+\n/,
  )
  t.match(err, /debug: POST CompleteMultipartUpload /)
  for (const secret of [
    oss.credentials.accessKeyId,
    oss.credentials.accessKeySecret,
    'Signature',
    'uploadId=',
  ]) {
    t.notMatch(err, secret)
  }
  const bad = await run(dir, ['put', K, '--debug', '--retries=1'], Buffer.from('x'), {
    ...env,
    OSS_ACCESS_KEY_SECRET: 'n0t-it',
  })
  t.match(bad, { status: 75, err: /\n\s+at / }, '--debug prints the stack trace')
  t.notMatch(bad.err, 'n0t-it')
})

void long(
  t,
  'the first signal keeps the state and prints how to resume, in every phase',
  async t => {
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const put = ['put', K, '--part-size=100KiB', '--id=k']
    const source = new PassThrough() // never ends
    source.write(bytes(3 * PART))
    const spooling = start(dir, put, source, env)
    await until(() => oss.requests.some(({ operation }) => operation === 'UploadPart'))
    spooling.child.kill('SIGTERM')
    t.match(await spooling.done, {
      status: 143,
      out: '',
      err: /ERR_SPOOL_ABORTED.*Nothing was published\n.*again/,
    })

    const held = oss.inject({ operation: 'UploadPart', partNumber: 2, do: 'hang', times: 'always' })
    const sealed = start(dir, put, bytes(3 * PART), env)
    await held.hit()
    await until(async () => (await run(dir, ['ls', '--json'])).out.includes('"phase":"sealed"'))
    sealed.child.kill('SIGINT')
    t.match(await sealed.done, {
      status: 130,
      out: '',
      err: /ERR_SPOOL_ABORTED.*kept\n.*"oss-spool resume k"/,
    })
    held.remove()
    const resumed = await run(dir, ['resume', '--all', '--quiet'], undefined, env)
    t.match(resumed, { status: 0, err: '' })
    t.match(await run(dir, ['resume', '--all', '--quiet'], undefined, env), {
      status: 0,
      out: '',
      err: '',
    })
  },
)

void long(
  t,
  'a closed standard output does not fail the upload; a full one is reported',
  async t => {
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const line = `
    set -o pipefail
    echo a | oss-spool put ${K} | true; echo "is $?" >&2
    echo b | oss-spool put ${K}2 >&-; echo "is $?" >&2
    echo c | oss-spool put ${K}3 2>&- | cat >&2; echo "is $?" >&2
    echo d | oss-spool put ${K}4 > /dev/full; echo "is $?" >&2
    oss-spool --help | head -n 1 >&2; oss-spool completion bash | true; echo "is $?" >&2`
    const { err } = await shell(dir, line, env).done
    t.same(err.match(/is \d+/g), ['is 0', 'is 0', 'is 0', 'is 1', 'is 0'], err)
    t.match(err, /cannot be written to standard output: ENOSPC/)
    t.notMatch(err, /\n\s+at /)
    for (const key of ['k', 'k2', 'k3', 'k4']) t.equal((await get(oss, key))?.length, 2)
  },
)
