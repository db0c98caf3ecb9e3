/** Help, completion scripts, and the modules loaded at start-up. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import t from 'tap'
import { server, shell, terminal, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'

const COMMANDS =
  'put run ls show resume abort prune worker jobs doctor config completion emulator'.split(' ')

t.test('every command prints help with two examples to standard output', async t => {
  const dir = t.testdir({})
  for (const name of COMMANDS) {
    const { out: page, err, status } = await run(dir, [name, '--help'])
    t.match({ status, err }, { status: 0, err: '' }, name)
    const examples = page.split('\nExamples:\n')[1] ?? ''
    t.ok(examples.trim().split('\n').length >= 2, name)
    t.match(examples, `oss-spool ${name}`)
    t.match(page, /^Usage: oss-spool /)
  }
  const { err, status } = await run(dir, [])
  t.equal(status, 2, 'a missing command is wrong usage')
  for (const name of COMMANDS) t.match(err, `\n  ${name}`)
})

t.test('help fits a terminal of 80 columns', async t => {
  const { href } = new URL('../../src/cli/main.js', import.meta.url)
  const calls = [[], ...COMMANDS.map(name => [name])].map(args => [...args, '--help'])
  // One process prints them all.
  const dir = t.testdir({
    'help.mjs': `import { main } from '${href}'
      for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(0)
      for (const args of ${JSON.stringify(calls)}) process.exitCode ||= await main(args, process)`,
  })
  const { out, status } = await terminal(dir, 'node help.mjs', 80).done
  t.equal(status, 0)
  t.equal(out.match(/^Usage: oss-spool /gm)?.length, calls.length)
  const tooLong = out.split(/\r?\n/).filter(each => each.length > 80)
  // Examples are lines to copy, and stay whole.
  t.same(
    tooLong.filter(each => !/^ {2}(REDIS_URL=\S+ )?oss-spool /.test(each)),
    [],
  )
})

t.test('help puts descriptions below the options on a terminal of 40 columns', async t => {
  const { href } = new URL('../../src/cli/main.js', import.meta.url)
  const dir = t.testdir({
    'help.mjs': `import { main } from '${href}'
      process.exitCode = await main(['put', '--help'], process)`,
  })
  const { out } = await terminal(dir, 'node help.mjs', 40).done
  t.match(out.replaceAll('\r', ''), /\n {2}--part-size <SIZE>\n {6}size of the first parts/)
  const [lists = ''] = out.split('Examples:') // those are lines to copy, and stay whole
  const tooLong = lists.split(/\r?\n/).filter(each => each.length > 40)
  t.match(tooLong, [/^Usage: /])
  t.equal(tooLong.length, 1)
})

t.test('bash completes commands, options, words, ids and files', async t => {
  const dir = t.testdir({ 'some-file': '' })
  const { env } = await server(t, dir)
  await run(dir, ['run', `oss://${BUCKET}/k`, '--id=my-upload', '--', 'false'], undefined, env)
  const lines = [
    'oss-spool pr',
    'oss-spool put --pa',
    'oss-spool put --progress ',
    'oss-spool resume my',
    'oss-spool completion ',
    'oss-spool config ',
    'oss-spool put oss://b/k some',
    'oss-spool ls --spool some',
  ]
  const prints = lines.map(
    line =>
      `COMP_WORDS=(${line.replace(/ $/, ` ''`)}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _oss_spool; echo "\${COMPREPLY[*]}"`,
  )
  const script = `eval "$(oss-spool completion bash)"; complete -p oss-spool\n${prints.join('\n')}`
  const { out, err } = await shell(dir, script).done
  t.equal(err, '')
  t.same(out.trim().split('\n'), [
    'complete -o filenames -F _oss_spool oss-spool',
    'prune',
    '--path-style --parallel --part-size --parallel-uploads',
    'auto json',
    'my-upload',
    'bash zsh fish',
    'show',
    'some-file',
    'some-file',
  ])
})

t.test('zsh and fish accept their completion scripts', async t => {
  const dir = t.testdir({})
  for (const shellName of ['zsh', 'fish']) {
    const { out } = await run(dir, ['completion', shellName])
    for (const name of COMMANDS) t.match(out, name)
    const file = join(dir, `completion.${shellName}`)
    await writeFile(file, out)
    const checked = spawnSync(shellName, ['-n', file], { encoding: 'utf8' })
    if (checked.error === undefined) t.match(checked, { status: 0, stderr: '' })
    else t.pass(`${shellName} is not installed: apt-get install ${shellName}`, { skip: true })
  }
})

/** Lines to complete, and what bash, zsh and fish are expected to offer. */
const SHARED_LINES = [
  ['oss-spool run oss://b/k -- unique-d', 'unique-dump'],
  ['oss-spool run oss://b/k -- unique-dump some', 'some-file'],
  ['oss-spool run oss://b/k --storage-class De', 'DeepColdArchive'],
  ['oss-spool put oss://b/k --acl pri', 'private'],
  ['oss-spool put oss://b/k some', 'some-file'],
] as const

