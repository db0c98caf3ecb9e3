/**
 * Tables that a person reads. On a pipe nothing is ever cut; on a terminal a row keeps to one line as
 * long as that is readable, and becomes a block of lines where it is not.
 */
import stringWidth from 'string-width'
import { cut } from './bar.js'

export interface Column {
  readonly name: string
  /** It may be cut down to so many columns; absent: never. */
  readonly min?: number
}

/** @param width columns of the terminal; `undefined`: no terminal */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width?: number,
): string[] {
  const all = [columns.map(({ name }) => name), ...rows]
  const widths = columns.map((_, i) => Math.max(...all.map(row => stringWidth(row[i] ?? ''))))
  if (width !== undefined && !fit(columns, widths, width)) return blocks(columns, rows, width)
  return all.map(row =>
    row
      .map((cell, i) => pad(cut(cell, widths[i] ?? 0), widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Takes from the columns that may be cut until all fit; false if they never do. */
function fit(columns: readonly Column[], widths: number[], width: number): boolean {
  let over = widths.reduce((sum, each) => sum + each + 2, -2) - width
  columns.forEach(({ min }, i) => {
    if (min === undefined || over <= 0) return
    const given = Math.min(over, Math.max(0, (widths[i] ?? 0) - min))
    widths[i] = (widths[i] ?? 0) - given
    over -= given
  })
  return over <= 0
}

function blocks(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  const label = Math.max(...columns.map(({ name }) => name.length))
  return rows.flatMap((row, n) => [
    ...(n === 0 ? [] : ['']),
    ...row.map((cell, i) => {
      const { name = '', min } = columns[i] ?? {}
      const room = Math.max(min ?? 0, width - label - 2)
      return `${name.padEnd(label)}  ${min === undefined ? cell : cut(cell, room)}`
    }),
  ])
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - stringWidth(text)))
}
