/**
 * Tables that a person reads. On a pipe nothing is ever cut; on a terminal a row keeps to one line as
 * long as that is readable, and becomes a block of lines where it is not.
 */
import stringWidth from 'string-width'
import { truncateMiddle } from './progress-bar.js'

export interface Column {
  readonly name: string
  /** It may be cut down to so many columns; absent: never. */
  readonly min?: number
}

/** @param width columns of the terminal; `undefined`: no terminal */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width?: number,
): string[] {
  const allRows = [columns.map(({ name }) => name), ...rows]
  const widths = columns.map((_, i) => Math.max(...allRows.map(row => stringWidth(row[i] ?? ''))))
  if (width !== undefined && !shrinkToFit(columns, widths, width))
    return formatBlocks(columns, rows, width)
  return allRows.map(row =>
    row
      .map((cell, i) => padToWidth(truncateMiddle(cell, widths[i] ?? 0), widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Takes from the columns that may be cut until all fit; false if they never do. */
function shrinkToFit(columns: readonly Column[], widths: number[], width: number): boolean {
  let excess = widths.reduce((sum, each) => sum + each + 2, -2) - width
  columns.forEach(({ min }, i) => {
    if (min === undefined || excess <= 0) return
    const reduction = Math.min(excess, Math.max(0, (widths[i] ?? 0) - min))
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
      const { name = '', min } = columns[i] ?? {}
      const valueWidth = Math.max(min ?? 0, width - labelWidth - 2)
      return `${name.padEnd(labelWidth)}  ${min === undefined ? cell : truncateMiddle(cell, valueWidth)}`
    }),
  ])
}

function padToWidth(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stringWidth(text)))
}
