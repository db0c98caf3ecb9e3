/**
 * Tables for people. On a pipe, nothing is truncated. On a terminal, rows are truncated to one line while
 * they stay readable; otherwise each row becomes a block of lines.
 */
import stringWidth from 'string-width'
import { escapeControlChars } from '../util/control-chars.js'
import { truncateMiddle } from './progress-bar.js'

export interface Column {
  readonly name: string
  /** Width to which cells may be truncated. Never truncated if absent. */
  readonly minWidth?: number
}

/** @param width – columns of the terminal, or `undefined` if there is none */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width?: number,
): string[] {
  const safeRows = rows.map(row => row.map(escapeControlChars))
  const allRows = [columns.map(({ name }) => name), ...safeRows]
  const widths = columns.map((_, i) => Math.max(...allRows.map(row => stringWidth(row[i] ?? ''))))
  if (width !== undefined && !shrinkToFit(columns, widths, width))
    return formatBlocks(columns, safeRows, width)
  return allRows.map(row =>
    row
      .map((cell, i) => padToWidth(truncateMiddle(cell, widths[i] ?? 0), widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Shrinks the columns that may be truncated until the row fits. Returns false if it cannot fit. */
function shrinkToFit(columns: readonly Column[], widths: number[], width: number): boolean {
  let excess = widths.reduce((sum, each) => sum + each + 2, -2) - width
  columns.forEach(({ minWidth }, i) => {
    if (minWidth === undefined || excess <= 0) return
    const reduction = Math.min(excess, Math.max(0, (widths[i] ?? 0) - minWidth))
    widths[i] = (widths[i] ?? 0) - reduction
    excess -= reduction
  })
  return excess <= 0
}

function formatBlocks(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  const labelWidth = Math.max(...columns.map(({ name }) => name.length))
  return rows.flatMap((row, rowIndex) => [
    ...(rowIndex === 0 ? [] : ['']),
    ...row.map((cell, i) => {
      const { name = '', minWidth } = columns[i] ?? {}
      const valueWidth = Math.max(minWidth ?? 0, width - labelWidth - 2)
      return `${name.padEnd(labelWidth)}  ${minWidth === undefined ? cell : truncateMiddle(cell, valueWidth)}`
    }),
  ])
}

function padToWidth(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stringWidth(text)))
}
