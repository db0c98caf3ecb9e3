/** The figures of the progress as text: for the bar, and on their own for logs. */
import type { ProgressTotal } from './progress-total.js'
import { formatBytes, formatDuration } from './units.js'

/** Renders stage and figures without a bar. */
export function formatProgressLine(total: ProgressTotal): string {
  return [total.stage, ...formatFigures(total)].join(', ')
}

/** Returns the figures, most important first. */
export function formatFigures({
  spooled,
  sent,
  size,
  rate,
  eta,
  retries,
}: ProgressTotal): string[] {
  const sentText = formatBytes(sent)
  const progressText =
    size === undefined
      ? `${sentText} sent of ${formatBytes(spooled)} read`
      : `${sentText} of ${formatBytes(size)}`
  return [
    progressText,
    ...(rate > 0 ? [`${formatBytes(Math.round(rate))}/s`] : []),
    ...(eta === undefined ? [] : [`${formatDuration(eta * 1000)} to go`]),
    ...(retries === 0 ? [] : [`${retries} ${retries === 1 ? 'retry' : 'retries'}`]),
  ]
}
