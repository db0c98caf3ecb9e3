/**
 * Starts and stops an emulator. `close()` releases its sockets, timers, locks and temp files; stored
 * objects stay in the data directory for the next emulator.
 */
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { inspect } from 'node:util'
import { createCredentialStore, type AccessKey, type Sts } from './auth/credentials.js'
import { CallbackKey } from './callback-key.js'
import { Clock } from './clock.js'
import type { EmulatorContext } from './emulator-context.js'
import { startAdminServer } from './admin.js'
import { checkFault } from './faults/check-fault.js'
import { createFaultTable } from './faults/fault-table.js'
import type { Fault, FaultHandle } from './faults/fault.js'
import { advanceClock } from './lifecycle.js'
import { checkLinkOptions, createNetwork, type LinkOptions } from './simulated-network.js'
import { newBucket } from './operations/bucket.js'
import { resolveSettings, type EmulatorOptions } from './options.js'
import type { RequestRecord } from './request-log.js'
import { startServer, type HttpServer } from './server.js'
import { isBucketName } from './store/buckets.js'
import { removeTree } from './store/files.js'
import { openStore } from './store/store.js'
import { allowManyListeners } from '../util/abort-signals.js'
import { escapeControlChars } from '../util/control-chars.js'

/** A running emulator, as returned by `startEmulator`. */
export interface Emulator {
  /** URL of the emulator: `http://127.0.0.1:PORT`, or `https:` with `tls`. */
  readonly endpoint: string
  /** Address it listens on. */
  readonly host: string
  /** TCP port it listens on. */
  readonly port: number
  /** Absolute path of the data directory. */
  readonly dir: string
  /** Region id, e.g. `oss-cn-hangzhou`. */
  readonly region: string
  /** The first of the configured access keys. */
  readonly credentials: AccessKey
  /** Issues, expires and revokes temporary credentials. */
  readonly sts: Sts
  /** Log of the requests, oldest first. Set its `length` to 0 to clear it. */
  readonly requests: RequestRecord[]
  /** Simulated network; assign to change it immediately, also for bodies in progress. */
  link: LinkOptions
  /** URL of the admin port; undefined unless `admin` is set. */
  readonly adminEndpoint: string | undefined
  /** Returns options to pass to `new OSS(...)` of `ali-oss`. */
  clientOptions(bucket?: string): EmulatorClientOptions
  /** Injects a fault. Throws `TypeError` for an unknown or invalid field. */
  inject(fault: Fault): FaultHandle
  /** Removes all faults and resumes the requests that hang on them. */
  clearFaults(): void
  /**
   * Moves the clock of stored times ahead and applies the lifecycle rules of all buckets; resolves when done. Rules are
   * applied at no other time.
   *
   * @throws `RangeError` unless `ms` is a number of at least 0 that leads to a valid time
   */
  advance(ms: number): Promise<void>
  /**
   * Closes all connections and releases all resources; resolves when done. Removes the data directory
   * if it was created because `dir` was not set.
   */
  close(): Promise<void>
}

/** Options of an `ali-oss` client for this emulator. */
export interface EmulatorClientOptions {
  /** URL of the emulator. */
  endpoint: string
  /** Region id, e.g. `oss-cn-hangzhou`. */
  region: string
  /** Id of the first configured access key. */
  accessKeyId: string
  /** Secret of that access key. */
  accessKeySecret: string
  /** Always `true`: the client signs with V4. */
  authorizationV4: boolean
  /** Bucket passed to `clientOptions`. */
  bucket?: string
  /** `true` for an emulator with `tls`. */
  secure?: boolean
}

/**
 * Starts an emulator. Resolves when it accepts connections.
 *
 * @throws `TypeError` or `RangeError` for an unknown or invalid option, `EADDRINUSE` if the port is in use; leaves
 * nothing open
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
  const removeTempDir = async () => {
    if (options.dir === undefined) await removeTree(dir)
  }
  const store = await openStore(dir).catch(async (error: unknown) => {
    await removeTempDir()
    throw error
  })
  const closeController = new AbortController()
  allowManyListeners(closeController.signal) // one listener per waiting request
  const closers: (() => Promise<void>)[] = []
  const close = async () => {
    closeController.abort()
    await Promise.all(closers.map(closeServer => closeServer()))
    await store.close()
    await removeTempDir()
  }

  const context: EmulatorContext = {
    settings,
    store,
    credentialStore: createCredentialStore(settings.accessKeys),
    faultTable,
    network: createNetwork(link, closeController.signal),
    requests: [],
    callbackKey: new CallbackKey(),
    clock: new Clock(),
    signal: closeController.signal,
    reportError: error => process.emitWarning(escapeControlChars(inspect(error))), // refuses errors of other realms
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

/** Builds the public interface. */
function toEmulator(
  context: EmulatorContext,
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
  const { settings, credentialStore, faultTable, network, requests } = context
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
    advance: ms => advanceClock(context, ms),
    close: () => (closed ??= close()),
  }
}
