/** Environments that lack something: a home directory, a writable root, an init process, an answer. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hintForError } from '../../src/cli/error-hints.js'
import {
  bare,
  BIN,
  ended,
  server,
  terminal,
  type Ended,
  type Env,
} from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { sampled } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

const K = `oss://${BUCKET}/k`

/** Runs the command through wrappers such as `unshare`. Skips where they are not permitted. */
async function wrapped(
  t: Test,
  wrapper: readonly string[],
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Ended | undefined> {
  const [command = '', ...rest] = wrapper
  const probe = spawnSync(command, [...rest, 'true'], { encoding: 'utf8' })
  if (probe.status !== 0) {
    t.pass(`${command} is not permitted here: ${probe.stderr}`, { skip: true })
    return undefined
  }
  const child = spawn(command, [...rest, process.execPath, BIN, ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...bare(cwd), NODE_OPTIONS: undefined, OSS_SPOOL_DIR: undefined, ...env },
  })
  return ended(child)
}

const NOBODY = ['setpriv', '--reuid', '12345', '--regid', '12345', '--clear-groups']

t.test('a user without a home directory needs one only for the default spool', async t => {
  const dir = t.testdir({ open: {} })
  chmodSync(join(dir, 'open'), 0o777)
  for (const home of sampled(t, [undefined, '', 'relative'], 3)) {
    const listed = await wrapped(t, NOBODY, ['ls', '--json'], join(dir, 'open'), { HOME: home })
    if (listed === undefined) return
    t.equal(listed.status, 2, `HOME=${home}: ${listed.err}`)
    t.match(listed.err, /--spool or OSS_SPOOL_DIR/)
    const given = { HOME: home, OSS_SPOOL_DIR: join(dir, 'open', 'spool') }
    const put = await wrapped(t, NOBODY, ['put', K, BIN, '--local=d'], join(dir, 'open'), given)
    t.match(put, { status: 0 }, `HOME=${home}`)
    const shown = await wrapped(t, NOBODY, ['config', 'show'], dir, { HOME: home })
    t.match(shown, { status: 0, err: '' })
  }
  t.same((await readdir(join(dir, 'open'))).toSorted(), ['d', 'spool'], 'no spool here by default')
  const root = await wrapped(t, NOBODY, ['put', K, BIN, '--local=d'], join(dir, 'open'), {
    HOME: '/',
  })
  t.match(root, { status: 1, err: /ERR_SPOOL_IO.*EACCES.*\n.*--spool/ })
})

t.test('a read-only root file system is enough if the spool is elsewhere', async t => {
  const dir = t.testdir({})
  const line = `mount --make-rprivate / && mount -t tmpfs tmpfs ${dir} && mount -o remount,bind,ro / && exec "$@"`
  const wrapper = ['unshare', '-m', 'sh', '-c', line, 'sh']
  const env = { OSS_SPOOL_DIR: join(dir, 'spool'), TMPDIR: '/proc' }
  const args = ['put', K, BIN, `--local=${join(dir, 'd')}`]
  const put = await wrapped(t, wrapper, args, dir, env)
  if (put === undefined) return
  t.equal(put.status, 0, put.err)
  const home = { HOME: '/nowhere', TMPDIR: '/proc' }
  const refused = await wrapped(t, wrapper, args, dir, home)
  t.match(refused, { status: 1, err: /ERR_SPOOL_IO.*EROFS.*\n.*--spool/ })
})

t.test(
  'a directory that cannot be created is an error at once',
  { skip: process.platform !== 'linux' && 'needs /proc' },
  async t => {
    const dir = t.testdir({})
    for (const [args, err] of [
      [['put', K, BIN, `--local=${join(dir, 'd')}`, '--spool=/proc/x'], /ERR_SPOOL_IO.*ENOENT/],
      [['put', K, BIN, '--local=/proc/x'], /ENOENT.*\/proc\/x.*\n.*--local/],
      [['emulator', '--dir', '/proc/x'], /ENOENT.*\/proc\/x.*\n.*--dir/],
    ] as const) {
      t.match(await wrapped(t, ['env'], args, dir, {}), { status: 1, err }, args.join(' '))
    }
  },
)

t.test('a spool directory that cannot be read is an error with a code', async t => {
  const dir = t.testdir({ file: '' })
  const spool = `--spool=${join(dir, 'file', 'spool')}`
  const commands = [['ls'], ['show', 'x'], ['prune'], ['resume', '--all'], ['abort', 'x']]
  for (const command of commands) {
    const args = [
      ...command,
      spool,
      ...(['ls', 'show'].includes(command[0] ?? '') ? [] : ['--local=d']),
    ]
    const err = /ERR_SPOOL_IO.*ENOTDIR.*\n.*doctor --spool/
    t.match(await wrapped(t, ['env'], args, dir, {}), { status: 1, err }, args.join(' '))
  }
})

