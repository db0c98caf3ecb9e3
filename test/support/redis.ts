/** A real Redis of a test's own, on a free loopback port, gone when the test is over. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'

export interface RedisServer {
  readonly port: number
  /** A client that waits for a server that is away; closed when the test is over. */
  readonly connect: (t: Test) => Redis
  /** SIGKILL; what was not in its append-only file is lost. */
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

/** `undefined`, and said, where it is not installed. */
export async function startRedis(t: Test, ...config: string[]): Promise<RedisServer | undefined> {
  if (spawnSync('redis-server', ['--version']).error !== undefined) {
    t.pass('Redis is not installed: apt-get install redis-server', { skip: true })
    return undefined
  }
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-redis-'))
  const port = await freePort()
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', dir, '--save', '']
  let server: ChildProcess | undefined
  const kill = async (): Promise<void> => {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const gone = once(server, 'exit')
    server.kill('SIGKILL')
    await gone
  }
  const connect = (test: Test): Redis => {
    const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
    client.on('error', () => {}) // it connects again
    test.teardown(() => client.disconnect())
    return client
  }
  const start = async (): Promise<void> => {
    server = spawn('redis-server', [...args, ...config], { stdio: 'ignore' })
    const probe = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
    probe.on('error', () => {})
    await probe.call('INFO').catch(() => sleep(100)) // a password: it answers, too
    probe.disconnect()
  }
  const end = (): void => void server?.kill('SIGKILL')
  process.once('exit', end) // a test that crashes has no teardown
  t.teardown(async () => {
    process.removeListener('exit', end)
    await kill()
    rmSync(dir, { recursive: true, force: true })
  })
  await start()
  return { port, connect, kill, start }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // It listens on a port, not on a path.
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
