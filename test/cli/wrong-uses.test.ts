/** Wrong usage yields the documented exit status and one clear line, never a stack trace. */
import { chmodSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { get, PART, server, shell, start, type Ended } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { tinyDisk } from '../support/tiny-disk.js'

const K = `oss://${BUCKET}/k`

/** One line with the code and one with the hint, nothing else. */
const ERROR_LINES = /^oss-spool: (ERR_[A-Z_]+|E[A-Z]+): [^\n]+\n[^\n]+\n$/

function isClear(t: Test, { err }: Ended): void {
  t.match(err, ERROR_LINES)
  t.notMatch(err, /\n\s+at /)
}

t.test('wrong arguments exit with 2 before anything is touched', async t => {
  const dir = t.testdir({
    folder: {},
    a: 'A',
    b: 'B',
    sub: { a: 'A' },
    'bad.json': '{ "regio": 1 }',
  })
  writeFileSync(join(dir, 'keys.json'), '{"accessKeyId":"x","accessKeySecret":"s3cret"}')
  chmodSync(join(dir, 'keys.json'), 0o644)
  const { oss, env } = await server(t, dir)
  const put = ['put', K]
  const wrong: [args: string[], hint: RegExp][] = [
    [[...put, '--partsize=8MiB'], /--part-size/],
    [['pu', K], /Did you mean put/],
    [[...put, '--part-size=5'], /--part-size must be an integer/],
    [[...put, '--max-spool=1KiB'], /--max-spool must be an integer/],
    [[...put, '--max-spool=1MiB', '--size=10GiB'], /--size must be an integer/],
    [[...put, '--id=a', '--id=b'], /--id.*twice/],
    [[...put, 'a', '--spool='], /--spool.*Expected a directory/],
    [[...put, 'a', '--local='], /--local.*Expected a directory/],
    [[...put, 'a', '--config='], /--config.*Expected a value/],
    [[...put, 'a', '--endpoint='], /--endpoint.*Expected a value/],
    [[...put, 'a', '--id='], /--id.*Expected a value/],
    [[...put, 'a', '--meta=day=1', '--meta=Day=2'], /--meta has two values for "Day"/],
    [[...put, 'a', '--header=x-a=1', '--header=X-A=2'], /--header has two values/],
    [[...put, 'a', '--tag=day=1', '--tag=day=2'], /--tag has two values/],
    [['split', `${K}-{job}-{seq}-{partition}`, '--partition='], /--partition.*Expected a value/],
    [['resume', '--all', '--parallel=0'], /--parallel must be an integer/],
    [['resume', '--all', '--retries=0'], /--retries must be an integer/],
    [['emulator', '--dir='], /--dir.*Expected a value/],
    [['emulator', '--host='], /--host.*Expected a value/],
    [['emulator', '--dir=a', '--dir=b'], /--dir was given twice/],
    [['emulator', '--port=65536'], /--port.*Expected a port/],
    [['put', FOLDER, 'a', 'b', '--id=x'], /--id applies to one stream/],
    [['put', K, 'a', 'b'], /trailing slash/],
    [['put', FOLDER, 'a', 'sub/a'], /would both be uploaded as "in\/a"/],
    [['put', FOLDER, '*.nothing'], /No file matches/],
    [['put', FOLDER], /Standard input has no name/],
    [['put', FOLDER, 'folder'], /is a directory/],
    [['put', FOLDER, '.'], /is a directory/],
    [['put', FOLDER, '/'], /is a directory.*'\/\*\*'/],
    [[...put, 'missing'], /ENOENT/],
    [[...put, '--if-changed'], /--if-changed needs a FILE/],
    [[...put, '--progress=loud'], /auto, json/],
    [['put', 'http://bucket/key'], /Expected oss:\/\/BUCKET\/KEY/],
    [['run', K, '--'], /Expected a command/],
    [['run', K, '--', ''], /Expected a command/],
    [['show', '../x'], /upload id must be/],
    [['resume', '--all', 'x'], /not both/],
    [['completion', 'tcsh'], /bash, zsh or fish/],
    [['config', 'shwo'], /Did you mean show/],
    [['ls', '--config=missing.json'], /missing\.json cannot be read: ENOENT/],
    [['ls', '--config=bad.json'], /unknown setting "regio"\. Expected one of/],
    [['ls', '--config=keys.json'], /chmod 600/],
    [['doctor', 'bucket'], /Expected oss:/],
    [[...put, '--cname', '--endpoint=http://oss-cn-x.aliyuncs.com'], /own domain of the bucket/],
    [[...put, `--endpoint=${BUCKET}.oss-cn-x.aliyuncs.com`], /"oss-cn-x\.aliyuncs\.com"/],
    [[...put, '--header=x-oss-request-payer=requester'], /--request-payer/],
    [[...put, '--header=x-oss-traffic-limit=1'], /819200 to 838860800/],
  ]
  for (const [args, hint] of wrong) {
    const done = await run(dir, args, undefined, env)
    t.equal(done.status, 2, `${args.join(' ')}: ${done.err}`)
    t.equal(done.out, '')
    t.match(done.err, hint)
    isClear(t, done)
    t.notMatch(done.err, /s3cret/)
  }
  t.equal(oss.requests.length, 0, 'no request was sent to OSS')
  t.notOk((await readdir(dir)).includes('spool'), 'no spool directory was created')
  const json = await run(dir, ['put', K, '--json', '--no-such'], undefined, env)
  t.match(JSON.parse(json.out), { error: { code: 'ERR_USAGE', resumable: false, id: '' } })
})

const FOLDER = `oss://${BUCKET}/in/`

t.test('an unreadable file exits with 2', async t => {
  const dir = t.testdir({ secret: 'x' })
  chmodSync(join(dir, 'secret'), 0)
  const { env } = await server(t, dir)
  if (process.getuid?.() === 0) {
    t.pass('root reads everything', { skip: true })
    return
  }
  const done = await run(dir, ['put', K, 'secret'], undefined, env)
  t.match(done, { status: 2, err: /secret cannot be read: EACCES/ })
  isClear(t, done)
})

t.test('a directory that emulator cannot use exits with 1, and the hint names --dir', async t => {
  const done = await run(t.testdir({ file: '' }), ['emulator', '--dir=file'])
  t.match(done, { status: 1, err: /ENOTDIR/ })
  t.match(done.err, '--dir')
  t.notMatch(done.err, /--spool|doctor/)
  isClear(t, done)
})

t.test('a read-only spool directory exits with 1, and doctor says how to fix it', async t => {
  const disk = tinyDisk(t)
  if (disk === undefined) return
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  disk.protect()
  const onto = { ...env, OSS_SPOOL_DIR: join(disk.path, 'spool') }
  const done = await run(dir, ['put', K], Buffer.from('x'), onto)
  t.match(done, {
    status: 1,
    out: '',
    err: /ERR_SPOOL_IO: oss:\/\/test-bucket\/k: .*EROFS.*\n.*doctor/,
  })
  isClear(t, done)
  const doctor = await run(dir, ['doctor', '--json'], undefined, onto)
  t.equal(doctor.status, 1)
  t.match(JSON.parse(doctor.out), {
    ok: false,
    checks: [{ check: 'spool directory', state: 'failed', message: /EROFS/, hint: /--spool/ }],
  })
  t.equal(await get(oss, 'k'), undefined)
})

t.test(
  'a full disk exits with 1 while the source is still needed, and nothing is published',
  async t => {
    const disk = tinyDisk(t)
    if (disk === undefined) return
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const args = ['put', K, `--spool=${join(disk.path, 'spool')}`, '--json']
    const done = await run(dir, args, bytes(2 * PART), env)
    t.match(done, {
      status: 1,
      err: /ERR_SPOOL_FULL: oss:\/\/test-bucket\/k: .*\. Nothing was published\n.*--max-spool/,
    })
    t.match(JSON.parse(done.out), { error: { code: 'ERR_SPOOL_FULL', resumable: false } })
    isClear(t, done)
    t.equal(await get(oss, 'k'), undefined)
  },
)

t.test('an id of another object, or held by a live process, is rejected', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const line = `oss-spool run ${K} --id=x -- sh -c "echo up > ready; exec sleep 60" &
    while [ ! -e ready ]; do sleep 0.05; done
    oss-spool put ${K} --id=x --json < /dev/null; echo " is $?"
    kill $!; wait
    oss-spool put ${K}2 --id=x --json < /dev/null; echo " is $?"`
  const { out, err } = await shell(dir, line, env).done
  t.match(out, /"ERR_SPOOL_LOCKED".*"resumable":true.*\n is 75\n/)
  t.match(out, /"ERR_SPOOL_ID_IN_USE".*\n is 1\n/)
  t.notMatch(err, /\n\s+at /)
})

