/** Examples for shells, cron and systemd, run unchanged. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { environment, get, server, shell, until, type Env } from '../support/command-line.js'
import { BUCKET } from '../support/oss.js'
import { startPostgres } from '../support/postgres.js'
import { startEmulator } from '../../src/emulator/index.js'
import OSS from 'ali-oss'
import { long } from '../support/long.js'
import { pathOf } from '../support/project.js'

const EXAMPLES = pathOf('examples/')
const script = (name: string): string => join(EXAMPLES, 'shell', name)

/** Returns true if zstd is installed. Otherwise reports the test as skipped. */
function hasZstd(t: Test): boolean {
  if (spawnSync('zstd', ['--version']).error === undefined) return true
  t.pass('zstd is not installed: apt-get install zstd', { skip: true })
  return false
}

void long(
  t,
  'the pg_dump and COPY scripts publish a real PostgreSQL database, and nothing if it fails',
  async t => {
    const postgres = hasZstd(t) ? startPostgres(t) : undefined
    if (postgres === undefined) return
    const dir = t.testdir({})
    const { oss, env: own } = await server(t, dir)
    const env = { ...own, ...postgres.env }
    postgres.sql('CREATE DATABASE shop')
    postgres.sql('CREATE DATABASE copy')
    postgres.sql(
      `CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS code FROM generate_series(1, 20000) i`,
      'shop',
    )
    const sum = 'SELECT count(*), md5(string_agg(code, $$,$$ ORDER BY id)) FROM orders'

    const dumped = await shell(dir, `${script('dump-postgres.sh')} shop oss://${BUCKET}/pg/`, env)
      .done
    t.equal(dumped.status, 0, dumped.err)
    const day = /shop-\d{4}-\d\d-\d\d\.dump/.exec(dumped.out)?.[0] ?? ''
    await writeFile(join(dir, 'dump'), (await get(oss, `pg/${day}`)) ?? '')
    const restored = await shell(dir, 'pg_restore --dbname copy dump', env).done
    t.equal(restored.status, 0, restored.err)
    t.equal(postgres.sql(sum, 'copy'), postgres.sql(sum, 'shop'))

    const copy = (query: string, key: string) =>
      shell(dir, `${script('copy-postgres.sh')} shop '${query}' oss://${BUCKET}/${key}`, env)
    const copied = await copy('SELECT * FROM orders ORDER BY id', 'orders.csv.zst').done
    t.equal(copied.status, 0, copied.err)
    const csv = execFileSync('zstd', ['-dc'], {
      input: await get(oss, 'orders.csv.zst'),
      maxBuffer: 1e8,
    })
    t.equal(csv.toString().split('\n').length, 20_002)
    t.match(csv.toString(), /^id,code\n1,c4ca4238/)

    const cut = copy('SELECT i, pg_sleep(0.001) FROM generate_series(1, 1000000) i', 'cut.csv.zst')
    const running = `SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT i%'`
    await until(() => postgres.sql(running) === '1')
    postgres.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT i%'`,
    )
    const died = await cut.done
    t.equal(died.status, 2, 'the script exits with the status of psql')
    t.match(died.err, /terminating connection[^]*ERR_SPOOL_SOURCE_FAILED.*Nothing was published/)
    t.equal(await get(oss, 'cut.csv.zst'), undefined, 'an incomplete table is not published')
  },
)

t.test(
  'archive-folder.sh publishes a folder, and nothing if the folder does not exist',
  async t => {
    if (!hasZstd(t)) return
    const dir = t.testdir({ photos: { 'a.txt': 'A', sub: { 'b.txt': 'B' } } })
    const { oss, env } = await server(t, dir)
    const archive = (folder: string) =>
      shell(dir, `${script('archive-folder.sh')} ${folder} oss://${BUCKET}/p.tar.zst`, env).done
    t.equal((await archive('missing')).status, 2, 'the script exits with the status of tar')
    t.equal(await get(oss, 'p.tar.zst'), undefined)
    t.equal((await archive('photos')).status, 0)
    await writeFile(join(dir, 'p.tar.zst'), (await get(oss, 'p.tar.zst')) ?? '')
    const listed = execFileSync('tar', ['--zstd', '-tf', join(dir, 'p.tar.zst')], {
      encoding: 'utf8',
    })
    t.match(listed, /photos\/sub\/b\.txt/)
  },
)

