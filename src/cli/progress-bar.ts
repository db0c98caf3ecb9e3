/**
 * Renders the progress line. The bar has two segments: bytes on OSS or on the wire, and bytes only on this
 * disk. Pure functions from numbers and a width to text that fits.
 */
import { styleText } from 'node:util'
import stringWidth from 'string-width'
import { formatFigures } from './progress-line.js'
import type { ProgressTotal } from './progress-total.js'
import { escapeControlChars } from '../util/control-chars.js'

export interface BarStyle {
  readonly hasColors: boolean
  readonly hasUnicode: boolean
}

const MIN_BAR_COLUMNS = 8
const MAX_BAR_COLUMNS = 32

/** Renders `oss://b/k  [####==    ]  12.0 MiB of 30.0 MiB  4.1 MiB/s  4 s to go`, at most `columns` wide. */
export function formatProgressBar(
  name: string,
  total: ProgressTotal,
  columns: number,
  style: BarStyle,
): string {
  const width = Math.max(1, columns - 1) // some terminals wrap after the last column
  const stats = formatFigures(total)
  // Drop the least important figures until the rest fits.
  while (stats.length > 1 && stringWidth(stats.join('  ')) + MIN_BAR_COLUMNS + 4 > width)
    stats.pop()
  const statsText = stats.join('  ')
  const availableColumns = width - stringWidth(statsText) - 4 // brackets and the gap before the text
  if (availableColumns < MIN_BAR_COLUMNS)
    return truncateMiddle(stringWidth(statsText) > width ? formatPercent(total) : statsText, width)
  const label =
    availableColumns > MIN_BAR_COLUMNS * 2
      ? truncateMiddle(escapeControlChars(name), availableColumns - MIN_BAR_COLUMNS - 2)
      : ''
  const labelColumns = label === '' ? 0 : stringWidth(label) + 2
  const bar = renderBar(total, Math.min(MAX_BAR_COLUMNS, availableColumns - labelColumns), style)
  return `${label === '' ? '' : `${label}  `}[${bar}]  ${statsText}`
}

function formatPercent({ sent, spooled, size = spooled }: ProgressTotal): string {
  return `${Math.floor((sent / Math.max(1, size)) * 100)}%`
}

/** Renders three segments: bytes on OSS or on the wire, bytes only on this disk, bytes still to come. */
function renderBar({ spooled, sent, size }: ProgressTotal, width: number, style: BarStyle): string {
  const totalBytes = Math.max(1, size ?? spooled)
  const sentColumns = Math.min(width, Math.floor((sent / totalBytes) * width))
  const spooledColumns =
    Math.min(width, Math.floor((Math.max(spooled, sent) / totalBytes) * width)) - sentColumns
  const [sentChar, spooledChar, emptyChar] = style.hasUnicode ? ['█', '▒', '░'] : ['#', '=', ' ']
  const paint = (color: 'green' | 'yellow', text: string): string =>
    style.hasColors && text !== '' ? styleText(color, text) : text
  const emptyPart = emptyChar.repeat(width - sentColumns - spooledColumns)
  return (
    paint('green', sentChar.repeat(sentColumns)) +
    paint('yellow', spooledChar.repeat(spooledColumns)) +
    emptyPart
  )
}

/** Truncates text to `width` columns in its middle, because its end matters more. */
export function truncateMiddle(text: string, width: number): string {
  if (stringWidth(text) <= width) return text
  if (width <= 1) return '…'.slice(0, Math.max(0, width))
  const characters = Array.from(new Intl.Segmenter().segment(text), ({ segment }) => segment)
  const head: string[] = []
  const tail: string[] = []
  let remainingColumns = width - 1
  for (let fromStart = true; characters.length > 0; fromStart = !fromStart) {
    const character = (fromStart ? characters.shift() : characters.pop()) ?? ''
    remainingColumns -= stringWidth(character)
    if (remainingColumns < 0) break
    if (fromStart) head.push(character)
    else tail.unshift(character)
  }
  return `${head.join('')}…${tail.join('')}`
}