t.test('a secret in a mistyped flag or object is not printed', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  for (const args of [
    ['put', '--accessKeySecret=s3cret', K],
    ['put', '--json', '--access_key_secret=s3cret', K],
    ['put', '-ks3cret', K],
    ['put', '-k=s3cret', K],
    ['put', 'oss://id:s3cret@bucket/k'],
    ['put', 'oss://id:s3/cret@bucket/k'],
    ['put', 'id:s3cret@bucket/k'],
  ]) {
    const { status, out, err } = await run(dir, args, undefined, env)
    t.equal(status, 2)
    t.notMatch(out + err, /s3|cret@/, args.join(' '))
  }
})

t.test('an invalid id among others exits with 2 before any upload is finished', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const refusal = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  const fault = oss.inject({ operation: 'PutObject', ...refusal })
  const sealed = await run(dir, ['put', K, '--id=k', '--retries=1'], Buffer.from('x'), env)
  t.equal(sealed.status, 75)
  fault.remove()
  for (const command of ['resume', 'abort']) {
    t.equal((await run(dir, [command, 'k', '../k'], undefined, env)).status, 2)
  }
  t.equal(await get(oss, 'k'), undefined)
  t.match(await run(dir, ['resume', 'k', 'none'], undefined, env), { status: 1 })
  t.equal(String(await get(oss, 'k')), 'x', 'the other upload is finished')
})

