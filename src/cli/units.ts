/** Parses and formats sizes, rates, durations and counts of the command line. */
import { InvalidArgumentError } from 'commander'
import { quoteHarmless } from '../util/secret-mask.js'

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  K: 2 ** 10,
  KIB: 2 ** 10,
  KB: 1e3,
  M: 2 ** 20,
  MIB: 2 ** 20,
  MB: 1e6,
  G: 2 ** 30,
  GIB: 2 ** 30,
  GB: 1e9,
  T: 2 ** 40,
  TIB: 2 ** 40,
  TB: 1e12,
}

/**
 * Parses a size such as `8MiB`, `100KB` or `5` into bytes. A single letter is binary, as in `dd` and `split`.
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
  const unit = BYTES_PER_UNIT[(match?.[2] ?? '?').toUpperCase()]
  const bytes = Math.round(Number(match?.[1]) * (unit ?? Number.NaN))
  if (Number.isSafeInteger(bytes)) return bytes
  throw new InvalidArgumentError(`Expected a size such as 8MiB, got ${quoteHarmless(text)}.`)
}

/**
 * Parses a rate such as `500KB` into bytes per second. Rejects rates below 1 KiB/s, which are almost
 * certainly typos.
 */
export function parseRate(text: string): number {
  const bytesPerSecond = parseSize(text)
  if (bytesPerSecond < 1024)
    throw new InvalidArgumentError(`Expected at least 1KiB, got ${quoteHarmless(text)}.`)
  return bytesPerSecond
}

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  s: 1e3,
  m: 6e4,
  h: 36e5,
  d: 864e5,
  w: 6048e5,
}

/** Parses a duration such as `7d`, `12h` or `0s` into ms. */
export function parseDuration(text: string): number {
  const match = /^(\d{1,9})([smhdw])$/.exec(text)
  const ms = Number(match?.[1]) * (MS_PER_UNIT[match?.[2] ?? ''] ?? Number.NaN)
  if (Number.isSafeInteger(ms)) return ms
  throw new InvalidArgumentError(`Expected a time such as 7d, got ${quoteHarmless(text)}.`)
}

/** Parses a decimal integer of at most 9 digits. */
export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text))
    throw new InvalidArgumentError(`Expected a number, got ${quoteHarmless(text)}.`)
  return Number(text)
}

/** Parses the number of a TCP port. */
export function parsePort(text: string): number {
  const port = parseCount(text)
  if (port <= MAX_PORT) return port
  throw new InvalidArgumentError(`Expected a port up to ${MAX_PORT}, got ${quoteHarmless(text)}.`)
}

/** Returns any text but an empty one. */
export function parseNonEmpty(text: string): string {
  if (text !== '') return text
  throw new InvalidArgumentError('Expected a value, got "".')
}

/** Parses the number of parts in flight. */
export function parseParallel(text: string): number | 'auto' {
  return text === 'auto' ? text : parseCount(text)
}

const MAX_PORT = 65_535

/** Parses `9091`, `0.0.0.0:9091` or `[::]:9091`. The host defaults to the loopback address. */
export function parseAddress(text: string): { host: string; port: number } {
  const [, host = '127.0.0.1', port = ''] = /^(?:\[?([\w.:-]+?)\]?:)?(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > MAX_PORT) {
    throw new InvalidArgumentError(`Expected [HOST:]PORT, got ${quoteHarmless(text)}.`)
  }
  return { host, port: Number(port) }
}

/** Returns a parser of `length` hexadecimal digits. */
export function digestParser(length: number): (text: string) => string {
  return text => {
    if (text.length === length && /^[0-9a-f]+$/i.test(text)) return text.toLowerCase()
    throw new InvalidArgumentError(
      `Expected ${length} hexadecimal digits, got ${quoteHarmless(text)}.`,
    )
  }
}

/** Formats bytes: 12,345,678 → `11.8 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unitIndex = 0
  // Switch to the next unit where rounding would show 1024.0.
  for (; bytes >= (unitIndex === 0 ? 1024 : 1023.95) && unitIndex < units.length - 1; unitIndex++)
    bytes /= 1024
  return `${unitIndex === 0 ? bytes : bytes.toFixed(1)} ${units[unitIndex]}`
}

/** Clocks of hosts that are off by less than this, in ms, are not worth a word. */
const CLOCK_TOLERANCE_MS = 60_000

/** Formats the time from `since` to `now`, both in ms. A later one was written by a clock that was wrong. */
export function formatAge(since: number, now: number): string {
  if (since > now + CLOCK_TOLERANCE_MS) return 'in the future'
  return formatDuration(Math.max(0, now - since))
}

/** Like `formatAge`, for a sentence: `1 min 15 s ago`. */
export function formatAgo(since: number, now: number): string {
  const age = formatAge(since, now)
  return since > now + CLOCK_TOLERANCE_MS ? age : `${age} ago`
}

/** Formats ms: 75,000 → `1 min 15 s`. */
export function formatDuration(ms: number): string {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
  const hours = Math.round(seconds / 3600)
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}
