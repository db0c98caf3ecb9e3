/** Redis as it is run in production, as real processes on loopback ports: Sentinel, a cluster, TLS. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SecureContextOptions } from 'node:tls'
import { Cluster, Redis, SentinelConnector, type RedisOptions } from 'ioredis'
import type { Test } from 'tap'
import { watchedConnector } from '../../src/cli/sentinel-connector.js'
import { makeAuthority } from './authority.js'
import { until } from './command-line.js'

/** Options of a client that its defaults complete. */
interface ClientOptions {
  readonly port?: number
  readonly tls?: SecureContextOptions
  readonly sentinels?: { readonly host: string; readonly port: number }[]
  readonly name?: string
  readonly failoverDetector?: boolean
  readonly Connector?: RedisOptions['Connector']
}

/** Processes of one test, killed and removed when it ends. */
class Servers {
  readonly dir = mkdtempSync(join(tmpdir(), 'oss-spool-redis-'))
  readonly #processes = new Map<number, ChildProcess>()
  readonly #end = (): void => {
    for (const each of this.#processes.values()) each.kill('SIGKILL')
  }

  constructor(t: Test) {
    process.once('exit', this.#end) // a test that crashes runs no teardown
    t.teardown(async () => {
      process.removeListener('exit', this.#end)
      for (const port of this.#processes.keys()) await this.kill(port)
      rmSync(this.dir, { recursive: true, force: true })
    })
  }

  /** Starts a server and resolves once it answers. */
  async start(port: number, args: readonly string[], client: ClientOptions = {}): Promise<void> {
    const dir = join(this.dir, String(port))
    mkdirSync(dir, { recursive: true })
    const all = [...args, '--dir', dir, '--bind', '127.0.0.1']
    this.#processes.set(port, spawn('redis-server', all, { stdio: 'ignore' }))
    const probe = quietClient({ port, ...client })
    await probe.call('PING')
    probe.disconnect()
  }

  async kill(port: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const server = this.#processes.get(port)
    if (server === undefined) throw new Error(`There is no server on port ${port}`)
    server.kill(signal)
    if (signal !== 'SIGKILL') return
    if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    this.#processes.delete(port)
  }
}

export interface SentinelTopology {
  /** URL for the command line. */
  readonly url: string
  readonly sentinelPorts: readonly number[]
  /** Port of the server that is a replica at first. */
  readonly replicaPort: number
  /** Name that the Sentinels have for the primary. */
  readonly name: string
  /** Creates a client of the current primary, closed when the test ends. */
  readonly connect: () => Redis
  /** Resolves to the port of the current primary, according to a Sentinel. */
  readonly primaryPort: () => Promise<number>
  /** Sends a signal to the primary; SIGSTOP makes it hang. Resolves, after SIGKILL, once it is gone. */
  readonly killPrimary: (signal?: NodeJS.Signals) => Promise<void>
  /** Makes the last of the Sentinels hang. */
  readonly freezeLastSentinel: () => Promise<void>
  /** Kills the primary, and resolves to the port of its successor. */
  readonly failOver: () => Promise<number>
}

/**
 * Starts a primary, a replica and three Sentinels with a quorum of two. Resolves with `undefined`, and reports a skipped
 * assertion, if Redis is not installed.
 */
export async function startSentinel(t: Test): Promise<SentinelTopology | undefined> {
  if (isMissing(t)) return undefined
  const servers = new Servers(t)
  const [primary = 0, replica = 0, ...sentinelPorts] = await freePorts(5)
  const data = ['--save', '', '--appendonly', 'yes']
  await servers.start(primary, ['--port', String(primary), ...data])
  const replicaArgs = ['--port', String(replica), ...data, '--replicaof', `127.0.0.1 ${primary}`]
  await servers.start(replica, replicaArgs)
  await query({ port: replica }, async client => {
    await until(async () => (await client.info('replication')).includes('master_link_status:up'))
  })
  const name = 'main'
  for (const port of sentinelPorts) {
    const file = join(servers.dir, `sentinel-${port}.conf`) // the Sentinel rewrites it
    const lines = [
      `sentinel monitor ${name} 127.0.0.1 ${primary} 2`,
      `sentinel down-after-milliseconds ${name} 1000`,
      `sentinel failover-timeout ${name} 3000`,
    ]
    writeFileSync(file, lines.join('\n'))
    await servers.start(port, [file, '--sentinel', '--port', String(port)])
  }
  const askSentinel = async (...args: string[]): Promise<unknown> =>
    query({ port: sentinelPorts[0] ?? 0 }, client => client.call('SENTINEL', ...args))
  const primaryPort = async (): Promise<number> => {
    const address = await askSentinel('get-master-addr-by-name', name)
    return Number(Array.isArray(address) ? address[1] : 0)
  }
  // Sentinels find each other and the replica by the primary; only then can they replace it.
  await until(async () => (await askSentinel('ckquorum', name).catch(() => '')) !== '')
  await until(async () => {
    const replicas = await askSentinel('replicas', name)
    return Array.isArray(replicas) && replicas.length === 1
  })
  const killPrimary = async (signal?: NodeJS.Signals): Promise<void> =>
    servers.kill(await primaryPort(), signal)
  return {
    url: `redis+sentinel://${sentinelPorts.map(port => `127.0.0.1:${port}`).join(',')}/${name}`,
    sentinelPorts,
    replicaPort: replica,
    name,
    connect: () => {
      const sentinels = sentinelPorts.map(port => ({ host: '127.0.0.1', port }))
      const Connector = watchedConnector(SentinelConnector)
      const client = quietClient({ sentinels, name, failoverDetector: true, Connector })
      t.teardown(() => client.disconnect())
      return client
    },
    primaryPort,
    killPrimary,
    freezeLastSentinel: async () => servers.kill(sentinelPorts.at(-1) ?? 0, 'SIGSTOP'),
    failOver: async () => {
      const previous = await primaryPort()
      await killPrimary()
      await until(async () => (await primaryPort()) !== previous)
      return primaryPort()
    },
  }
}

export interface ClusterTopology {
  /** URL for the command line. */
  readonly url: string
  readonly ports: readonly number[]
  /** Creates a client, closed when the test ends. */
  readonly connect: () => Cluster
}

/** Starts a cluster of three primaries. Resolves with `undefined` if Redis is not installed, as above. */
export async function startCluster(t: Test): Promise<ClusterTopology | undefined> {
  if (isMissing(t)) return undefined
  const servers = new Servers(t)
  const all = await freePorts(6)
  const [ports, busPorts] = [all.slice(0, 3), all.slice(3)]
  for (const [i, port] of ports.entries()) {
    const cluster = ['--cluster-enabled', 'yes', '--cluster-port', String(busPorts[i])]
    await servers.start(port, ['--port', String(port), '--save', '', ...cluster])
  }
  const slots = [0, 5_461, 10_923, 16_384]
  for (const [i, port] of ports.entries()) {
    await query({ port }, async client => {
      await client.call('CLUSTER', 'ADDSLOTSRANGE', slots[i] ?? 0, (slots[i + 1] ?? 0) - 1)
      for (const [k, other] of ports.entries()) {
        if (k !== i) await client.call('CLUSTER', 'MEET', '127.0.0.1', other, busPorts[k] ?? 0)
      }
    })
  }
  for (const port of ports) {
    await query({ port }, async client => {
      await until(async () =>
        String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
      )
    })
  }
  return {
    url: `redis+cluster://${ports.map(port => `127.0.0.1:${port}`).join(',')}`,
    ports,
    connect: () => {
      const client = new Cluster(
        ports.map(port => ({ host: '127.0.0.1', port })),
        { redisOptions: { maxRetriesPerRequest: null } },
      )
      client.on('error', () => {}) // it reconnects
      t.teardown(() => client.disconnect())
      return client
    },
  }
}

export interface TlsRedis {
  /** URL for the command line. */
  readonly url: string
  readonly port: number
  /** Files for the command line: certificate of the authority, and a client's certificate and key. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string }
  /** Creates a client, closed when the test ends. */
  readonly connect: () => Redis
}

/**
 * Starts a server that accepts only TLS, and only clients with a certificate of its authority. Resolves with
 * `undefined` if Redis or openssl is not installed, as above.
 */
export async function startTlsRedis(t: Test, ...config: string[]): Promise<TlsRedis | undefined> {
  if (isMissing(t)) return undefined
  const authority = makeAuthority(t)
  if (authority === undefined) {
    t.pass('openssl is not installed', { skip: true })
    return undefined
  }
  const servers = new Servers(t)
  const { key, cert } = authority.sign('IP:127.0.0.1')
  const files = {
    ca: authority.path,
    cert: join(servers.dir, 'cert.pem'),
    key: join(servers.dir, 'key.pem'),
  }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  const [port = 0] = await freePorts(1)
  const tls = { ca: authority.ca, cert, key }
  const serverFiles = ['--tls-ca-cert-file', files.ca, '--tls-cert-file', files.cert]
  const args = ['--port', '0', '--tls-port', String(port), ...serverFiles]
  await servers.start(port, [...args, '--tls-key-file', files.key, '--save', '', ...config], {
    tls,
  })
  return {
    url: `rediss://127.0.0.1:${port}`,
    port,
    files,
    connect: () => {
      const client = quietClient({ port, tls })
      t.teardown(() => client.disconnect())
      return client
    },
  }
}

function isMissing(t: Test): boolean {
  if (spawnSync('redis-server', ['--version']).error === undefined) return false
  t.pass('Redis is not installed: apt-get install redis-server', { skip: true })
  return true
}

/** Creates a client that waits while the server is down. */
function quietClient(options: ClientOptions): Redis {
  const client = new Redis({ host: '127.0.0.1', maxRetriesPerRequest: null, ...options })
  client.on('error', () => {}) // it reconnects
  return client
}

async function query<T>(options: ClientOptions, run: (client: Redis) => Promise<T>): Promise<T> {
  const client = quietClient(options)
  try {
    return await run(client)
  } finally {
    client.disconnect()
  }
}

/** Returns ports that are free now, all different. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map(server => once(server, 'listening')))
  // An AddressInfo, because it listens on a port and not on a path.
  const ports = servers.map(server => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}
