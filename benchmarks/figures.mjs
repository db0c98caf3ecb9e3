/** Figures for the tables: medians with their spread, and ratios of neighbouring runs. */

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Formats `median (min–max)`. */
export function spread(values, digits = 0) {
  const show = value => value.toFixed(digits)
  return `${show(median(values))} (${show(Math.min(...values))}–${show(Math.max(...values))})`
}

/** Returns the median of `a[i] / b[i]`. The machine was equally fast for both runs of a pair. */
export function ratio(a, b) {
  return median(a.map((value, i) => value / b[i]))
}

/** Returns a share of a number of bytes, objects or rounds: a whole number, and at least `least`. */
export const scaled = (count, scale, least = 1) => Math.max(least, Math.ceil(count * scale))

/** Rates in MB/s, with MB = 10^6 bytes. */
export const rates = (size, runs) => runs.map(({ ms }) => size / 1e3 / ms)

export const MIB = 2 ** 20
export const mib = bytes => bytes / MIB

/** Formats a Markdown table. */
export function table(head, rows) {
  const line = cells => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** Evaluates a target: `must` is required, `reach` is the goal. */
export function verdict(name, value, { must, reach, atMost = false, digits = 2 }) {
  const holds = bound => (atMost ? value <= bound : value >= bound)
  const met = holds(reach) ? 'reached' : holds(must) ? 'met' : '**missed**'
  return { name, value, must, reach, atMost, met, text: value.toFixed(digits) }
}
