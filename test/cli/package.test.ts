/** What is shipped works by itself: packed, installed globally into an empty prefix, and used there. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { schema } from '../support/schema.js'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))

t.test('npm pack, npm install --global, oss-spool', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-pack-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  // Without scripts: the build is what the other tests use at the same time.
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', dir]
  const { stdout } = await execute('npm', pack, { cwd: root })
  const prefix = join(dir, 'prefix')
  const install = ['install', '--global', '--prefix', prefix, join(dir, stdout.trim())]
  try {
    await execute('npm', [...install, '--prefer-offline', '--no-audit', '--no-fund'], { cwd: dir })
  } catch (error) {
    if (!/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(String(error))) throw error
    t.pass('its dependencies cannot be fetched without a network', { skip: true })
    return
  }
  const home = join(dir, 'home')
  const installed = join(prefix, 'lib', 'node_modules', 'oss-spool')
  t.same((await readdir(join(installed, 'schema'))).length, 7)
  await writeFile(join(dir, 'file'), 'shipped')
  const env = { HOME: home, PATH: `${join(prefix, 'bin')}:${process.env['PATH']}` }
  const use = async (...args: string[]) => execute('oss-spool', args, { cwd: dir, env })
  const put = await use('put', '--local', '--json', 'oss://bucket/in/', 'fil*')
  const result = JSON.parse(put.stdout)
  t.ok(schema('result')(result))
  t.match(result, { key: 'in/file', size: 7 })
  const ran = await use('run', '--local', '--json', 'oss://bucket/r', '--', 'echo', 'shipped')
  t.match(JSON.parse(ran.stdout), { size: 8 })
  const checked = await use('doctor', '--local', '--json', 'oss://bucket')
  t.match(JSON.parse(checked.stdout), { ok: true })
  t.equal((await use('ls')).stdout, '')
})
