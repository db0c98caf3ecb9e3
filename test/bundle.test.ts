/** A program bundled by esbuild, beside docs/bundling.md, whose commands `test/docs.test.ts` runs. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import t from 'tap'
import { bare, ended } from './support/command-line.js'
import { install } from './support/installed.js'
import { pathOf } from './support/project.js'

const PROGRAM = `
import { Readable } from 'node:stream'
import { Spool } from 'oss-spool'
import { startEmulator } from 'oss-spool/emulator'
const oss = await startEmulator({ buckets: ['exports'] })
const spool = new Spool({ client: oss.clientOptions('exports'), dir: './spool' })
const { size } = await spool.upload('k', () => Readable.from([Buffer.from('bundled')]))
console.log('size', size)
await oss.close()
`

t.test('a bundle uploads with DEBUG set, without logging signed headers', async t => {
  // Outside the checkout, where only the one package that must be external is installed.
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-bundle-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const outfile = join(dir, 'bundle.mjs')
  await build({
    stdin: { contents: PROGRAM, resolveDir: pathOf('.') },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile,
    external: ['fs-native-extensions', 'proxy-agent'],
    banner: {
      js: "import { createRequire as newRequire } from 'node:module'; const require = newRequire(import.meta.url)",
    },
    logLevel: 'silent',
  })
  install(dir, '', ['fs-native-extensions'])
  const args = ['-u', 'NODE_OPTIONS', process.execPath, outfile]
  const env = bare(dir, { DEBUG: '*' })
  const { status, out, err } = await ended(spawn('env', args, { cwd: dir, env }))
  t.equal(status, 0, err)
  t.match(out, 'size 7')
  t.notMatch(err, /ali-oss|Signature=/)
})
