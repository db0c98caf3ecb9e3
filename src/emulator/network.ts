/**
 * The line between client and emulator: how long a request is under way and how fast bytes flow.
 * Both directions have the full bandwidth. Bytes are counted when the emulator takes or gives them;
 * the kernel's socket buffers lie before that, so a client may be some 100 KiB ahead.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Speed of the line; every field may change while it is in use. Default: no limit, no delay. */
export interface LinkOptions {
  /** ms from a request's arrival to the start of its handling: there and back in one. */
  readonly latency?: number
  /** Up to so many ms more, at random. */
  readonly jitter?: number
  /** Bytes/s of one connection, in each direction. */
  readonly bandwidth?: number
  /** Bytes/s of all connections together, in each direction. */
  readonly totalBandwidth?: number
}

const LINK_FIELDS = ['latency', 'jitter', 'bandwidth', 'totalBandwidth']

/** The value as a link; `TypeError` for unknown fields, `RangeError` for wrong numbers. */
export function checkLinkOptions(value: unknown): LinkOptions {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`Expected \`link\` to be an object, got \`${String(value)}\``)
  for (const [name, number] of Object.entries(value)) {
    if (!LINK_FIELDS.includes(name)) throw new TypeError(`\`link\` has no \`${name}\``)
    const minimum = name.endsWith('andwidth') ? 1 : 0
    if (number !== undefined && !(typeof number === 'number' && number >= minimum))
      throw new RangeError(`Expected \`link.${name}\` to be a number from ${minimum} up`)
  }
  return value // every field was checked
}

/** A direction of the line as the client sees it. */
export type Direction = 'up' | 'down'

/** What paces a connection. */
export interface ConnectionPacer {
  /** Waits until `bytes` may pass. `limit`: bytes/s for this request alone. */
  pace(direction: Direction, bytes: number, requestBandwidth: number | undefined): Promise<void>
}

/** The line of one emulator. */
export interface Network {
  link: LinkOptions
  /** Waits for as long as a request is under way. */
  waitLatency(): Promise<void>
  /** A lane for a new connection. */
  createPacer(): ConnectionPacer
}

/** @param signal ends all waiting: what waits is let through, its connection is gone anyway */
export function createNetwork(link: LinkOptions, signal: AbortSignal): Network {
  const wait = async (ms: number) => {
    if (ms > 0)
      await sleep(ms, undefined, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
  }
  const totalMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
  const network: Network = {
    link,
    waitLatency: () =>
      wait((network.link.latency ?? 0) + Math.random() * (network.link.jitter ?? 0)),
    createPacer() {
      const connectionMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
      const requestMeters = { up: createBandwidthMeter(), down: createBandwidthMeter() }
      return {
        async pace(direction, bytes, requestBandwidth) {
          const { bandwidth, totalBandwidth } = network.link
          if (
            bandwidth === undefined &&
            totalBandwidth === undefined &&
            requestBandwidth === undefined
          )
            return
          const now = performance.now()
          const until = Math.max(
            connectionMeters[direction](now, bytes, bandwidth),
            totalMeters[direction](now, bytes, totalBandwidth),
            requestMeters[direction](now, bytes, requestBandwidth),
          )
          await wait(until - now)
        },
      }
    },
  }
  return network
}

/** Books bytes one after the other and says when the last will have passed, in ms. */
function createBandwidthMeter(): (now: number, bytes: number, rate: number | undefined) => number {
  let busyUntil = 0
  return (now, bytes, rate) => {
    if (rate === undefined) return now
    busyUntil = Math.max(busyUntil, now) + (bytes / rate) * 1000
    return busyUntil
  }
}
