/** A real PostgreSQL server on its own Unix socket, removed when the test ends. */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Env } from './command-line.js'

export interface Postgres {
  /** The environment for `psql` and `pg_dump`. */
  readonly env: Env
  /** Runs one statement as the owner. */
  readonly sql: (statement: string, database?: string) => string
}

/** Starts a server. Returns `undefined`, and reports a skipped assertion, if PostgreSQL is not installed. */
export function startPostgres(t: Test): Postgres | undefined {
  const bin = findBinaries()
  if (bin === undefined) {
    t.pass('PostgreSQL is not installed: apt-get install postgresql', { skip: true })
    return undefined
  }
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-pg-'))
  const user = userFor(dir)
  const data = join(dir, 'data')
  const as = { ...user, cwd: dir, stdio: 'pipe', env: { PATH: process.env['PATH'] } } as const
  const run = (name: string, args: string[]) => execFileSync(join(bin, name), args, as)
  run('initdb', ['-D', data, '-U', 'owner', '-A', 'trust', '--no-sync'])
  const options = `-c listen_addresses= -c unix_socket_directories=${dir} -c fsync=off`
  run('pg_ctl', ['-D', data, '-w', '-o', options, '-l', join(dir, 'log'), 'start'])
  t.teardown(() => {
    spawnSync(join(bin, 'pg_ctl'), ['-D', data, '-m', 'immediate', 'stop'], as)
    rmSync(dir, { recursive: true, force: true })
  })
  const env = { PGHOST: dir, PGUSER: 'owner', PATH: `${bin}:${process.env['PATH']}` }
  const sql = (statement: string, database = 'postgres'): string =>
    execFileSync(join(bin, 'psql'), ['-XqAt', '-c', statement, database], {
      env,
      encoding: 'utf8',
    }).trim()
  return { env, sql }
}

/** Finds the server's programs, which Debian does not put on the path. */
function findBinaries(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root) : []
  const candidates = [
    ...versions.map(version => join(root, version, 'bin')),
    ...(process.env['PATH'] ?? '').split(':'),
  ]
  return candidates.find(
    path => existsSync(join(path, 'initdb')) && existsSync(join(path, 'pg_dump')),
  )
}

/** Returns the user to run the server as, because it refuses to run as root. */
function userFor(dir: string): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const ids = spawnSync('id', ['-u', 'postgres'], { encoding: 'utf8' }).stdout.trim()
  const id = Number(ids || 65_534)
  chownSync(dir, id, id)
  chmodSync(dir, 0o755)
  return { uid: id, gid: id }
}
