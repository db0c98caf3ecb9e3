/** What people do wrong: the exit status that the contract names, one clear line, never a stack. */
import { chmodSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { get, PART, run, server, shell, type Ended } from '../support/command-line.js'
import { BUCKET, bytes } from '../support/oss.js'
import { tinyDisk } from '../support/tiny-disk.js'

const K = `oss://${BUCKET}/k`

/** One line with the code, one that says what is next, nothing else. */
const SAID = /^oss-spool: (ERR_[A-Z_]+|E[A-Z]+): [^\n]+\n[^\n]+\n$/

function isClear(t: Test, { err }: Ended): void {
  t.match(err, SAID)
  t.notMatch(err, /\n\s+at /)
}

t.test('wrong words: exit 2 before anything is touched', async t => {
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
    [[...put, '--part-size=5'], /partSize.*out of range/],
    [[...put, '--max-spool=1KiB'], /maxSpoolBytes.*out of range/],
    [[...put, '--max-spool=1MiB', '--size=10GiB'], /"size" is out of range/],
    [[...put, '--id=a', '--id=b'], /--id.*twice/],
    [['put', FOLDER, 'a', 'b', '--id=x'], /--id is about one stream/],
    [['put', K, 'a', 'b'], /slash at its end/],
    [['put', FOLDER, 'a', 'sub/a'], /would both be "in\/a"/],
    [['put', FOLDER, '*.nothing'], /No file matches/],
    [['put', FOLDER], /Standard input has no name/],
    [['put', FOLDER, 'folder'], /is a directory/],
    [[...put, 'missing'], /ENOENT/],
    [[...put, '--if-changed'], /--if-changed needs a FILE/],
    [[...put, '--progress=loud'], /auto, json/],
    [['put', 'http://bucket/key'], /Expected oss:\/\/BUCKET\/KEY/],
    [['run', K, '--'], /missing required argument/],
    [['run', K, '--', ''], /Expected a command/],
    [['show', '../x'], /"id" option/],
    [['resume', '--all', 'x'], /not both/],
    [['completion', 'tcsh'], /bash, zsh or fish/],
    [['config', 'shwo'], /Did you mean show/],
    [['ls', '--config=missing.json'], /missing\.json cannot be read: ENOENT/],
    [['ls', '--config=bad.json'], /"regio", which is none of/],
    [['ls', '--config=keys.json'], /chmod 600/],
    [['doctor', 'bucket'], /Expected oss:/],
  ]
  // Two at a time, as many as this machine has processors.
  for (let i = 0; i < wrong.length; i += 2) {
    await Promise.all(
      wrong.slice(i, i + 2).map(async ([args, hint]) => {
        const done = await run(dir, args, undefined, env)
        t.equal(done.status, 2, `${args.join(' ')}: ${done.err}`)
        t.equal(done.out, '')
        t.match(done.err, hint)
        isClear(t, done)
        t.notMatch(done.err, /s3cret/)
      }),
    )
  }
  t.equal(oss.requests.length, 0, 'OSS was not asked')
  t.notOk((await readdir(dir)).includes('spool'), 'no spool was made')
  const json = await run(dir, ['put', K, '--json', '--no-such'], undefined, env)
  t.match(JSON.parse(json.out), { error: { code: 'ERR_USAGE', resumable: false, id: '' } })
})

const FOLDER = `oss://${BUCKET}/in/`

t.test('a file that may not be read: exit 2', async t => {
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

t.test('a spool that cannot be written: exit 1, and doctor says how to mend it', async t => {
  const disk = tinyDisk(t)
  if (disk === undefined) return
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  disk.protect()
  const onto = { ...env, OSS_SPOOL_DIR: join(disk.path, 'spool') }
  const done = await run(dir, ['put', K], Buffer.from('x'), onto)
  t.match(done, { status: 1, out: '', err: /EROFS: oss:\/\/test-bucket\/k: .*\n.*doctor/ })
  isClear(t, done)
  const doctor = await run(dir, ['doctor', '--json'], undefined, onto)
  t.equal(doctor.status, 1)
  t.match(JSON.parse(doctor.out), {
    ok: false,
    checks: [{ check: 'spool directory', state: 'failed', message: /EROFS/, mend: /--spool/ }],
  })
  t.equal(await get(oss, 'k'), undefined)
})

t.test(
  'a full disk: exit 1 while the source is still needed, and nothing is published',
  async t => {
    const disk = tinyDisk(t)
    if (disk === undefined) return
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const args = ['put', K, `--spool=${join(disk.path, 'spool')}`, '--json']
    const done = await run(dir, args, bytes(2 * PART), env)
    t.match(done, {
      status: 1,
      err: /ERR_SPOOL_FULL: .*oss:\/\/test-bucket\/k; nothing published\n/,
    })
    t.match(JSON.parse(done.out), { error: { code: 'ERR_SPOOL_FULL', resumable: false } })
    isClear(t, done)
    t.equal(await get(oss, 'k'), undefined)
  },
)

t.test('an id of another object, and one that a live process has', async t => {
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
