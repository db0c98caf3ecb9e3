/** Arguments that would be misread are explained before any work; the corrected command runs as printed. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Ended } from '../support/command-line.js'
import { run, runLine } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'

const K = `oss://${BUCKET}/k`

/** Returns the command that the hint proposes. */
function proposed({ err }: Ended): string {
  return /^Nothing was read or published\. Run "(.*)"\.$/m.exec(err)?.[1] ?? ''
}

/** Runs a command line that is wrong, and the corrected one. */
async function correct(t: Test, dir: string, args: readonly string[]): Promise<Ended> {
  const wrong = await run(dir, args)
  t.match(wrong, { status: 2, err: /ERR_USAGE/ }, args.join(' '))
  t.notOk(existsSync(join(dir, 'spool')), 'no spool directory was created')
  const corrected = await runLine(dir, proposed(wrong))
  t.equal(corrected.status, 0, `${proposed(wrong)}: ${corrected.err}`)
  return corrected
}

/** Reads the object from the directory of the embedded OSS. */
async function contentOf(dir: string, objects = 'oss-data'): Promise<string> {
  const object = join(dir, objects, 'buckets', BUCKET, 'objects', 'k.object')
  const body = (await readdir(object)).find(name => name.startsWith('body-')) ?? ''
  return readFile(join(object, body), 'utf8')
}

t.test('run: a forgotten "--" is inserted before the command', async t => {
  for (const [args, content] of [
    [['run', K, '--local', 'printf', '%s-', "it's", 'b'], "it's-b-"],
    [['run', '--id', 'x', K, '--part-size', '1MiB', '--local', 'echo', '-n', '--json'], '--json'],
    [['run', '--local', K, 'echo', '--', 'x'], '-- x\n'],
  ] as const) {
    const dir = t.testdir({})
    await correct(t, dir, args)
    t.equal(await contentOf(dir), content)
  }
})

t.test('run: a pipeline as one argument is passed to --shell', async t => {
  for (const separator of [['--'], []]) {
    const dir = t.testdir({})
    await correct(t, dir, ['run', K, '--local', ...separator, "echo it\\'s | tr a-z A-Z"])
    t.equal(await contentOf(dir), "IT'S\n")
  }
})

t.test('run: one argument that is a program with spaces in its name is executed', async t => {
  const dir = t.testdir({})
  writeFileSync(join(dir, 'my dump|er'), '#!/bin/sh\necho dumped\n', { mode: 0o755 })
  const done = await run(dir, ['run', K, '--local', '--', './my dump|er'])
  t.equal(done.status, 0, done.err)
  t.equal(await contentOf(dir), 'dumped\n')
})

t.test('run: a command that is not found and no line of commands exits with 127', async t => {
  const dir = t.testdir({})
  for (const command of ['no-such-command', 'no-such-command x']) {
    t.equal((await run(dir, ['run', K, '--local', '--', command])).status, 127)
  }
})

t.test('a command that may contain a password is not printed', async t => {
  const dir = t.testdir({})
  for (const command of [
    ['mysqldump', '-ps3cret', 'db'],
    ['dump', '--password', 's3cret'],
    ['dump', '-k', 's3cret'],
    ['dump', 'postgres://me:s3cret@host/db'],
    ['mysqldump -ps3cret db | gzip'],
  ]) {
    const { status, err } = await run(dir, ['run', K, '--local', ...command])
    t.equal(status, 2)
    t.match(err, /\.\.\./)
    t.notMatch(err, /s3cret/)
  }
})

t.test('a directory after --local is attached to it', async t => {
  for (const [args, content] of [
    [['put', '--local', 'data', K, 'file'], 'from a file'],
    [['put', K, '--local', 'data', 'file'], 'from a file'],
    [['put', '--local', 'new', K, 'file'], 'from a file'],
    [['run', '--local', 'data', K, '--', 'echo', 'x'], 'x\n'],
    [['run', K, '--local', 'data', '--', 'echo', 'x'], 'x\n'],
    [['run', K, '--local', 'data', 'echo', 'x'], 'x\n'],
  ] as const) {
    const dir = t.testdir({ file: 'from a file' })
    mkdirSync(join(dir, 'data'), { mode: 0o700 })
    await correct(t, dir, args)
    t.equal(await contentOf(dir, args.find(arg => arg === 'new') ?? 'data'), content)
  }
  const dir = t.testdir({ data: {} })
  for (const args of [
    ['ls', '--local', 'data'],
    ['prune', '--local', 'new', '--yes'],
    ['resume', '--local', 'data', '--all'],
    ['abort', '--local', './new', '--all', '--yes'],
  ]) {
    await correct(t, dir, args)
  }
})

t.test('an argument after --local that is an operand is read as one', async t => {
  const dir = t.testdir({ file: 'from a file', sub: { a: 'A' } })
  t.equal((await run(dir, ['put', K, '--local', 'file'])).status, 0)
  t.equal((await run(dir, ['put', '--local', `oss://${BUCKET}/in/`, 'sub/*'])).status, 0)
  t.equal((await run(dir, ['put', `oss://${BUCKET}/in/`, '--local', 'sub/*'])).status, 0)
  const spool = join(dir, 'spool')
  mkdirSync(join(spool, 'demo'), { recursive: true, mode: 0o700 })
  writeFileSync(join(spool, 'demo', 'checkpoint.json'), '')
  const { status, err } = await run(spool, ['resume', '--local', 'demo'])
  t.equal(status, 1, 'an id is not taken for a directory, in the spool directory')
  t.match(err, /ERR_SPOOL/)
})
