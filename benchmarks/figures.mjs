/** Numbers as tables show them: medians with their spread, ratios of runs that were neighbours. */

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** `median (min–max)`. */
export function spread(values, digits = 0) {
  const show = value => value.toFixed(digits)
  return `${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`
}

/** The median of `a[i] / b[i]`: the machine was as fast for both. */
export function ratio(a, b) {
  return median(a.map((value, i) => value / b[i]))
}

/** MB/s, MB = 10^6 bytes. */
export const rates = (size, runs) => runs.map(({ ms }) => size / 1e3 / ms)

export const MIB = 2 ** 20
export const mib = bytes => bytes / MIB

/** A Markdown table. */
export function table(head, rows) {
  const line = cells => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** A target's line: what was measured, what must hold, what is reached for. */
export function verdict(name, value, { must, reach, atMost = false, digits = 2 }) {
  const holds = bound => (atMost ? value <= bound : value >= bound)
  const met = holds(reach) ? 'reached' : holds(must) ? 'met' : '**missed**'
  return { name, value, must, reach, atMost, met, text: value.toFixed(digits) }
}
