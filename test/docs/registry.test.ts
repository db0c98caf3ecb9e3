/**
 * Examples that need packages from the registry of npm, which are too large for development dependencies: the test
 * runners and web frameworks that pages name. Run with `LONG=1`; skipped where the registry does not answer.
 */
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ended, type Ended } from '../support/command-line.js'
import { install, pack } from '../support/installed.js'
import { long } from '../support/long.js'
import { readPage, ROOT } from './pages.js'

const dir = await realpath(await mkdtemp(join(tmpdir(), 'oss-spool-registry-')))
t.teardown(() => rm(dir, { recursive: true, force: true }))

let packed: string | undefined

/** Vitest 5 needs a later Node than this package. */
const VITEST = Number(process.versions.node.split('.')[0]) < 22 ? 'vitest@4' : 'vitest@5'

const BEFORE = `
import { request as send } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { Spool } from 'oss-spool'
import { startEmulator } from 'oss-spool/emulator'
const oss = await startEmulator({ buckets: ['exports'] })
const spool = new Spool({ client: oss.clientOptions('exports'), dir: 'spool' })
`

/** Sends whole bodies, one that OSS refuses, and one that is cut. Prints what became of them. */
const REQUESTS = `
await ('ready' in app ? app.listen({ port: 0 }) : new Promise(done => { app.server = app.listen(0, done) }))
const url = 'http://localhost:' + app.server.address().port + '/files'
const put = type => fetch(url, { method: 'PUT', body: '{}', headers: { 'content-type': type } })
const isPublished = ({ operation, status }) => operation === 'PutObject' && status === 200
const count = () => oss.requests.filter(isPublished).length
const statuses = []
for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=b']) {
  statuses.push((await put(type)).status)
}
const objects = count()
oss.inject({ operation: 'PutObject', do: 'answer', status: 403, code: 'AccessDenied' })
statuses.push((await put('text/plain')).status)
const sealed = (await spool.uploads()).length
const [{ id }] = await spool.uploads()
await spool.abort(id)
const cut = send(url, { method: 'PUT', headers: { 'content-length': 10 } }).on('error', () => {})
cut.write('12345')
while ((await spool.uploads()).length === 0) await setTimeout(10)
cut.destroy()
while ((await spool.uploads()).length > 0) await setTimeout(10)
console.log(JSON.stringify({ statuses, objects, sealed, afterCut: count() }))
process.exit()
`

await long(t, 'the example of Vitest passes', async t => {
  const cwd = await project(t, VITEST)
  if (cwd === undefined) return
  const [example = ''] = await examples('testing.md', 'Vitest')
  await writeFile(join(cwd, 'photos.test.mjs'), example)
  await succeeds(t, cwd, {}, 'node_modules/vitest/vitest.mjs', 'run')
})

await long(t, 'the examples of Jest pass, as ES modules and as CommonJS', async t => {
  const cwd = await project(t, 'jest@30')
  if (cwd === undefined) return
  const [vitest = ''] = await examples('testing.md', 'Vitest')
  const [config = '', commonjs = ''] = await examples('testing.md', 'Jest')
  const env = { NODE_OPTIONS: '--experimental-vm-modules' }
  await writeFile(join(cwd, 'photos.test.js'), commonjs)
  await succeeds(t, cwd, env, 'node_modules/jest/bin/jest.js')
  await writeFile(join(cwd, 'photos.test.mjs'), vitest.slice(vitest.indexOf('\n')))
  await writeFile(join(cwd, 'jest.config.mjs'), config)
  await succeeds(t, cwd, env, 'node_modules/jest/bin/jest.js')
})

for (const [framework, create] of [
  ['Express', "import create from 'express'\nconst app = create()"],
  ['Fastify', "import create from 'fastify'\nconst app = create()"],
] as const) {
  await long(t, `the handler of http-uploads.md works in ${framework}`, async t => {
    const cwd = await project(t, framework.toLowerCase())
    if (cwd === undefined) return
    const [route = ''] = await examples('http-uploads.md', framework)
    const { blocks } = await page('http-uploads.md')
    const handler = blocks[0]?.code ?? ''
    const program = [BEFORE, handler, 'server.close()', create, route, REQUESTS].join('\n')
    await writeFile(join(cwd, 'program.mjs'), program)
    const { out } = await succeeds(t, cwd, {}, 'program.mjs')
    t.same(JSON.parse(out), { statuses: [201, 201, 201, 202], objects: 3, sealed: 1, afterCut: 3 })
  })
}

async function page(name: string) {
  const path = `docs/${name}`
  return readPage(path, await readFile(join(ROOT, path), 'utf8'))
}

/** Returns the examples of a page that this file runs with a package, in order. */
async function examples(name: string, tool: string): Promise<string[]> {
  const { blocks } = await page(name)
  const notRun = `test/docs/registry.test.ts runs it with ${tool}`
  return blocks.filter(block => block.notRun === notRun).map(({ code }) => code)
}

/** Creates a project with this package and another one. Resolves to undefined if that cannot be installed. */
async function project(t: Test, name: string): Promise<string | undefined> {
  const cwd = join(dir, name)
  await mkdir(cwd)
  await writeFile(join(cwd, 'package.json'), '{ "private": true }')
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', name]
  const { status, err } = await execute(cwd, {}, 'npm', args)
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(err)) {
    t.pass(`${name} cannot be installed without a network`, { skip: true })
    return undefined
  }
  t.equal(status, 0, err)
  packed ??= pack(dir)
  install(cwd, packed, ['oss-spool'])
  return cwd
}

/** Runs a program of Node, which must exit with 0. */
async function succeeds(
  t: Test,
  cwd: string,
  env: Record<string, string>,
  ...args: string[]
): Promise<Ended> {
  const all = await execute(cwd, env, process.execPath, args)
  t.equal(all.status, 0, `${all.out}${all.err}`)
  return all
}

/** Runs a program without the loaders of this process. */
function execute(
  cwd: string,
  env: Record<string, string>,
  program: string,
  args: readonly string[],
): Promise<Ended> {
  return ended(spawn(program, args, { cwd, env: { ...process.env, NODE_OPTIONS: '', ...env } }))
}
