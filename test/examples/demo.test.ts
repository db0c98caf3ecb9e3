/**
 * The demo as a person runs it, on a small file: its story is true, a wrong object is noticed, and
 * nothing of it is left however it ends. It runs from `dist/`, as `npm run demo` does.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { long } from '../support/long.js'
import t, { type Test } from 'tap'

const PROGRAM = join(process.cwd(), 'examples/demo/demo.mjs')
const SIZE = 600_000

interface Run {
  readonly file: string
  /** Resolves once the demo has printed `text`. */
  said(text: string): Promise<void>
  kill(signal: NodeJS.Signals): void
  /** Exit status and all that was printed. */
  readonly end: Promise<{ status: number | null; output: string }>
  /** What is left in the temp directory, and which of its processes still run. */
  remains(): { files: string[]; processes: number[] }
}

function demo(t: Test, args?: string[]): Run {
  const root = t.testdir({ 'my file.bin': randomBytes(SIZE), temp: {} })
  const file = join(root, 'my file.bin')
  const temp = join(root, 'temp')
  const child = spawn(process.execPath, [PROGRAM, ...(args ?? [file])], {
    env: { ...process.env, TMPDIR: temp, NODE_OPTIONS: '' },
  })
  let output = ''
  const heard = new EventTarget()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      heard.dispatchEvent(new Event('text'))
    })
  }
  const end = once(child, 'close').then(() => ({ status: child.exitCode, output }))
  return {
    file,
    end,
    said: async text => {
      while (!output.includes(text)) await Promise.race([once(heard, 'text'), failAt(end)])
    },
    kill: signal => void child.kill(signal),
    remains: () => ({
      files: readdirSync(temp).filter(name => name.startsWith('oss-spool-demo-')),
      processes: [...output.matchAll(/process (\d+)/g)]
        .map(match => Number(match[1]))
        .filter(pid => existsSync(`/proc/${pid}`)),
    }),
  }
}

async function failAt(end: Run['end']): Promise<never> {
  throw new Error(`The demo ended: ${(await end).output}`)
}

const NOTHING = { files: [], processes: [] }

void long(t, 'it kills, resumes, compares, shows the plain way, and leaves nothing', async t => {
  const run = demo(t)
  const { status, output } = await run.end
  t.equal(status, 0, output)
  const number = (label: string): number =>
    Number(new RegExp(`${label} +([\\d,]+)`).exec(output)?.[1]?.replaceAll(',', ''))
  t.equal(number('spooled'), SIZE)
  t.ok(number('kept by OSS') >= SIZE / 2, 'half was sent')
  t.ok(number('sent by resume') > 0, 'not all was sent')
  t.equal(number('kept by OSS') + number('sent by resume'), SIZE)
  t.match(output, /kill -9 \d+: .* and no object/)
  t.match(
    output,
    /\$ cat '.*my file\.bin' \| npx oss-spool put --local 'oss:\/\/demo\/my file\.bin'/,
  )
  t.equal(output.match(/downloaded: 600,000 bytes/g)?.length, 2)
  t.same(run.remains(), NOTHING)
})

void long(t, 'an object that is not what the file has fails it', async t => {
  const run = demo(t)
  await run.said('kill -9')
  const file = await open(run.file, 'r+')
  await file.write(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]), 0, 8, 300_000)
  await file.close()
  const { status, output } = await run.end
  t.equal(status, 1)
  t.match(output, /The demo failed: the object differs from its source after byte \d+/)
  t.same(run.remains(), NOTHING)
})

void long(t, 'Ctrl-C in the middle leaves nothing', async t => {
  const run = demo(t)
  await run.said('sealed')
  run.kill('SIGINT')
  t.equal((await run.end).status, 130)
  t.same(run.remains(), NOTHING)
})

t.test('a file that is not there is wrong usage', async t => {
  const run = demo(t, ['/does/not/exist'])
  const { status, output } = await run.end
  t.equal(status, 2)
  t.match(output, /Expected one regular file, got \/does\/not\/exist/)
  t.same(run.remains(), NOTHING)
})
