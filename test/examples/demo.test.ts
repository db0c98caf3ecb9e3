/**
 * The demo, run on a small file as users run it, from `dist/`. Its output is true, it detects a wrong object,
 * and it leaves neither files nor processes behind.
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
  /** Resolves when the demo has printed `text`. */
  waitFor(text: string): Promise<void>
  kill(signal: NodeJS.Signals): void
  /** Resolves with the exit status and the whole output. */
  readonly end: Promise<{ status: number | null; output: string }>
  /** Returns the files left in the temp directory, and the demo's processes that are still running. */
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
  const chunks = new EventTarget()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      chunks.dispatchEvent(new Event('text'))
    })
  }
  const end = once(child, 'close').then(() => ({ status: child.exitCode, output }))
  return {
    file,
    end,
    waitFor: async text => {
      while (!output.includes(text)) await Promise.race([once(chunks, 'text'), failAt(end)])
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
  throw new Error(`The demo exited too early: ${(await end).output}`)
}

const NOTHING = { files: [], processes: [] }

void long(
  t,
  'the demo kills and resumes an upload, compares the object, and leaves nothing behind',
  async t => {
    const run = demo(t)
    const { status, output } = await run.end
    t.equal(status, 0, output)
    const number = (label: string): number =>
      Number(new RegExp(`${label} +([\\d,]+)`).exec(output)?.[1]?.replaceAll(',', ''))
    t.equal(number('spooled'), SIZE)
    t.ok(number('kept by OSS') >= SIZE / 2, 'at least half was sent before the kill')
    t.ok(number('sent by resume') > 0, 'the rest was sent by resume')
    t.equal(number('kept by OSS') + number('sent by resume'), SIZE)
    t.match(output, /kill -9 \d+: .* and no object/)
    t.match(
      output,
      /\$ cat '.*my file\.bin' \| npx oss-spool put --local 'oss:\/\/demo\/my file\.bin'/,
    )
    t.equal(output.match(/downloaded: 600,000 bytes/g)?.length, 2)
    t.same(run.remains(), NOTHING)
  },
)

void long(t, 'the demo fails if the object differs from the file', async t => {
  const run = demo(t)
  await run.waitFor('kill -9')
  const file = await open(run.file, 'r+')
  await file.write(Buffer.from([0, 0, 0, 0, 0, 0, 0, 0]), 0, 8, 300_000)
  await file.close()
  const { status, output } = await run.end
  t.equal(status, 1)
  t.match(output, /The demo failed: the object differs from its source after byte \d+/)
  t.same(run.remains(), NOTHING)
})

void long(t, 'SIGINT ends the demo with status 130 and leaves nothing behind', async t => {
  const run = demo(t)
  await run.waitFor('sealed')
  run.kill('SIGINT')
  t.equal((await run.end).status, 130)
  t.same(run.remains(), NOTHING)
})

t.test('the demo exits with status 2 if the file does not exist', async t => {
  const run = demo(t, ['/does/not/exist'])
  const { status, output } = await run.end
  t.equal(status, 2)
  t.match(output, /Expected one regular file, got \/does\/not\/exist/)
  t.same(run.remains(), NOTHING)
})
