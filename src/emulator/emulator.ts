/**
 * Starting and stopping. What an emulator holds (sockets, timers, locks, temp files) is let go by
 * `close()`; what it stored stays in its directory for the next one.
 */
import { setMaxListeners } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createCredentialStore, type AccessKey, type Sts } from './auth/credentials.js'
import type { EmulatorContext } from './context.js'
import { startAdminServer } from './admin.js'
import { checkFault } from './faults/check-fault.js'
import { createFaultTable } from './faults/fault-table.js'
import type { Fault, FaultHandle } from './faults/fault.js'
import { checkLinkOptions, createNetwork, type LinkOptions } from './network.js'
import { newBucket } from './operations/bucket.js'
import { resolveSettings, type EmulatorOptions } from './options.js'
import type { RequestRecord } from './request-log.js'
import { startServer, type HttpServer } from './server.js'
import { isBucketName } from './store/buckets.js'
import { removeTree } from './store/files.js'
import { openStore } from './store/store.js'

/** A running emulator. */
export interface Emulator {
  /** `http://127.0.0.1:PORT`, or with `https:`. */
  readonly endpoint: string
  /** The host it listens on. */
  readonly host: string
  /** The TCP port it listens on. */
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
  link: LinkOptions
  /** The admin port's URL, where there is one. */
  readonly adminEndpoint: string | undefined
  /** Options with which `new OSS(...)` of `ali-oss` works as they are. */
  clientOptions(bucket?: string): EmulatorClientOptions
  /** Adds a fault. */
  inject(fault: Fault): FaultHandle
  /** Removes all faults. */
  clearFaults(): void
  /** Ends all connections; resolves when nothing of it is left. */
  close(): Promise<void>
}

/** What `ali-oss` needs to know. */
export interface EmulatorClientOptions {
  /** That of the emulator. */
  endpoint: string
  /** Such as `oss-cn-hangzhou`. */
  region: string
  /** Of the first pair that may sign. */
  accessKeyId: string
  /** Its secret. */
  accessKeySecret: string
  /** `true`. */
  authorizationV4: boolean
  /** The one that was asked for. */
  bucket?: string
  /** `true` for an emulator with `tls`. */
  secure?: boolean
}

/**
 * Starts an emulator and resolves when it accepts connections. Rejects, with nothing left open, if
 * an option is wrong (`TypeError`, `RangeError`) or the port is taken (`EADDRINUSE`).
 */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const settings = resolveSettings(options)
  const faultTable = createFaultTable()
  for (const fault of options.faults ?? []) faultTable.inject(checkFault(fault))
  const link = checkLinkOptions(options.link ?? {})
  for (const name of options.buckets ?? [])
    if (!isBucketName(name))
      throw new TypeError(`Expected \`buckets\` to hold bucket names, got \`${name}\``)

  const dir = resolve(options.dir ?? (await mkdtemp(join(tmpdir(), 'oss-emulator-'))))
  const store = await openStore(dir)
  const closeController = new AbortController()
  setMaxListeners(0, closeController.signal) // one for each request that waits
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    closeController.abort()
    await Promise.all(closers.map(closeServer => closeServer()))
    await store.close()
    if (options.dir === undefined) await removeTree(dir)
  }

  const context: EmulatorContext = {
    settings,
    store,
    credentialStore: createCredentialStore(settings.accessKeys),
    faultTable,
    network: createNetwork(link, closeController.signal),
    requests: [],
    signal: closeController.signal,
    reportError: error => process.emitWarning(error instanceof Error ? error : String(error)),
  }
  try {
    for (const name of options.buckets ?? [])
      await store.buckets.ensure(newBucket(name, Date.now()))
    const server = await startServer(context, options)
    closers.push(() => server.close())
    const adminServer = await startAdminServer(context, options.admin ?? false)
    if (adminServer !== undefined) closers.push(() => adminServer.close())
    return toEmulator(context, { dir, server, adminEndpoint: adminServer?.endpoint, close })
  } catch (error) {
    await close()
    throw error
  }
}

/** What users see of it. */
function toEmulator(
  { settings, credentialStore, faultTable, network, requests }: EmulatorContext,
  {
    dir,
    server,
    adminEndpoint,
    close,
  }: {
    dir: string
    server: HttpServer
    adminEndpoint: string | undefined
    close: () => Promise<void>
  },
): Emulator {
  const [key] = settings.accessKeys
  const { endpoint, host, port } = server
  let closed: Promise<void> | undefined
  return {
    endpoint,
    host,
    port,
    dir,
    region: settings.region,
    credentials: key,
    sts: credentialStore.sts,
    requests,
    get link() {
      return network.link
    },
    set link(link) {
      network.link = checkLinkOptions(link)
    },
    adminEndpoint,
    clientOptions: bucket => ({
      endpoint,
      region: settings.region,
      ...key,
      authorizationV4: true,
      ...(bucket === undefined ? {} : { bucket }),
      ...(endpoint.startsWith('https:') ? { secure: true } : {}),
    }),
    inject: fault => faultTable.inject(checkFault(fault)),
    clearFaults: () => faultTable.clear(),
    close: () => (closed ??= close()),
  }
}
