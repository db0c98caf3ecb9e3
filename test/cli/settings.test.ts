/** The table of settings, against the options of every command. */
import { Command } from 'commander'
import { readdirSync } from 'node:fs'
import t from 'tap'
import { Session } from '../../src/cli/session.js'
import { settingsOf } from '../../src/cli/shared-options.js'
import { server, start, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'
import { urlOf } from '../support/project.js'

const K = `oss://${BUCKET}/k`

/** Flags that cannot be configured: they concern one upload, destroy data, or name the emulator's own places. */
const FLAGS_ONLY = [
  'put --id',
  'run --id',
  'run --shell',
  'ls --all',
  'resume --all',
  'resume --force',
  'resume --to',
  'abort --all',
  'abort --yes',
  'prune --yes',
  'add --source',
  'add --args',
  'add --id',
  'add --priority',
  'add --delay',
  'add --attempts',
  'ls --state',
  'ls --limit',
  'retry --failed',
  'doctor --live-check',
  'doctor --yes',
  'emulator --dir',
  'emulator --host',
]

t.test('every option of every command is a setting, except a few', async t => {
  const program = new Command()
  const session = new Session(process)
  t.teardown(() => session.close())
  for (const file of readdirSync(urlOf('src/cli/commands'))) {
    const name = file.replace('.ts', '')
    const module = await import(`../../src/cli/commands/${name}.js`)
    const define = module[`define${name.slice(0, 1).toUpperCase()}${name.slice(1)}`]
    define(program, session)
  }
  const commands = program.commands.flatMap(each => [each, ...each.commands])
  const others = commands.flatMap(command => {
    const flags = new Set(settingsOf(command).map(({ flags = '' }) => flags))
    return command.options
      .filter(option => !flags.has(option.flags))
      .map(({ long }) => `${command.name()} ${long}`)
  })
  t.same(others.toSorted(), FLAGS_ONLY.toSorted())
  const help = await run(t.testdir({}), ['--help'])
  for (const flag of new Set(FLAGS_ONLY.map(each => each.split(' ')[1]))) t.match(help.out, flag)
})

t.test('a variable of --no-remote and of --port has the effect of the flag', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  t.match(await run(dir, ['put', K, '--id=k'], Buffer.from('x'), env), { status: 75 })
  const sent = oss.requests.length
  const aborted = await run(dir, ['abort', 'k', '--json'], undefined, {
    ...env,
    OSS_SPOOL_NO_REMOTE: '1',
  })
  t.match(aborted, { status: 0, out: '{"id":"k","aborted":true,"remote":false}\n' })
  t.equal(oss.requests.length, sent)
  t.match(await run(dir, ['emulator'], undefined, { OSS_SPOOL_PORT: 'x' }), { status: 2 })
  const emulator = start(dir, ['emulator'], undefined, {
    OSS_SPOOL_PORT: '0',
    OSS_SPOOL_HOST: 'worker-1',
  })
  let out = ''
  emulator.child.stdout?.on('data', (chunk: Buffer) => (out += String(chunk)))
  await until(() => out.includes('http://127.0.0.1:'))
  emulator.child.kill('SIGTERM')
  t.match(await emulator.done, { status: 143 })
})

t.test('an endpoint or a region as a flag takes precedence over OSS_SPOOL_LOCAL', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const local = { ...env, OSS_SPOOL_LOCAL: 'objects' }
  const flag = `--endpoint=${env['OSS_ENDPOINT']}`
  t.match(await run(dir, ['put', K, flag], Buffer.from('x'), local), { status: 0 })
  t.ok(oss.requests.length > 0)
  t.notOk(readdirSync(dir).includes('objects'))
  t.match(await run(dir, ['put', K, flag, '--local=objects'], Buffer.from('x'), env), { status: 0 })
  t.match(await run(dir, ['put', K], Buffer.from('x'), local), { status: 0 })
  t.ok(readdirSync(dir).includes('objects'), 'other variables do not')
})

t.test('a configured option does not fail the calls that it does not concern', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const configured = {
    ...env,
    OSS_SPOOL_IF_CHANGED: '1',
    OSS_SPOOL_IN_PLACE: '1',
    OSS_SPOOL_STALE_AFTER: '1d',
  }
  t.match(await run(dir, ['put', K], Buffer.from('x'), configured), { status: 0, err: '' })
  t.match(await run(dir, ['put', K, '--in-place'], Buffer.from('x'), env), { status: 2 })
  t.match(await run(dir, ['resume', 'none'], undefined, configured), {
    status: 1,
    err: /NOT_FOUND/,
  })
  t.match(await run(dir, ['resume', 'none', '--stale-after=1d'], undefined, env), { status: 2 })
})

t.test('a setting of other commands does not change a command', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const ofOthers = {
    ...env,
    OSS_SPOOL_ONCE: '1',
    OSS_SPOOL_NO_OVERWRITE: '1',
    OSS_SPOOL_SIZE: '1',
    OSS_SPOOL_EXPECT_BYTES: '1',
    OSS_SPOOL_PARALLEL_UPLOADS: '0',
  }
  const template = `oss://${BUCKET}/{job}-{seq}`
  const split = await run(
    dir,
    ['split', template, '--every=1lines'],
    Buffer.from('a\nb\n'),
    ofOthers,
  )
  t.match(split, { status: 0, err: '' })
  t.equal((await run(dir, ['ls', '--all'], undefined, env)).out, '', 'no receipt is left')
  const wrong = { ...env, OSS_SPOOL_PARALLEL_UPLOADS: '0' }
  t.match(await run(dir, ['run', K, '--', 'echo', 'x'], undefined, wrong), { status: 0 })
  t.match(await run(dir, ['put', K], Buffer.from('x'), wrong), { status: 2 })
})

t.test('config show rejects a wrong variable of any command', async t => {
  const dir = t.testdir({})
  const wrong = await run(dir, ['config', 'show'], undefined, { OSS_SPOOL_PART_SIZE: 'huge' })
  t.match(wrong, { status: 2, out: '', err: /OSS_SPOOL_PART_SIZE/ })
  t.match(await run(dir, ['ls'], undefined, { OSS_SPOOL_PART_SIZE: 'huge' }), { status: 0 })
})