t.test('resume --all exits with 1 if an upload is lost', async t => {
  const dir = t.testdir({ spool: { lost: { 'checkpoint.json': '{' } } })
  const { env } = await server(t, dir)
  const done = await run(dir, ['resume', '--all', '--json'], undefined, env)
  t.match(done, { status: 1, err: /damaged/ })
  t.match(JSON.parse(done.out), { error: { code: 'ERR_SPOOL_CORRUPT', id: 'lost' } })
  t.match(await run(dir, ['resume', '--all'], undefined, env), { status: 0, err: /nothing to do/ })
})

t.test(
  'uploads to an embedded OSS are resumed with --local only, and other uploads only without it',
  async t => {
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const refusal = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    oss.inject({ operation: 'PutObject', ...refusal })
    await run(dir, ['put', K, '--id=there', '--retries=1'], Buffer.from('x'), env)
    t.match(await run(dir, ['resume', '--local=d', 'there']), {
      status: 75,
      err: `run "oss-spool resume there --endpoint ${oss.endpoint} --region oss-cn-hangzhou"`,
    })
    const flags = ['--local=d', '--id=here', '--max-rate=1KiB', K]
    const killed = start(dir, ['put', ...flags], bytes(20_000))
    await until(async () => (await run(dir, ['ls', '--json'])).out.includes('"phase":"completing"'))
    killed.child.kill('SIGKILL')
    await killed.done
    for (const command of ['resume', 'abort']) {
      const { status, err } = await run(dir, [command, 'here'], undefined, env)
      t.equal(status, command === 'abort' ? 1 : 75)
      t.match(err, `run "oss-spool ${command} here --local=${join(dir, 'd')}"`)
    }
    t.equal((await run(dir, ['resume', '--local=d', 'here'])).status, 0)
  },
)

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise(resolve => setTimeout(resolve, 50))
}