t.test('process 1 reports the status of its command and handles signals', async t => {
  const dir = t.testdir({})
  const wrapper = ['unshare', '--pid', '--fork', '--mount-proc']
  const env = { OSS_SPOOL_DIR: join(dir, 'spool') }
  for (const [script, status] of [
    ['sleep 0.1 & exit 3', 3],
    ['kill -9 $$', 137],
    ['echo x', 0],
  ] as const) {
    const args = ['run', '--local=d', K, '--', 'sh', '-c', script]
    const done = await wrapped(t, wrapper, args, dir, env)
    if (done === undefined) return
    t.equal(done.status, status, done.err)
  }
  const script = 'kill -TERM 1; exec sleep 60'
  const stopped = await wrapped(
    t,
    wrapper,
    ['run', '--local=d', `${K}2`, '--', 'sh', '-c', script],
    dir,
    env,
  )
  t.match(stopped, { status: 143, err: /ERR_SPOOL_ABORTED/ })
})

t.test('Ctrl-C at a question exits with 130, and the end of the input counts as no', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  await run(dir, ['run', K, '--id=k', '--', 'false'], undefined, env)
  for (const [command, key, status] of [
    ['abort k', '\u0003', 130],
    ['prune', '\u0003', 130],
    ['abort k', '\u0004', 1],
  ] as const) {
    const asked = terminal(dir, `oss-spool ${command}; echo "is $?"`, 80, env)
    asked.child.stdout?.on('data', (chunk: Buffer) => {
      if (chunk.includes('[y/N]')) asked.child.stdin?.write(key)
    })
    const { out } = await asked.done
    t.match(out, `is ${status}\r\n`)
    t.notMatch(out, /ERR_|bug|\n\s+at /)
  }
  t.match((await run(dir, ['ls', '--json'], undefined, env)).out, '"id":"k"')
})

t.test('a worker whose Redis is gone exits within 10 s of SIGTERM', async t => {
  const redis = await startRedis(t)
  if (redis === undefined) return
  const dir = t.testdir({ 'sources.mjs': 'export const none = () => []' })
  const { env } = await server(t, dir)
  const args = ['worker', '--sources=sources.mjs', `--bucket=${BUCKET}`]
  const worker = spawn(process.execPath, [BIN, ...args], {
    cwd: dir,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: bare(dir, { ...env, REDIS_URL: `redis://127.0.0.1:${redis.port}`, NODE_OPTIONS: '' }),
  })
  const done = ended(worker)
  await new Promise<void>(resolve =>
    worker.stderr.on('data', (chunk: Buffer) => chunk.includes('working on queue') && resolve()),
  )
  await redis.kill()
  const start = Date.now()
  worker.kill('SIGTERM')
  const { status, err } = await done
  t.equal(status, 143, err)
  t.ok(Date.now() - start < 10_000, `${Date.now() - start} ms`)
})

t.test('a failure of the system shows its code once', async t => {
  const dir = t.testdir({ file: 'x' })
  const { status, err } = await run(dir, ['put', '--local=file/sub', `oss://${BUCKET}/k`, 'file'])
  t.equal(status, 1)
  t.match(err, /^oss-spool: ENOTDIR: not a directory/)
})

t.test('no failure of the system, of Redis or of the installation is called a bug', async t => {
  const codes = [...Object.keys(constants.errno), 'ENOTFOUND', 'EAI_AGAIN', 'ERR_SYSTEM_ERROR']
  const errors: unknown[] = [...codes, 'ERR_MODULE_NOT_FOUND', 'ERR_DLOPEN_FAILED'].map(code =>
    Object.assign(new Error('x'), { code }),
  )
  errors.push(new Error('Connection is closed.'), new Error('NOAUTH Authentication required.'))
  errors.push(new RangeError('Array buffer allocation failed'))
  errors.push(new RangeError('WebAssembly.Instance(): Out of memory: Cannot allocate Wasm memory'))
  for (const error of errors) {
    t.notMatch(
      hintForError(error, 'oss-spool put', () => 'x'),
      'bug',
      String(error),
    )
  }
  t.notMatch(
    hintForError(new Error('x'), 'oss-spool worker', () => 'x'),
    'bug',
  )
  t.match(
    hintForError(new TypeError('x'), 'oss-spool put', () => 'x'),
    'bug',
  )
})

