/** `run`: a failed producer publishes nothing; a producer whose output is sealed is not started again. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { get, PART, server, shell, start, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'
import { long } from '../support/long.js'

const K = `oss://${BUCKET}/k`
const isLinux = process.platform === 'linux'
const ARGS = ['run', K, '--part-size=100KiB', '--id=k']

t.test('uploads the output of a successful command and passes its stderr through', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const done = await start(
    dir,
    [...ARGS, '--json', '--', 'sh', '-c', 'echo "$0 $1"; cat; echo heard >&2', 'a b', '--json'],
    Buffer.from('stdin is inherited'),
    env,
  ).done
  t.match(done, { status: 0, err: 'heard\n' })
  t.match(JSON.parse(done.out), { id: 'k', size: 29, sourceRead: true, resumed: false })
  t.equal(String(await get(oss, 'k')), 'a b --json\nstdin is inherited')
  t.same(await readdir(join(dir, 'spool')), [])
})

void long(t, 'exits with the status of a failed command and publishes nothing', async t => {
  const dir = t.testdir({ plain: 'not executable' })
  const { oss, env } = await server(t, dir)
  for (const [status, ...command] of [
    [3, 'sh', '-c', 'head -c 500000 /dev/zero; exit 3'],
    [1, 'sh', '-c', 'exit 1'],
    [75, 'sh', '-c', 'echo its own 75; exit 75'],
    [137, 'sh', '-c', 'head -c 500000 /dev/zero; kill -KILL $$'],
    [143, 'sh', '-c', 'kill -TERM $$'],
    [127, 'no-such-command'],
    [126, './plain'],
  ] as const) {
    const done = await run(dir, [...ARGS, '--json', '--', ...command], undefined, env)
    t.equal(done.status, status, `${command.join(' ')}\n${done.err}`)
    t.match(JSON.parse(done.out), {
      error: { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false, id: 'k' },
    })
    t.notMatch(done.err, /\n\s+at /)
    t.equal(await get(oss, 'k'), undefined)
  }
  const listed = await run(dir, ['ls', '--json'])
  t.match(JSON.parse(listed.out), {
    phase: 'spooling',
    error: { code: 'ERR_SPOOL_SOURCE_FAILED' },
  })
  t.notOk(oss.requests.some(({ operation }) => operation.startsWith('Complete')))
})

t.test('waits for the exit status after the output has ended', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const late = 'echo all of it; exec >&-; sleep 0.5; exit 4'
  const done = await run(dir, [...ARGS, '--', 'sh', '-c', late], undefined, env)
  t.equal(done.status, 4)
  t.equal(await get(oss, 'k'), undefined)
  const shown = await run(dir, ['show', 'k', '--json'], undefined, env)
  t.notOk('file' in JSON.parse(shown.out), 'show names no temp file, since it was removed')
})

void long(t, 'when OSS fails, the command runs to its end and is never started again', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const fault = oss.inject({
    operation: 'UploadPart',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const command = ['sh', '-c', 'echo x >> started; head -c 300000 /dev/zero']
  const failed = await run(dir, [...ARGS, '--retries=1', '--', ...command], undefined, env)
  t.equal(failed.status, 75, failed.err)
  t.match(failed.err, /\n.*"oss-spool resume k".*\n$/)
  fault.remove()
  const again = await run(dir, [...ARGS, '--json', '--', ...command], undefined, env)
  t.match(again, { status: 0, err: /sh was not started/ })
  t.match(JSON.parse(again.out), { sourceRead: false, resumed: true, size: 300_000 })
  t.equal(await readFile(join(dir, 'started'), 'utf8'), 'x\n')
  t.same(await get(oss, 'k'), Buffer.alloc(300_000))
})

void long(t, '--max-age starts the command again if the sealed bytes are older', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  await run(dir, [...ARGS, '--retries=1', '--', 'echo', 'old'], undefined, env)
  fault.remove()
  const done = await run(dir, [...ARGS, '--max-age=0s', '--', 'echo', 'new'], undefined, env)
  t.equal(done.status, 0)
  t.equal(String(await get(oss, 'k')), 'new\n')
})

void long(t, '--once: run and put FILE return the receipt; put - replaces it', async t => {
  const dir = t.testdir({ file: 'from a file' })
  const { oss, env } = await server(t, dir)
  const command = ['sh', '-c', 'echo x >> started; echo first']
  t.equal((await run(dir, [...ARGS, '--once', '--', ...command], undefined, env)).status, 0)
  const before = oss.requests.length
  for (const args of [
    [...ARGS, '--json', '--', ...command],
    ['put', K, 'file', '--id=k', '--json'],
  ]) {
    const done = await run(dir, args, undefined, env)
    t.equal(done.status, 0)
    t.match(JSON.parse(done.out), { receipt: true, sourceRead: false, size: 6 })
  }
  t.equal(oss.requests.length, before, 'no request was sent to OSS')
  t.equal(await readFile(join(dir, 'started'), 'utf8'), 'x\n')
  t.equal((await run(dir, ['put', K, '--id=k'], Buffer.from('new'), env)).status, 0)
  t.equal(String(await get(oss, 'k')), 'new')
})

t.test('an output that misses --expect-bytes is not published', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const missed = await run(dir, [...ARGS, '--expect-bytes=7', '--', 'echo', 'four'], undefined, env)
  t.match(missed, { status: 1, err: /ERR_SPOOL_EXPECTATION/ })
  t.equal(await get(oss, 'k'), undefined)
  t.equal(
    (await run(dir, [...ARGS, '--expect-bytes=5', '--', 'echo', 'four'], undefined, env)).status,
    0,
  )
})

t.test(
  'SIGTERM, SIGINT and SIGHUP stop the command and publish nothing; exits with 143, 130 and 129',
  async t => {
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    for (const [signal, status] of [
      ['SIGTERM', 143],
      ['SIGINT', 130],
      ['SIGHUP', 129],
    ] as const) {
      const trap = `trap "echo got > ${signal}; exit 0" TERM INT; echo up > ${signal}.ready; while :; do sleep 0.05; done`
      const { child, done } = start(dir, [...ARGS, '--', 'bash', '-c', trap], undefined, env)
      await until(() => existsSync(join(dir, `${signal}.ready`)))
      child.kill(signal)
      t.match(await done, { status, out: '', err: /ERR_SPOOL_ABORTED.*\n.*again/ })
      t.ok(existsSync(join(dir, signal)), 'the command got a signal and was waited for')
      t.equal(await get(oss, 'k'), undefined)
      await run(dir, ['abort', 'k', '--quiet'], undefined, env)
    }
  },
)

t.test('a second signal exits at once even if the command ignores signals', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const deaf = 'trap "" TERM INT; echo $$ > ready; while :; do sleep 0.05; done'
  const { child, done } = start(dir, [...ARGS, '--', 'bash', '-c', deaf], undefined, env)
  await until(() => existsSync(join(dir, 'ready')))
  const pid = Number(await readFile(join(dir, 'ready'), 'utf8'))
  t.teardown(() => process.kill(pid, 'SIGKILL'))
  child.kill('SIGTERM')
  await new Promise(resolve => setTimeout(resolve, 300))
  t.equal(child.exitCode, null, 'the first signal waits for the command')
  child.kill('SIGTERM')
  await new Promise(resolve => child.once('exit', resolve))
  t.equal(child.exitCode, 143)
  process.kill(pid, 'SIGKILL')
  await done.catch(() => undefined)
})

t.test('a command that fails ends the run although another process holds its output', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const command = 'sleep 600 2>/dev/null & echo $! > pid; exit 3'
  const done = await start(dir, [...ARGS, '--', 'sh', '-c', command], undefined, env).done
  process.kill(Number(await readFile(join(dir, 'pid'), 'utf8')), 'SIGKILL')
  t.equal(done.status, 3, done.err)
})

t.test('a signal ends a command that is stopped', { skip: !isLinux }, async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const command = 'echo $$ > pid; kill -STOP $$; exec sleep 600'
  const { child, done } = start(dir, [...ARGS, '--', 'sh', '-c', command], undefined, env)
  const stateOf = async (): Promise<string> => {
    const pid = await readFile(join(dir, 'pid'), 'utf8').catch(() => '')
    return pid === '' ? '' : readFile(`/proc/${pid.trim()}/stat`, 'utf8')
  }
  await until(async () => (await stateOf()).includes(') T '))
  child.kill('SIGTERM')
  t.match(await done, { status: 143 })
})

t.test('after a kill in any phase, the next run uses the state that was kept', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const size = 5 * PART
  const command = ['sh', '-c', `echo x >> started; head -c ${size} /dev/zero`]
  const slow = ['sh', '-c', `head -c ${size} /dev/zero; while sleep 0.1; do echo; done`]

  const spooling = start(dir, [...ARGS, '--', ...slow], undefined, env)
  await until(
    () => oss.requests.filter(r => r.operation === 'UploadPart' && r.status === 200).length >= 4,
  )
  spooling.child.kill('SIGKILL')
  await new Promise(resolve => spooling.child.once('exit', resolve))
  t.equal(await get(oss, 'k'), undefined)

  const held = oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', times: 'always' })
  const completing = start(dir, [...ARGS, '--', ...command], undefined, env)
  await held.hit()
  completing.child.kill('SIGKILL')
  await completing.done
  held.remove()
  t.equal(await get(oss, 'k'), undefined)

  const done = await run(dir, [...ARGS, '--json', '--', ...command], undefined, env)
  t.match(done, { status: 0 }, done.err)
  t.match(JSON.parse(done.out), { resumed: true, sourceRead: false, size, skipped: size })
  t.equal(await readFile(join(dir, 'started'), 'utf8'), 'x\n', 'sealed, so not started again')
  t.same(await get(oss, 'k'), Buffer.alloc(size))
})

t.test('a failed producer is published by put in a pipeline, but not by run', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const line = `(echo half; exit 9) | oss-spool put ${K} --quiet; oss-spool run ${K}2 -- sh -c "echo half; exit 9"; echo $?`
  const { out } = await shell(dir, line, env).done
  t.match(out, /\n9\n$/)
  t.equal(String(await get(oss, 'k')), 'half\n', 'a pipe does not carry the exit status')
  t.equal(await get(oss, 'k2'), undefined)
})
