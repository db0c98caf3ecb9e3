/**
 * Starting and stopping. What an emulator holds (sockets, timers, locks, temp files) is let go by
 * `close()`; what it stored stays in its directory for the next one.
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createCredentials, type AccessKey, type Sts } from './auth/credentials.js'
import type { Emulation } from './emulation.js'
import { createFaultTable } from './faults/fault-table.js'
import type { Fault, FaultHandle } from './faults/fault.js'
import { createLine, type Link } from './link.js'
import { invalidBucketName, newBucket } from './operations/bucket.js'
import { settingsOf, type EmulatorOptions } from './options.js'
import type { RequestRecord } from './request-log.js'
import { listen } from './server.js'
import { isBucketName } from './store/buckets.js'
import { removeTree } from './store/files.js'
import { openStore } from './store/store.js'

/** A running emulator. */
export interface Emulator {
  /** `http://127.0.0.1:PORT`, or with `https:`. */
  readonly endpoint: string
  /** The host it listens on. */
  readonly host: string
  readonly port: number
  /** The data directory, absolute. */
  readonly dir: string
  /** e.g. `oss-cn-hangzhou`. */
  readonly region: string
  /** The first pair that may sign. */
  readonly credentials: AccessKey
  /** Temporary credentials. */
  readonly sts: Sts
  /** The requests so far, the oldest first. */
  readonly requests: RequestRecord[]
  /** Speed of the line; assign to change it at once. */
  link: Link
  /** The admin port's URL, where there is one. */
  readonly adminEndpoint: string | undefined
  /** Options with which `new OSS(...)` of `ali-oss` works as they are. */
  clientOptions(bucket?: string): ClientOptions
  /** Adds a fault. */
  inject(fault: Fault): FaultHandle
  /** Removes all faults. */
  clearFaults(): void
  /** Ends all connections; resolves when nothing of it is left. */
  close(): Promise<void>
}

/** What `ali-oss` needs to know. */
export interface ClientOptions {
  endpoint: string
  region: string
  accessKeyId: string
  accessKeySecret: string
  authorizationV4: boolean
  bucket?: string
  secure?: boolean
}

/** Starts an emulator and resolves when it accepts connections. */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const settings = settingsOf(options)
  const temporary = options.dir === undefined
  const dir = resolve(options.dir ?? (await mkdtemp(join(tmpdir(), 'oss-emulator-'))))
  const store = await openStore(dir)
  for (const name of options.buckets ?? []) {
    if (!isBucketName(name)) throw invalidBucketName(name)
    await store.buckets.ensure(newBucket(name, Date.now()))
  }

  const closing = new AbortController()
  const faults = createFaultTable()
  for (const fault of options.faults ?? []) faults.inject(fault)
  const line = createLine(options.link ?? {}, closing.signal)
  const emulation: Emulation = {
    settings,
    store,
    credentials: createCredentials(settings.keys),
    faults,
    line,
    requests: [],
    signal: closing.signal,
    report: error => process.emitWarning(error instanceof Error ? error : String(error)),
  }
  const server = await listen(emulation, options)
  const [key] = settings.keys

  return {
    endpoint: server.endpoint,
    host: server.host,
    port: server.port,
    dir,
    region: settings.region,
    credentials: key,
    sts: emulation.credentials.sts,
    requests: emulation.requests,
    get link() {
      return line.link
    },
    set link(link) {
      line.link = link
    },
    adminEndpoint: undefined,
    clientOptions: bucket => ({
      endpoint: server.endpoint,
      region: settings.region,
      ...key,
      authorizationV4: true,
      ...(bucket === undefined ? {} : { bucket }),
      ...(options.tls === undefined ? {} : { secure: true }),
    }),
    inject: fault => faults.inject(fault),
    clearFaults: () => faults.clear(),
    async close() {
      closing.abort()
      await server.close()
      await store.close()
      if (temporary) await removeTree(dir)
    },
  }
}
