/**
 * Another user of the machine during `--local`. They can connect to the port of the embedded OSS, but neither its
 * key nor its files give them an object.
 */
import { execFile, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { DEFAULT_KEY, startEmulator } from '../../src/emulator/index.js'
import { signed } from '../emulator/clients.js'

const OTHER_UID = 12_345
const asRoot = process.getuid?.() !== 0 && 'only root can run a process as another user'
const CLI = resolve('dist/cli/bin.js')

/** Sends requests as the other user, who reads `[method, url, headers, body][]`; prints the statuses. */
const ATTACK = `
  const statuses = []
  for (const [method, url, headers, body] of JSON.parse(process.argv[1])) {
    const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) })
    statuses.push(response.status)
  }
  console.log(JSON.stringify(statuses))`

type AttackRequest = readonly [string, string, Readonly<Record<string, string>>, string?]

async function attack(requests: readonly AttackRequest[]): Promise<number[]> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', ATTACK, JSON.stringify(requests)],
    { uid: OTHER_UID, gid: OTHER_UID, cwd: '/', env: {} },
  )
  return JSON.parse(stdout) as number[] // printed by the program above
}

/** Returns a directory that other users can enter, like a home directory with mode 0755. */
function openDirectory(t: Test): string {
  const dir = fs.mkdtempSync(join(tmpdir(), 'oss-spool-users-'))
  fs.chmodSync(dir, 0o755)
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }))
  return dir
}

const reading = (port: number): AttackRequest => [
  'GET',
  `http://127.0.0.1:${port}/demo/first`,
  signed({ credentials: DEFAULT_KEY }, { method: 'GET', resource: '/demo/first' }),
]

const replacing = (port: number): AttackRequest => [
  'PUT',
  `http://127.0.0.1:${port}/demo/first`,
  signed(
    { credentials: DEFAULT_KEY },
    { method: 'PUT', resource: '/demo/first', headers: { 'content-type': 'text/plain' } },
  ),
  'replaced',
]

/** Returns the TCP ports on which process `pid` listens on IPv4. */
function listeningPorts(pid: number): number[] {
  const inodes = new Set(
    fs.readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
      try {
        return /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? []
      } catch {
        return [] // closed in the meantime
      }
    }),
  )
  return fs
    .readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .slice(1)
    .map(line => line.trim().split(/\s+/))
    .filter(fields => fields[3] === '0A' && inodes.has(fields[9] ?? ''))
    .map(fields => Number.parseInt(fields[1]?.split(':')[1] ?? '', 16))
}

t.test(
  'another user can neither read nor replace an object during put --local',
  { skip: asRoot || (process.platform !== 'linux' && 'reads /proc') },
  async t => {
    const cwd = openDirectory(t)
    const env = { ...process.env, OSS_SPOOL_DIR: join(cwd, 'spool') }
    fs.writeFileSync(join(cwd, 'first.txt'), 'original')
    const run = promisify(execFile)
    await run(process.execPath, [CLI, 'put', '--local', 'oss://demo/first', 'first.txt'], {
      cwd,
      env,
    })
    t.equal(fs.statSync(join(cwd, 'oss-data')).mode & 0o777, 0o700, 'mode of ./oss-data')

    const child = spawn(process.execPath, [CLI, 'put', '--local', 'oss://demo/second', '-'], {
      cwd,
      env,
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    const exited = new Promise(done => child.once('exit', done))
    child.stdin.write('begin')
    let port: number | undefined
    for (let i = 0; i < 600 && port === undefined; i++) {
      await new Promise(done => setTimeout(done, 50))
      port = listeningPorts(child.pid ?? 0)[0]
    }
    t.ok(port, 'the embedded OSS listens')
    t.same(await attack([reading(port ?? 0), replacing(port ?? 0)]), [403, 403])
    child.stdin.end('end')
    t.equal(await exited, 0)
    await t.rejects(
      run('cat', [join(cwd, 'oss-data', 'buckets')], { uid: OTHER_UID, gid: OTHER_UID, cwd: '/' }),
      /Permission denied/,
    )
  },
)

t.test('the attack succeeds against the public key', { skip: asRoot }, async t => {
  const dir = join(openDirectory(t), 'data')
  const oss = await startEmulator({ dir, createBuckets: true })
  t.teardown(() => oss.close())
  t.same(await attack([replacing(oss.port), reading(oss.port)]), [200, 200])
  t.equal(fs.statSync(dir).mode & 0o777, 0o700, 'mode of the data directory')
})

t.test('a random key is new in every emulator', async t => {
  const [one, other] = await Promise.all([
    startEmulator({ credentials: 'random' }),
    startEmulator({ credentials: 'random' }),
  ])
  t.teardown(() => Promise.all([one.close(), other.close()]))
  t.not(one.credentials.accessKeySecret, other.credentials.accessKeySecret)
  t.not(one.credentials.accessKeySecret, DEFAULT_KEY.accessKeySecret)
})
