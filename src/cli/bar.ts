/**
 * One line that says how far an upload is: what is on OSS and what is only on this disk are two parts
 * of one bar. Pure: from numbers and a width to a text that fits.
 */
import { styleText } from 'node:util'
import stringWidth from 'string-width'
import { formatBytes, formatDuration } from './quantities.js'
import type { Sum } from './sum.js'
import { printable } from './text.js'

export interface Look {
  readonly coloured: boolean
  readonly unicode: boolean
}

const MIN_BAR = 8
const MAX_BAR = 32

/** `oss://b/k  [####==    ]  12.0 MiB of 30.0 MiB  4.1 MiB/s  4 s to go`, at most `columns` wide. */
export function barLine(name: string, state: Sum, columns: number, look: Look): string {
  const width = Math.max(1, columns - 1) // the last column makes some terminals wrap
  const figures = pieces(state)
  // What is least important goes first where there is no room.
  while (figures.length > 1 && stringWidth(figures.join('  ')) + MIN_BAR + 4 > width) figures.pop()
  const text = figures.join('  ')
  const room = width - stringWidth(text) - 4 // brackets, and the gap before the text
  if (room < MIN_BAR) return cut(stringWidth(text) > width ? percent(state) : text, width)
  const label = room > MIN_BAR * 2 ? cut(printable(name), room - MIN_BAR - 2) : ''
  const taken = label === '' ? 0 : stringWidth(label) + 2
  const bar = parts(state, Math.min(MAX_BAR, room - taken), look)
  return `${label === '' ? '' : `${label}  `}[${bar}]  ${text}`
}

/** The same without a bar, for a log. */
export function describe(state: Sum): string {
  return [state.stage, ...pieces(state)].join(', ')
}

function percent({ uploaded, spooled, size = spooled }: Sum): string {
  return `${Math.floor((uploaded / Math.max(1, size)) * 100)}%`
}

/** The most important first. */
function pieces({ spooled, uploaded, size, rate, eta, retries }: Sum): string[] {
  const sent = formatBytes(uploaded)
  const moved =
    size === undefined
      ? `${sent} sent of ${formatBytes(spooled)} read`
      : `${sent} of ${formatBytes(size)}`
  return [
    moved,
    ...(rate > 0 ? [`${formatBytes(Math.round(rate))}/s`] : []),
    ...(eta === undefined ? [] : [`${formatDuration(eta * 1000)} to go`]),
    ...(retries === 0 ? [] : [`${retries} ${retries === 1 ? 'retry' : 'retries'}`]),
  ]
}

/** On OSS, only on this disk, still to come. */
function parts({ spooled, uploaded, size }: Sum, width: number, look: Look): string {
  const total = Math.max(1, size ?? spooled)
  const on = Math.min(width, Math.floor((uploaded / total) * width))
  const here = Math.min(width, Math.floor((Math.max(spooled, uploaded) / total) * width)) - on
  const [full, half, none] = look.unicode ? ['█', '▒', '░'] : ['#', '=', ' ']
  const paint = (style: 'green' | 'yellow', text: string): string =>
    look.coloured && text !== '' ? styleText(style, text) : text
  const rest = none.repeat(width - on - here)
  return paint('green', full.repeat(on)) + paint('yellow', half.repeat(here)) + rest
}

/** A text that is at most `width` wide; its end matters more than its middle. */
export function cut(text: string, width: number): string {
  if (stringWidth(text) <= width) return text
  if (width <= 1) return '…'.slice(0, Math.max(0, width))
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment)
  const head: string[] = []
  const tail: string[] = []
  let left = width - 1
  for (let fromStart = true; characters.length > 0; fromStart = !fromStart) {
    const next = (fromStart ? characters.shift() : characters.pop()) ?? ''
    left -= stringWidth(next)
    if (left < 0) break
    if (fromStart) head.push(next)
    else tail.unshift(next)
  }
  return `${head.join('')}…${tail.join('')}`
}
