/**
 * Counts the bytes of request bodies that have left this machine. A socket accepts bytes long before they are on the
 * wire: the kernel may hold megabytes per connection, above all where large packets make its buffers large (loopback,
 * and so every local proxy). Linux says how many it still holds; elsewhere, bytes that the kernel has accepted count as sent.
 */
import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** The body of one request. The transport counts what it writes; `measureBodies` updates `sent`. */
export class BodyMeter {
  /** Bytes written to the socket. */
  written = 0
  /** Bytes that have left this machine, as of the last measurement. */
  sent = 0
  /** Connection of the request, once it is established. */
  #socket: Socket | undefined

  watch(socket: Socket, { secure }: { secure: boolean }): void {
    const onConnect = (): void => void (this.#socket = socket)
    if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', onConnect)
    else onConnect()
  }

  /** Bytes that the kernel has accepted. */
  get accepted(): number {
    if (this.#socket === undefined) return 0
    // Node has no public name for this. `undefined` without a handle, or if it is renamed: all bytes count then.
    const { _handle: handle } = this.#socket as { _handle?: { writeQueueSize?: number } | null }
    return Math.max(0, this.written - (handle?.writeQueueSize ?? 0))
  }

  /** Local and remote port in hex, as in the kernel's table. */
  get connection(): string {
    const hex = (port = 0): string => port.toString(16).toUpperCase().padStart(4, '0')
    return `${hex(this.#socket?.localPort)}:${hex(this.#socket?.remotePort)}`
  }

  /** @param queued – bytes that the kernel has not sent yet */
  measure(queued = 0): void {
    this.sent = Math.max(0, this.accepted - queued)
  }
}

/** Bytes by which a measurement may be wrong. */
const MAX_ERROR_BYTES = 64 * 1024

/** Measures `meters` when the kernel's queues were read next: at most every 200 ms for the whole process. */
export async function measureBodies(meters: Iterable<BodyMeter>): Promise<void> {
  const before = new Map([...meters].map(meter => [meter, meter.accepted]))
  const queues = await sendQueues.read()
  for (const [meter, accepted] of before) {
    // Of bytes accepted meanwhile, it is unknown whether the queue includes them.
    if (meter.accepted - accepted <= MAX_ERROR_BYTES) meter.measure(queues.get(meter.connection))
  }
}

/** The kernel's IPv4 and IPv6 connections. */
const TABLES = ['/proc/self/net/tcp', '/proc/self/net/tcp6']

const MIN_INTERVAL_MS = 200
const MAX_INTERVAL_MS = 1_000
/** A host with many connections has long tables. Within the intervals, reading takes at most this part of the time. */
const MAX_LOAD = 0.05

/** Bytes in the kernel's send queues, by local and remote port in hex. */
type SendQueues = ReadonlyMap<string, number>

class SendQueueReader {
  /** The next or current read, which all callers share. */
  #reading: Promise<SendQueues> | undefined
  #nextAt = 0

  /** Never rejects, and never keeps the process alive. */
  read(): Promise<SendQueues> {
    return (this.#reading ??= this.#readWhenDue())
  }

  async #readWhenDue(): Promise<SendQueues> {
    await sleep(Math.max(0, this.#nextAt - performance.now()), undefined, { ref: false })
    const startedAt = performance.now()
    const tables = await Promise.all(TABLES.map(table => readFile(table, 'latin1').catch(noTable)))
    const elapsed = performance.now() - startedAt
    const interval = Math.max(MIN_INTERVAL_MS, Math.min(MAX_INTERVAL_MS, elapsed / MAX_LOAD))
    this.#nextAt = startedAt + interval
    this.#reading = undefined
    return parseSendQueues(tables.join('\n'))
  }
}

const sendQueues = new SendQueueReader()

/** For `.catch()`: without a table, as on other systems, accepted bytes count as sent. */
function noTable(): string {
  return ''
}

/** Row of an established connection: addresses and ports, state, and the length of its send queue, in hex. */
const ROW = /^ *\d+: [\dA-F]+:([\dA-F]{4}) [\dA-F]+:([\dA-F]{4}) 0[1-9A-F] ([\dA-F]{8}):/gm

/** Parses the kernel's connection table. Connections without queued bytes are left out. */
export function parseSendQueues(table: string): Map<string, number> {
  const queues = new Map<string, number>()
  for (const [, local, remote, queued] of table.matchAll(ROW)) {
    if (queued !== '00000000') queues.set(`${local}:${remote}`, Number.parseInt(queued!, 16))
  }
  return queues
}
