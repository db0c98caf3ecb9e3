/** The README's first example works by paste: it is cut out of the page and run as it stands. */
import { spawn } from 'node:child_process'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))

t.test('the first example prints the result of an upload that OSS holds', async t => {
  const readme = await readFile(`${root}/README.md`, 'utf8')
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const lines = example.split('\n').filter(line => line !== '')
  t.ok(lines.length <= 15, 'fifteen lines at most')
  const dir = t.testdir({ 'package.json': '{}' })
  const file = `${root}/.readme-example-${process.pid}.mjs` // here, so that 'oss-spool' is this package
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, example)
  const child = spawn(process.execPath, [file], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] })
  const [printed, status] = await Promise.all([
    text(child.stdout),
    new Promise(resolve => child.once('close', resolve)),
  ])
  t.equal(status, 0)
  t.match(printed, /key: 'package\.json\.gz',\n {2}size: \d+,\n {2}crc64: '\d+'/)
})
