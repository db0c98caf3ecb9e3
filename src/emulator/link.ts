/**
 * The line between client and emulator: how long a request is under way and how fast bytes flow.
 * Both directions have the full bandwidth. Bytes are counted when the emulator takes or gives them;
 * the kernel's socket buffers lie before that, so a client may be some 100 KiB ahead.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** Speed of the line; every field may change while it is in use. Default: no limit, no delay. */
export interface Link {
  /** ms from a request's arrival to the start of its handling: there and back in one. */
  readonly latency?: number
  /** Up to so many ms more, at random. */
  readonly jitter?: number
  /** Bytes/s of one connection, in each direction. */
  readonly bandwidth?: number
  /** Bytes/s of all connections together, in each direction. */
  readonly totalBandwidth?: number
}

const FIELDS = ['latency', 'jitter', 'bandwidth', 'totalBandwidth']

/** The value as a link; `TypeError` for unknown fields, `RangeError` for wrong numbers. */
export function checkLink(value: unknown): Link {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`Expected \`link\` to be an object, got \`${String(value)}\``)
  for (const [name, number] of Object.entries(value)) {
    if (!FIELDS.includes(name)) throw new TypeError(`\`link\` has no \`${name}\``)
    const least = name.endsWith('andwidth') ? 1 : 0
    if (number !== undefined && !(typeof number === 'number' && number >= least))
      throw new RangeError(`Expected \`link.${name}\` to be a number from ${least} up`)
  }
  return value // every field was checked
}

/** A direction of the line as the client sees it. */
export type Direction = 'up' | 'down'

/** What paces a connection. */
export interface Lane {
  /** Waits until `bytes` may pass. `limit`: bytes/s for this request alone. */
  pace(direction: Direction, bytes: number, limit: number | undefined): Promise<void>
}

/** The line of one emulator. */
export interface Line {
  link: Link
  /** Waits for as long as a request is under way. */
  travel(): Promise<void>
  /** A lane for a new connection. */
  lane(): Lane
}

/** @param signal ends all waiting: what waits is let through, its connection is gone anyway */
export function createLine(link: Link, signal: AbortSignal): Line {
  const pause = async (ms: number) => {
    if (ms > 0)
      await sleep(ms, undefined, { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
  }
  const total = { up: createMeter(), down: createMeter() }
  const line: Line = {
    link,
    travel: () => pause((line.link.latency ?? 0) + Math.random() * (line.link.jitter ?? 0)),
    lane() {
      const own = { up: createMeter(), down: createMeter() }
      const extra = { up: createMeter(), down: createMeter() }
      return {
        async pace(direction, bytes, limit) {
          const { bandwidth, totalBandwidth } = line.link
          if (bandwidth === undefined && totalBandwidth === undefined && limit === undefined) return
          const now = performance.now()
          const until = Math.max(
            own[direction](now, bytes, bandwidth),
            total[direction](now, bytes, totalBandwidth),
            extra[direction](now, bytes, limit),
          )
          await pause(until - now)
        },
      }
    },
  }
  return line
}

/** Books bytes one after the other and says when the last will have passed, in ms. */
function createMeter(): (now: number, bytes: number, rate: number | undefined) => number {
  let busyUntil = 0
  return (now, bytes, rate) => {
    if (rate === undefined) return now
    busyUntil = Math.max(busyUntil, now) + (bytes / rate) * 1000
    return busyUntil
  }
}
