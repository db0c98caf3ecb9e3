/** Numbers as people type and read them. */
import { InvalidArgumentError } from 'commander'

const UNITS: Readonly<Record<string, number>> = {
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

/** `8MiB`, `100KB`, `5` → bytes. A single letter is binary, as in `dd` and `split`. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
  const unit = UNITS[(match?.[2] ?? '?').toUpperCase()]
  const bytes = Math.round(Number(match?.[1]) * (unit ?? Number.NaN))
  if (Number.isSafeInteger(bytes)) return bytes
  throw new InvalidArgumentError(`Expected a size such as 8MiB, got "${text}".`)
}

/** `500KB`, per second; a limit that would stop everything is a slip of the pen. */
export function parseRate(text: string): number {
  const rate = parseSize(text)
  if (rate < 1024) throw new InvalidArgumentError(`Expected 1KiB or more, got "${text}".`)
  return rate
}

const PERIODS: Readonly<Record<string, number>> = { s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 }

/** `7d`, `12h`, `0s` → ms. */
export function parsePeriod(text: string): number {
  const match = /^(\d{1,9})([smhdw])$/.exec(text)
  const ms = Number(match?.[1]) * (PERIODS[match?.[2] ?? ''] ?? Number.NaN)
  if (Number.isSafeInteger(ms)) return ms
  throw new InvalidArgumentError(`Expected a time such as 7d, got "${text}".`)
}

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError(`Expected a number, got "${text}".`)
  return Number(text)
}

/** `9091`, `0.0.0.0:9091`, `[::]:9091`; by default on the loopback address. */
export function parseAddress(text: string): { host: string; port: number } {
  const [, host = '127.0.0.1', port = ''] = /^(?:\[?([\w.:-]+?)\]?:)?(\d{1,5})$/.exec(text) ?? []
  if (port === '' || Number(port) > 65_535) {
    throw new InvalidArgumentError(`Expected [HOST:]PORT, got "${text}".`)
  }
  return { host, port: Number(port) }
}

export function parseDigest(length: number): (text: string) => string {
  return text => {
    if (text.length === length && /^[0-9a-f]+$/i.test(text)) return text.toLowerCase()
    throw new InvalidArgumentError(`Expected ${length} hexadecimal digits, got "${text}".`)
  }
}

/** 12,345,678 → `11.8 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let i = 0
  // What would be shown as 1024.0 is shown in the next unit.
  for (; bytes >= (i === 0 ? 1024 : 1023.95) && i < units.length - 1; i++) bytes /= 1024
  return `${i === 0 ? bytes : bytes.toFixed(1)} ${units[i]}`
}

/** 75,000 → `1 min 15 s`. */
export function formatDuration(ms: number): string {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const s = Math.round(ms / 1000)
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`
  const min = Math.round(s / 60)
  if (min < 1440) return `${Math.floor(min / 60)} h ${min % 60} min`
  const h = Math.round(s / 3600)
  return `${Math.floor(h / 24)} d ${h % 24} h`
}