t.test('wrong values name the flag, the variable or the line of the file', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const put = ['put', K]
  const file = join(dir, 'c.json')
  const wrong: [args: string[], more: Env, json: string, expected: RegExp][] = [
    [put, { OSS_SPOOL_PART_SIZE: 'big' }, '{}', /OSS_SPOOL_PART_SIZE: Expected a size/],
    [put, { OSS_SPOOL_PART_SIZE: '5' }, '{}', /OSS_SPOOL_PART_SIZE must be/],
    [put, { OSS_SPOOL_ONCE: 'yes' }, '{}', /OSS_SPOOL_ONCE: Expected 1 or 0/],
    [put, {}, '{\n "partSize": 5 }', /"partSize" in c\.json, line 2, must be/],
    [put, {}, '{\n\n "partSize": "x" }', /c\.json, line 3: "partSize"/],
    [put, {}, '{\n "region": "x",\n }', /c\.json .*line 3, column 2/],
    [put, {}, '{ "size": 5 }', /line 1: "size".*OSS_SPOOL_SIZE/],
    [put, {}, '{ "once": true, "once": false }', /"once" is set twice/],
    [[...put, '--retries=0'], {}, '{}', /--retries must be/],
    [[...put, '--expect-md5=0'], {}, '{}', /--expect-md5/],
    [[...put, '--content-type=x'], {}, '{}', /--content-type must be/],
    [[...put, '--region=UPPER'], {}, '{}', /--region must be/],
    [[...put, '--cname', '--endpoint=http://oss-cn-x.aliyuncs.com'], {}, '{}', /because --cname/],
  ]
  for (const [args, more, json, expected] of wrong) {
    writeFileSync(file, json)
    const done = await run(dir, [...args, '--config=c.json'], undefined, { ...env, ...more })
    t.equal(done.status, 2, done.err)
    t.match(done.err, expected)
    t.notMatch(done.err, /client\.|retry\.|expect\.|maxSpoolBytes|"mime"/)
  }
  t.equal(oss.requests.length, 0)
  t.match(await run(dir, ['ls'], undefined, { OSS_SPOOL_HEALTH: 'tcp://x' }), { status: 0 })
})

t.test('variables set options, and flags take precedence over them', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const more = {
    ...env,
    OSS_SPOOL_PART_SIZE: '100KiB',
    OSS_SPOOL_JSON: '1',
    OSS_SPOOL_NO_OVERWRITE: '1',
    OSS_SPOOL_META: 'a=1\nb=2',
  }
  const first = await run(dir, ['put', K], Buffer.alloc(300_000), more)
  t.match(JSON.parse(first.out), { parts: 3 }, first.err)
  t.match(await run(dir, ['put', K], Buffer.from('x'), more), { status: 1, out: /OBJECT_EXISTS/ })
  const flagged = await run(dir, ['put', `${K}2`, '--part-size=200KiB'], Buffer.alloc(300_000), {
    ...more,
    OSS_SPOOL_NO_OVERWRITE: '0',
  })
  t.match(JSON.parse(flagged.out), { parts: 2 })
  t.ok(oss.requests.length > 0)
  const shown = JSON.parse((await run(dir, ['config', 'show', '--json'], undefined, more)).out)
  t.match(shown, {
    partSize: { value: 102_400, from: '$OSS_SPOOL_PART_SIZE' },
    noOverwrite: { value: true, from: '$OSS_SPOOL_NO_OVERWRITE' },
    endpoint: { from: '$OSS_ENDPOINT' },
  })
})

t.test('endpoints of buckets in ~/.ossutilconfig apply, also to resume --all', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const { OSS_ENDPOINT: endpoint = '', OSS_REGION: _region, ...keys } = env
  writeFileSync(
    join(dir, '.ossutilconfig'),
    `[Credentials]\nendpoint=oss-cn-hangzhou.aliyuncs.com\nregion=cn-hangzhou\n[Bucket-Endpoint]\n${BUCKET}=${endpoint}\n[Bucket-Cname]\nother=img.example.com\n`,
  )
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  t.match(await run(dir, ['put', K, '--retries=1'], Buffer.from('x'), keys), { status: 75 })
  fault.remove()
  for (const args of [['show', 'k'], ['doctor']]) {
    const { out } = await run(dir, args, undefined, keys)
    t.match(out, /run "oss-spool resume /i, args.join(' '))
    t.notMatch(out, 'resume --all --endpoint', 'the upload belongs to the configured OSS')
    t.notMatch(out, /resume \S+ --endpoint/, 'the upload belongs to the configured OSS')
  }
  const elsewhere = await run(
    dir,
    ['abort', '--all', '--no-remote', '--endpoint=http://127.0.0.1:1'],
    undefined,
    keys,
  )
  t.match(elsewhere.err, 'is skipped: it belongs to')
  const resumed = await run(dir, ['resume', '--all'], undefined, keys)
  t.match(resumed, { status: 0, out: /CRC64/ }, resumed.err)
  const region = ['config', 'show', '--json', '--region=cn-shanghai']
  const shown = JSON.parse((await run(dir, region, undefined, keys)).out)
  t.match(shown, { region: { value: 'cn-shanghai' }, endpoint: { from: 'default' } })
  t.notOk('value' in shown.endpoint, 'an endpoint of another region is dropped')
})
