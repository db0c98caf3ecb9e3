/** A real Redis server for one test, on a free loopback port, removed when the test ends. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Test } from 'tap'

/** A way to reach Redis. */
export interface RedisAccess {
  /** URL for the command line. */
  readonly url: string
  /** Creates a client that waits while the server is down. It is closed when the test ends. */
  readonly connect: (t: Test) => Redis
}

export interface RedisServer extends RedisAccess {
  readonly port: number
  /** Sends SIGKILL. Data that is not in the append-only file is lost. */
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
  /**
   * Copies the data as it is on disk now.
   * @returns a function that kills the server and starts it with that copy
   */
  readonly backUp: () => () => Promise<void>
  /** Kills the server and starts it without any data. */
  readonly restartEmpty: () => Promise<void>
  /** Stops the process, so that its connections stay open and nothing is answered. */
  readonly freeze: () => void
  readonly thaw: () => void
}

/** Starts a server. Resolves with `undefined`, and reports a skipped assertion, if Redis is not installed. */
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
    client.on('error', () => {}) // it reconnects
    test.teardown(() => client.disconnect())
    return client
  }
  const start = async (): Promise<void> => {
    server = spawn('redis-server', [...args, ...config], { stdio: 'ignore' })
    const probe = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: null })
    probe.on('error', () => {})
    await probe.call('INFO').catch(() => sleep(100)) // a password error is a reply, too
    probe.disconnect()
  }
  const restartEmpty = async (): Promise<void> => {
    await kill()
    rmSync(join(dir, 'appendonlydir'), { recursive: true, force: true })
    await start()
  }
  const backUp = (): (() => Promise<void>) => {
    const copy = mkdtempSync(join(tmpdir(), 'oss-spool-redis-'))
    t.teardown(() => rmSync(copy, { recursive: true, force: true }))
    cpSync(join(dir, 'appendonlydir'), copy, { recursive: true })
    return async () => {
      await kill()
      rmSync(join(dir, 'appendonlydir'), { recursive: true })
      cpSync(copy, join(dir, 'appendonlydir'), { recursive: true })
      await start()
    }
  }
  const end = (): void => void server?.kill('SIGKILL')
  process.once('exit', end) // a test that crashes runs no teardown
  t.teardown(async () => {
    process.removeListener('exit', end)
    await kill()
    rmSync(dir, { recursive: true, force: true })
  })
  await start()
  const freeze = (): void => void server?.kill('SIGSTOP')
  const thaw = (): void => void server?.kill('SIGCONT')
  const url = `redis://127.0.0.1:${port}`
  return { port, url, connect, kill, start, backUp, restartEmpty, freeze, thaw }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  // An AddressInfo, because it listens on a port and not on a path.
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
