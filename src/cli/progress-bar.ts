/**
 * Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere, nothing with
 * `--quiet`.
 */
import type { SingleBar } from 'cli-progress'
import type { ProgressEvent } from '../upload/progress.js'
import { formatBytes, formatDuration } from './quantities.js'
import type { Io } from './session.js'

const LINE_INTERVAL = 10_000

export interface ProgressDisplay {
  show(event: ProgressEvent): void
  end(): void
}

/** The display that suits this standard error. `name` is the object. */
export async function progressDisplay(
  io: Pick<Io, 'stderr'>,
  name: string,
  flags: { quiet?: boolean },
): Promise<ProgressDisplay> {
  if (flags.quiet) return { show: () => {}, end: () => {} }
  return io.stderr.isTTY ? bar(io.stderr, name) : lines(io.stderr, name)
}

async function bar(stream: NodeJS.WriteStream, name: string): Promise<ProgressDisplay> {
  const { default: progress } = await import('cli-progress')
  const display: SingleBar = new progress.SingleBar({
    stream,
    format: '{name}  [{bar}] {line}',
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
    fps: 10,
    gracefulExit: false,
  })
  display.start(1, 0, { name, line: '' })
  return {
    show: event => {
      display.setTotal(Math.max(1, event.size ?? event.spooled))
      display.update(event.uploaded, { line: describe(event) })
    },
    end: () => display.stop(),
  }
}

function lines(stream: NodeJS.WritableStream, name: string): ProgressDisplay {
  let last: ProgressEvent | undefined
  const timer = setInterval(() => {
    if (last !== undefined) stream.write(`${name}: ${describe(last)}\n`)
  }, LINE_INTERVAL).unref()
  return {
    show: event => {
      last = event
    },
    end: () => clearInterval(timer),
  }
}

/** `spooling: 12.0 MiB read, 8.0 MiB sent, 4.1 MiB/s, 2 s to go`. */
export function describe({ phase, spooled, uploaded, size, rate, eta }: ProgressEvent): string {
  const read = size === undefined ? `${formatBytes(spooled)} read` : `of ${formatBytes(size)}`
  const sent = `${formatBytes(uploaded)} sent`
  const parts = size === undefined ? [read, sent] : [`${sent} ${read}`]
  if (rate > 0) parts.push(`${formatBytes(Math.round(rate))}/s`)
  if (eta !== undefined) parts.push(`${formatDuration(eta * 1000)} to go`)
  return `${phase}: ${parts.join(', ')}`
}