/** Starts an emulator with the bucket of the examples, and creates a home directory with files to back up. */
async function home(t: Test) {
  const dir = t.testdir({ documents: { 'letter.txt': 'Dear' }, '.config': { 'oss-spool': {} } })
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: ['backups'] })
  t.teardown(() => oss.close())
  const objects = async (): Promise<string[]> => {
    const { objects: found } = await new OSS(oss.clientOptions('backups')).list(
      { 'max-keys': 10 },
      {},
    )
    return (found ?? []).map(({ name }) => name)
  }
  return { dir, oss, objects }
}

t.test('each line of the crontab runs, and prints nothing when there is nothing to do', async t => {
  const { dir, oss, objects } = await home(t)
  const {
    OSS_ENDPOINT: endpoint,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  } = environment(oss)
  const config = join(dir, '.config', 'oss-spool', 'config.json')
  await writeFile(
    config,
    JSON.stringify({ endpoint, region: 'cn-hangzhou', accessKeyId, accessKeySecret }),
  )
  chmodSync(config, 0o600)
  const lines = readFileSync(join(EXAMPLES, 'cron', 'oss-spool'), 'utf8').split('\n')
  const commands = lines.flatMap(line => {
    const entry = /^(?:\S+\s+){5}backup\s+(.+)$/.exec(line)?.[1]
    return entry === undefined ? [] : [entry.replaceAll('\\%', '%')]
  })
  t.equal(commands.length, 3)
  for (const [i, command] of commands.entries()) {
    t.notMatch(command, /(?<!\+)%/)
    const done = await shell(dir, command).done
    t.equal(done.status, 0, done.err)
    t.equal(done.err, '')
    t.equal(
      done.out.split('\n').length - 1,
      i === 0 ? 1 : 0,
      'a result prints one line, otherwise nothing is printed',
    )
  }
  t.match(await objects(), [/^documents-\d{4}-\d\d-\d\d\.tar\.gz$/])
})

t.test('the systemd units are valid, and their commands back up and resume', async t => {
  const { dir, oss, objects } = await home(t)
  const units = ['backup', 'resume'].flatMap(name => [
    `oss-spool-${name}.service`,
    `oss-spool-${name}.timer`,
  ])
  units.push('oss-spool-worker.service') // its command has its own tests
  units.push('oss-spool-alert@.service')
  const checked = spawnSync(
    'systemd-analyze',
    ['verify', ...units.map(unit => join(EXAMPLES, 'systemd', unit))],
    { encoding: 'utf8' },
  )
  if (checked.error === undefined) t.match(checked, { status: 0, stderr: '' })
  else t.pass('systemd is not installed: apt-get install systemd', { skip: true })
  const env: Env = environment(oss)
  const start = (unit: string) => {
    const text = readFileSync(join(EXAMPLES, 'systemd', unit), 'utf8')
    const command = /^ExecStart=(.+)$/m.exec(text)?.[1] ?? ''
    // systemd replaces %% with a percent sign.
    return shell(dir, command.replaceAll('%%', '%').replace('/home/backup', dir), env).done
  }
  await mkdir(join(dir, 'spool'))
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  t.equal((await start('oss-spool-backup.service')).status, 75)
  fault.remove()
  t.same(await objects(), [])
  const refused = oss.inject({ operation: 'PutObject', do: 'answer', status: 403, times: 'always' })
  t.equal((await start('oss-spool-resume.service')).status, 75)
  const resume = readFileSync(join(EXAMPLES, 'systemd', 'oss-spool-resume.service'), 'utf8')
  t.notMatch(resume, /SuccessExitStatus/, 'a failed run is a failed unit')
  t.match(resume, /^OnFailure=oss-spool-alert@%n\.service$/m)
  t.match(resume, /--stale-after 24h$/m)
  refused.remove()
  t.equal((await start('oss-spool-resume.service')).status, 0)
  t.match(await objects(), [/^documents-/])
  t.match(await start('oss-spool-resume.service'), { status: 0, out: '', err: '' })
})
