/**
 * Names that others choose must not control a terminal. Every command runs with hostile names in its arguments, in its
 * spool directory and in the replies of a server, on pipes and on a pseudo-terminal.
 */
import * as fs from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { formatProgressBar } from '../../src/cli/progress-bar.js'
import { formatLogText } from '../../src/cli/log-format.js'
import { formatTable } from '../../src/cli/table.js'
import { escapeControlChars, stripControlChars, toJsonLine } from '../../src/util/control-chars.js'
import { server, terminal, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { hostileServer, reply } from './hostile-server.js'

const ALL_CONTROLS = [
  ...Array.from({ length: 0xa0 }, (_, code) => code).filter(code => code < 0x20 || code >= 0x7f),
  0x61c,
  0x200e,
  0x200f,
  0x2028,
  0x2029,
  0x202a,
  0x202b,
  0x202c,
  0x202d,
  0x202e,
  0x2066,
  0x2067,
  0x2068,
  0x2069,
].map(code => String.fromCharCode(code))

/** Clears the screen, sets a title, hides text and reverses a line. Valid in file names and in keys. */
const HOSTILE = 'a\u001B[2Jb\u001B]0;t\u0007c\u009B31md\u007Fe\u202Efdp\u2066f\u200Fg\u061Ch'

// oxlint-disable-next-line no-control-regex -- matches control characters on purpose
const RAW = /[\u0000-\u0009\u000B-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/
/** The escapes of the progress line and of confirmation prompts, and the terminal's own line ends. */
const OWN_ESCAPES =
  // oxlint-disable-next-line no-control-regex -- matches control characters on purpose
  /\r|\u001B\[(?:\d*K|\d*J|\d*G|3[23]m|39m)/g

function rawIn(text: string): string | undefined {
  const at = RAW.exec(text)?.index
  return at === undefined ? undefined : toJsonLine(text.slice(Math.max(0, at - 40), at + 40))
}

t.test('text for people and for programs contains no control character', async t => {
  for (const control of ALL_CONTROLS) {
    const text = `a${control}b`
    const name = `U+${control.charCodeAt(0).toString(16)}`
    t.equal(rawIn(escapeControlChars(text)), undefined, name)
    t.notMatch(escapeControlChars(text), '\n', name)
    t.equal(stripControlChars(text), 'a b', name)
    const json = toJsonLine({ [text]: text })
    t.equal(rawIn(json), undefined, name)
    // The report of a failure, and of a pass, would contain the characters.
    t.ok(
      Object.entries(JSON.parse(json))
        .flat()
        .every(each => each === text),
      `${name} in JSON`,
    )
  }
  t.ok(
    escapeControlChars(escapeControlChars(HOSTILE)) === escapeControlChars(HOSTILE),
    'once is enough',
  )
  const total = { spooled: 1, sent: 1, rate: 0, retries: 0, stage: 'sending' as const }
  const style = { hasColors: false, hasUnicode: false }
  const texts = [
    ...formatTable([{ name: 'A' }], [[HOSTILE]]),
    ...formatTable([{ name: 'A', minWidth: 8 }], [[HOSTILE]], 20),
    formatProgressBar(HOSTILE, total, 120, style),
    formatLogText(HOSTILE, { level: 'error', code: HOSTILE, hint: HOSTILE, stack: HOSTILE }),
  ]
  for (const text of texts) t.equal(rawIn(text), undefined)
})

t.test('no command prints a control character of a name', async t => {
  const cwd = t.testdir({})
  const { env } = await server(t, cwd)
  const hostile = await hostileServer(t)
  hostile.respond = () =>
    reply(
      403,
      `<Error><Code>AccessDenied</Code><Message>${HOSTILE.replaceAll('\u001B', '&#x9b;')}</Message></Error>`,
      {
        'Content-Type': 'application/xml',
      },
    )
  const refused: Env = { ...env, OSS_ENDPOINT: hostile.endpoint }
  fs.writeFileSync(join(cwd, HOSTILE), bytes(1000))
  fs.mkdirSync(join(cwd, 'folder'))
  fs.writeFileSync(join(cwd, 'folder', HOSTILE), bytes(10))
  fs.mkdirSync(join(cwd, 'spool', 'quarantine', `${HOSTILE}-2026-01-01T00-00-00.000Z`), {
    recursive: true,
    mode: 0o700,
  })
  fs.chmodSync(join(cwd, 'spool'), 0o700)
  fs.writeFileSync(join(cwd, 'config.json'), JSON.stringify({ [HOSTILE]: 1 }))
  fs.writeFileSync(join(cwd, 'choice.json'), JSON.stringify({ storageClass: HOSTILE }))
  const object = `oss://${BUCKET}/${HOSTILE}`
  const commands: readonly (readonly [args: readonly string[], env?: Env])[] = [
    [['put', object, HOSTILE, '--debug']],
    [['put', object, HOSTILE, '--json', '--progress=json']],
    [['put', object, HOSTILE, '--log-format=json', '--progress=json']],
    [['put', `oss://${BUCKET}/folder/`, `folder/${HOSTILE}`, '--dry-run']],
    [['put', object, `missing${HOSTILE}`]],
    [['put', object, HOSTILE, '--id=left', '--retries=1', '--debug'], refused],
    [['put', object, HOSTILE, '--id=left2', '--retries=1', '--json', '--debug'], refused],
    [['put', `oss://${HOSTILE}/key`, HOSTILE]],
    [['put', object, HOSTILE, `--size=${HOSTILE}`]],
    [['put', object, HOSTILE, `--${HOSTILE}`]],
    [['put', object, HOSTILE, `--meta=${HOSTILE}`]],
    [['put', object, HOSTILE, '--config=config.json']],
    [['put', object, HOSTILE, '--config=choice.json']],
    [['put', object, HOSTILE, `--spool=${HOSTILE}/${HOSTILE}`]],
    [['put', object, HOSTILE, `--metrics=${HOSTILE}`]],
    [['put', object, HOSTILE, `--ping=http://${HOSTILE}/`]],
    [['run', object, '--', `missing${HOSTILE}`]],
    [['run', object, '--', 'sh', '-c', 'exit 3', HOSTILE]],
    [['ls', '--all']],
    [['ls', '--all', '--json']],
    [['show', 'left']],
    [['show', 'left', '--json']],
    [['show', object]],
    [['show', HOSTILE]],
    [['resume', HOSTILE]],
    [['resume', 'left', '--retries=1', '--debug'], refused],
    [['resume', '--all', '--retries=1', '--json'], refused],
    [['prune', '--older-than=0s', '--dry-run']],
    [['doctor', object], refused],
    [['doctor', object, '--json'], refused],
    [['config', 'show'], { ...env, OSS_SPOOL_QUEUE: HOSTILE }],
    [['config', 'show', '--json'], { ...env, OSS_SPOOL_QUEUE: HOSTILE }],
    [['completion', HOSTILE]],
    [['emulator', `--host=${HOSTILE}`]],
    [['worker', `--sources=${HOSTILE}`, '--redis=redis://127.0.0.1:1', `--bucket=${BUCKET}`]],
    [[HOSTILE]],
    [['abort', HOSTILE, '--no-remote']],
    [['abort', 'left2', '--no-remote', '--yes']],
  ]
  for (const [args, own = env] of commands) {
    const { out, err } = await run(cwd, args, undefined, own)
    const name = toJsonLine(args)
    t.equal(rawIn(out), undefined, `standard output of ${name}`)
    t.equal(rawIn(err), undefined, `standard error of ${name}`)
  }
  const quoted = (args: readonly string[]): string =>
    args.map(arg => `"$(printf '%b' '${octal(arg)}')"`).join(' ')
  const onTerminal: readonly (readonly [args: readonly string[], env: Env])[] = [
    [['put', `${object}2`, HOSTILE], env],
    [['put', object, HOSTILE, '--id=left3', '--retries=1', '--debug'], refused],
    [['ls', '--all'], env],
    [['show', 'left3'], env],
    [['resume', 'left3', '--retries=1'], refused],
    [['abort', 'left3', '--no-remote'], env],
    [['prune', '--older-than=0s', '--sealed', '--dry-run'], env],
    [['doctor', object], refused],
  ]
  for (const [args, own] of onTerminal) {
    const ran = terminal(cwd, `oss-spool ${quoted(args)}`, 100, own)
    ran.child.stdin?.end('n\n')
    const { out } = await ran.done
    t.not(out, '', 'the terminal shows something')
    t.equal(rawIn(out.replaceAll(OWN_ESCAPES, '')), undefined, toJsonLine(args))
  }
})

/** Encodes text for `printf '%b'`, so that the line of the shell itself contains no control character. */
function octal(text: string): string {
  return [...Buffer.from(text)].map(byte => `\\0${byte.toString(8).padStart(3, '0')}`).join('')
}
