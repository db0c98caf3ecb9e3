/**
 * Simulated network between client and emulator: latency and bandwidth. Each direction has the full
 * bandwidth. Bytes are counted when the emulator reads or writes them; because of the kernel's socket
 * buffers, a client may be some 100 KiB ahead.
 */
import { MAX_TIMER_MS } from './field-checks.js'

/** Options of the simulated network. All may be changed while it is in use. Default: no limit, no delay. */
export interface LinkOptions {
  /** ms from a request's arrival to the start of its handling, i.e. one round trip. Default 0. */
  readonly latency?: number
  /** Upper bound of a random addition to `latency`, in ms. Default 0. */
  readonly jitter?: number
  /** Bytes/s of each connection, in each direction. Default: no limit. */
  readonly bandwidth?: number
  /** Bytes/s of all connections together, in each direction. Default: no limit. */
  readonly totalBandwidth?: number
}

const LINK_FIELDS = ['latency', 'jitter', 'bandwidth', 'totalBandwidth']

/**
 * Checks link options.
 *
 * @throws `TypeError` for an unknown field, `RangeError` for a number out of range
 */
export function checkLinkOptions(value: unknown): LinkOptions {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`Expected \`link\` to be an object, got \`${String(value)}\``)
  for (const [name, number] of Object.entries(value)) {
    if (!LINK_FIELDS.includes(name)) throw new TypeError(`Unknown field \`${name}\` in \`link\``)
    const [minimum, maximum] = name.endsWith('andwidth') ? [1, Infinity] : [0, MAX_TIMER_MS]
    if (number === undefined) continue
    if (!(typeof number === 'number' && number >= minimum && number <= maximum))
      throw new RangeError(`Expected \`link.${name}\` to be a number from ${minimum} to ${maximum}`)
  }
  return value // all fields were checked
}

/** Direction of a transfer, from the client's point of view. */
export type Direction = 'up' | 'down'

/** Limits the bandwidth of one connection. */
export interface ConnectionPacer {
  /**
   * Waits until `bytes` may pass.
   *
   * @param requestBandwidth – additional limit for this request, in bytes/s
   */
  pace(direction: Direction, bytes: number, requestBandwidth: number | undefined): Promise<void>
}

/** The simulated network of one emulator. */
export interface Network {
  link: LinkOptions
  /** Waits for the latency of one request. */
  waitLatency(): Promise<void>
  /** Creates the pacer of a new connection. */
  createPacer(): ConnectionPacer
}

/**
 * Creates the network of an emulator.
 *
 * @param signal – ends all waits without an error; the connections are being closed anyway
 */
export function createNetwork(initialLink: LinkOptions, signal: AbortSignal): Network {
  const linkWaits = createWaits(signal)
  const requestWaits = createWaits(signal)
  const totalMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
  let link = initialLink
  return {
    get link() {
      return link
    },
    set link(changed) {
      link = changed
      linkWaits.endAll()
    },
    waitLatency: () => linkWaits.wait((link.latency ?? 0) + Math.random() * (link.jitter ?? 0)),
    createPacer() {
      const connectionMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
      const requestMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
      return {
        async pace(direction, bytes, requestBandwidth) {
          const { bandwidth, totalBandwidth } = link
          if (
            bandwidth === undefined &&
            totalBandwidth === undefined &&
            requestBandwidth === undefined
          )
            return
          const now = performance.now()
          const linkUntil = Math.max(
            connectionMeters[direction](now, bytes, bandwidth),
            totalMeters[direction](now, bytes, totalBandwidth),
          )
          const requestUntil = requestMeters[direction](now, bytes, requestBandwidth)
          await Promise.all([
            linkWaits.wait(linkUntil - now),
            requestWaits.wait(requestUntil - now),
          ])
        },
      }
    },
  }
}

/** Waits of any number of requests. */
interface Waits {
  wait(ms: number): Promise<void>
  /** Ends the waits in progress. */
  endAll(): void
}

function createWaits(signal: AbortSignal): Waits {
  const endings = new Set<() => void>()
  const endAll = () => {
    for (const end of endings) end()
  }
  signal.addEventListener('abort', endAll)
  return {
    endAll,
    async wait(ms) {
      if (ms <= 0 || signal.aborted) return
      await new Promise<void>(resolve => {
        const end = () => {
          clearTimeout(timer)
          endings.delete(end)
          resolve()
        }
        const timer = setTimeout(end, Math.min(ms, MAX_TIMER_MS))
        endings.add(end)
      })
    },
  }
}

/**
 * Creates a function that queues bytes and returns the time, in ms, at which the last one has passed. Bytes that were
 * queued at another rate do not delay later ones.
 */
function createBandwidthMeter(): (now: number, bytes: number, rate: number | undefined) => number {
  let busyUntil = 0
  let lastRate: number | undefined
  return (now, bytes, rate) => {
    if (rate !== lastRate) busyUntil = 0
    lastRate = rate
    if (rate === undefined) return now
    busyUntil = Math.max(busyUntil, now) + (bytes / rate) * 1000
    return busyUntil
  }
}