/** Adds an executable `unique-dump` to the commands of `shell()` and `terminal()`, and a file. */
function withProgram(dir: string): string {
  mkdirSync(join(dir, '.bin'))
  writeFileSync(join(dir, '.bin', 'unique-dump'), '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(join(dir, 'some-file'), '')
  return dir
}

t.test('bash completes the command of run, and the values of options', async t => {
  const dir = withProgram(t.testdir({}))
  const prints = SHARED_LINES.map(
    ([line]) =>
      `COMP_WORDS=(${line}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _oss_spool; echo "\${COMPREPLY[*]}"`,
  )
  const delegated = `_command_offset() { COMPREPLY=("delegated from \${COMP_WORDS[$1]}"); }`
  const script = `eval "$(oss-spool completion bash)"\n${prints.join('\n')}\n${delegated}\n${prints[1]}`
  const { out, err } = await shell(dir, script).done
  t.equal(err, '')
  t.same(out.trim().split('\n'), [
    ...SHARED_LINES.map(([, expected]) => expected),
    'delegated from unique-dump',
  ])
})

t.test('fish completes the command of run, and the values of options', async t => {
  if (spawnSync('fish', ['--version']).error !== undefined) {
    t.pass('fish is not installed: apt-get install fish', { skip: true })
    return
  }
  const dir = withProgram(t.testdir({}))
  const completes = SHARED_LINES.map(([line]) => `complete -C '${line}'`).join('; ')
  const { out, err } = await shell(
    dir,
    `oss-spool completion fish > c.fish; fish -c "source c.fish; ${completes}"`,
  ).done
  t.equal(err, '')
  const words = out.trim().split('\n')
  t.same(
    words.map(each => each.split('\t')[0]),
    SHARED_LINES.map(([, expected]) => expected),
  )
})

t.test('zsh completes the command of run, and the values of options', async t => {
  if (spawnSync('zsh', ['--version']).error !== undefined) {
    t.pass('zsh is not installed: apt-get install zsh', { skip: true })
    return
  }
  const dir = withProgram(t.testdir({}))
  await shell(dir, 'oss-spool completion zsh > completion.zsh').done
  // Ctrl-X prints the completed line instead of running it.
  await writeFile(
    join(dir, '.zshrc'),
    `autoload -Uz compinit; compinit -u -D; source ./completion.zsh
     print-line() { print -r -- "$BUFFER" >> completed; BUFFER= }
     zle -N print-line; bindkey '^X' print-line; : > completed`,
  )
  const { child, done } = terminal(dir, 'exec zsh -i', 200, { TERM: 'dumb', ZDOTDIR: dir })
  const completed = async (): Promise<string[]> => {
    const text = await readFile(join(dir, 'completed'), 'utf8').catch(() => undefined)
    return text === undefined ? [''] : text.split('\n').filter(line => line !== '')
  }
  await until(async () => (await completed()).length === 0)
  for (const [i, [line]] of SHARED_LINES.entries()) {
    child.stdin?.write(`${line}\t\u0018`)
    await until(async () => (await completed()).length > i)
  }
  child.stdin?.write('exit\r')
  await done
  t.same(
    (await completed()).map(line => line.trim()),
    SHARED_LINES.map(([line, expected]) => line.replace(/\S+$/, expected)),
  )
})

t.test('ls and --version load only the modules they need', async t => {
  const dir = t.testdir({})
  const hook = join(dir, 'hook.mjs')
  await writeFile(
    hook,
    `export async function load(url, context, next) {
       console.error('loads ' + url)
       return next(url, context)
     }`,
  )
  const register = `data:text/javascript,import { register } from 'node:module'; register('file://${hook}')`
  for (const [args, most] of [
    [['--version'], 16],
    [['ls'], 48],
  ] as const) {
    const line = `node --import="${register}" .bin/oss-spool ${args.join(' ')}`
    const { err, status } = await shell(dir, line).done
    t.equal(status, 0, err)
    const loaded = err.split('\n').filter(line => line.startsWith('loads file:'))
    t.ok(loaded.length > 3 && loaded.length <= most, `${args[0]}: ${loaded.join('\n')}`)
    for (const name of ['ali-oss', 'emulator', 'tinyglobby', 'hash-wasm', '/spool.js']) {
      t.notMatch(err, name)
    }
  }
})
