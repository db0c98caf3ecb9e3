/** `run --shell`: a pipeline of bash, which is published only if each of its commands succeeds. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { descendants, killProcess } from '../../src/cli/process-tree.js'
import { get, server, shell, start, terminal, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { LONG } from '../support/long.js'
import { BUCKET } from '../support/oss.js'

const K = `oss://${BUCKET}/k`

t.test('publishes the output of a pipeline that succeeds', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const line = `echo "it's $0" | tr a-z A-Z`
  const done = await run(dir, ['run', '--shell', line, K, '--json'], undefined, env)
  t.match(done, { status: 0, err: '' })
  t.match(JSON.parse(done.out), { sourceRead: true })
  t.equal(String(await get(oss, 'k')), "IT'S BASH\n")
})

t.test('exits with the status of the command that failed, and publishes nothing', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  for (const [status, line] of [
    [3, '(echo half; exit 3) | cat'],
    [4, 'echo all | (cat; exit 4)'],
    [127, 'no-such-command-s3cret | cat'],
    [141, 'yes | head -n 1'],
    [143, '(echo half; kill -TERM $BASHPID) | cat'],
    [2, 'echo "'],
    // A real-time signal, of which Node says nothing. It has no number elsewhere.
    ...(process.platform === 'linux' ? [[163, `sh -c 'echo half; kill -35 $$'`] as const] : []),
  ] as const) {
    // A process of its own, since bash writes to standard error.
    const { done: ended } = start(dir, ['run', '--id=k', K, '--shell', line], undefined, env)
    const done = await ended
    t.equal(done.status, status, done.err)
    t.match(done.err, /ERR_SPOOL_SOURCE_FAILED/)
    t.notMatch(done.err, /^oss-spool: .*s3cret/m, 'the line may contain a password')
    t.equal(await get(oss, 'k'), undefined)
  }
})

t.test('a line whose output is sealed is not run again', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const args = ['run', '--shell', 'echo x >> started; echo first | cat', K, '--retries=1']
  t.equal((await run(dir, args, undefined, env)).status, 75)
  fault.remove()
  t.match(await run(dir, args, undefined, env), { status: 0, err: /was not started/ })
  t.equal(await readFile(join(dir, 'started'), 'utf8'), 'x\n')
})

t.test('wrong uses exit with 2 before the spool is touched', async t => {
  const dir = t.testdir({})
  for (const args of [
    ['run', '--local', '--shell', 'echo x', K, '--', 'echo', 'y'],
    ['run', '--local', '--shell', ' ', K],
    ['run', '--local', '--shell', 'echo x', '--shell', 'echo y', K],
    ['run', '--local', K],
  ]) {
    t.match(await run(dir, args), { status: 2, err: /ERR_USAGE/ })
  }
  const line = `PATH=${join(dir, 'no-bash')} ${process.execPath} "$(command -v oss-spool)" run --local --shell 'echo x' ${K}`
  const { status, err } = await shell(dir, line).done
  t.match({ status, err }, { status: 2, err: /needs bash/ })
  t.notOk(existsSync(join(dir, 'spool')))
})

/** Three commands that write their process ids to files and end only by a signal. */
const ENDLESS = [1, 2, 3]
  .map(i => `bash -c 'echo $$ > pid${i}; exec 3< <(exec sleep 600); while :; do sleep 0.01; done'`)
  .join(' | ')

async function pidsIn(dir: string): Promise<number[]> {
  const files = [1, 2, 3].map(i => join(dir, `pid${i}`))
  await until(async () => {
    const texts = await Promise.all(files.map(file => readFile(file, 'utf8').catch(() => '')))
    return texts.every(text => text.endsWith('\n'))
  })
  return Promise.all(files.map(async file => Number(await readFile(file, 'utf8'))))
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

t.test('SIGTERM, SIGINT and SIGHUP end every command of the pipeline', async t => {
  for (const [signal, status] of [
    ['SIGTERM', 143],
    // A shell goes on after SIGINT if the command that it waits for ends normally, which is a matter of time.
    ...Array.from({ length: LONG ? 4 : 1 }, () => ['SIGINT', 130] as const),
    ['SIGHUP', 129],
  ] as const) {
    const dir = t.testdir({})
    const { child, done } = start(dir, ['run', '--local', '--shell', ENDLESS, K])
    const pids = await pidsIn(dir)
    child.kill(signal)
    t.match(await done, { status, out: '', err: /ERR_SPOOL_ABORTED/ })
    await until(() => !pids.some(isAlive))
  }
})

t.test('on a terminal, Ctrl-C ends every command of the pipeline', async t => {
  const dir = t.testdir({})
  const line = `PATH=${dirname(process.execPath)}:$PATH oss-spool run --local --shell ${JSON.stringify(ENDLESS).replaceAll('$', '\\$')} ${K}`
  const { child, done } = terminal(dir, line, 80)
  const pids = await pidsIn(dir)
  child.stdin?.write('\u0003')
  t.equal((await done).status, 130)
  await until(() => !pids.some(isAlive))
})

t.test('a pipeline can read the terminal', async t => {
  const dir = t.testdir({})
  const line = `oss-spool run --local --quiet --shell 'read -r word < /dev/tty; echo "$word" | tr a-z A-Z' ${K} && cat oss-data/buckets/*/objects/k.object/body-*`
  const { child, done } = terminal(dir, line, 80)
  child.stdin?.write('password\n')
  t.match(await done, { status: 0, out: /PASSWORD/ })
})

t.test('descendants() returns the whole tree, parents first', async t => {
  const parents = [
    [1, 0],
    [7, 5],
    [5, 3],
    [3, 1],
    [4, 3],
    [9, 1],
  ] as const
  t.same(descendants(3, parents), [5, 4, 7])
  t.same(descendants(8, parents), [])
})

t.test('killProcess() ignores processes of other users', t => {
  const kill = process.kill.bind(process)
  t.teardown(() => (process.kill = kill))
  process.kill = () => {
    throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' })
  }
  t.doesNotThrow(() => killProcess(process.pid, 'SIGTERM'))
  t.end()
})
