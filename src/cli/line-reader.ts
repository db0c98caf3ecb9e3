/**
 * Reads lines until the input ends or a signal stops it. After a signal, all bytes that have left the input are
 * returned, up to the end of the current line if it arrives within a second.
 */
import { readSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { LineSplitter } from './line-splitter.js'

/** A line is held in memory until it is complete. */
const MAX_LINE_BYTES = 256 * 2 ** 20

/** ms after the signal in which the current line may still end. */
const LINE_GRACE_MS = 1000

/** Bytes of a line that are read one by one after a signal, before the timer is checked again. */
const SINGLE_BYTES = 64 * 1024
const NEWLINE = 0x0a

/**
 * Yields the complete lines of each chunk, and the unterminated last line as it is.
 * @throws the error of the input, after all lines before it; LineTooLongError
 */
export async function* readLines(input: Readable, signal: AbortSignal): AsyncGenerator<Buffer[]> {
  const splitter = new LineSplitter(MAX_LINE_BYTES)
  const events = new InputEvents(input, signal)
  try {
    while (!signal.aborted) {
      const chunk: unknown = input.read()
      if (Buffer.isBuffer(chunk)) yield splitter.push(chunk)
      else if (events.hasEnded) break
      else await events.next()
    }
    for (let isOver = !signal.aborted; !isOver;) {
      // Without a pause, so that a stream that never pauses ends here.
      const lines = readBuffered(input, splitter)
      isOver = events.hasEnded || events.isGraceOver || !splitter.isWithinLine
      if (isOver) input.destroy()
      yield lines
      if (!isOver) await events.next()
    }
  } finally {
    events.stop()
  }
  yield splitter.end()
  if (events.error !== undefined) throw events.error
}

/** Events of the input and of the signal, as promises. */
class InputEvents {
  hasEnded = false
  error: Error | undefined
  /** A signal has stopped the input long enough ago for its current line to end. */
  isGraceOver = false
  readonly #input: Readable
  readonly #signal: AbortSignal
  #timer: NodeJS.Timeout | undefined
  #notify: () => void = () => {}
  #hasHappened = false

  constructor(input: Readable, signal: AbortSignal) {
    this.#input = input
    this.#signal = signal
    input.on('readable', this.#onEvent).on('end', this.#onEnd).on('close', this.#onEnd)
    input.on('error', this.#onError)
    signal.addEventListener('abort', this.#onAbort, { once: true })
    if (signal.aborted) this.#onAbort()
  }

  /** Resolves when something has happened since the last call. */
  async next(): Promise<void> {
    if (!this.#hasHappened) await new Promise<void>(resolve => (this.#notify = resolve))
    this.#hasHappened = false
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#input.off('readable', this.#onEvent).off('end', this.#onEnd).off('close', this.#onEnd)
    this.#input.destroy() // the handler of errors stays: a late one means nothing
  }

  readonly #onEvent = (): void => {
    this.#hasHappened = true
    this.#notify()
  }
  readonly #onEnd = (): void => {
    this.hasEnded = true
    this.#onEvent()
  }
  readonly #onError = (error: Error): void => {
    this.error ??= error
    this.#onEnd()
  }
  readonly #onAbort = (): void => {
    this.#timer = setTimeout(() => {
      this.isGraceOver = true
      this.#onEvent()
    }, LINE_GRACE_MS)
    this.#onEvent()
  }
}

/** Whether the descriptor can be read directly, because it never blocks and nothing reads it in the background. */
function isPipe(input: Readable): boolean {
  return input === process.stdin && input instanceof Socket && !process.stdin.isTTY
}

/** Returns the lines of all bytes that have left the input, and of a pipe also the rest of the current line. */
function readBuffered(input: Readable, splitter: LineSplitter): Buffer[] {
  const lines: Buffer[] = []
  for (;;) {
    const chunk: unknown = input.read()
    const bytes = Buffer.isBuffer(chunk)
      ? chunk
      : splitter.isWithinLine && isPipe(input)
        ? readRestOfLine()
        : undefined
    if (bytes === undefined || bytes.length === 0) return lines
    lines.push(...splitter.push(bytes))
  }
}

/**
 * Reads a pipe up to the end of the current line and not beyond, so that a stream that never pauses is not cut
 * within a line. Returns what the pipe has of the line, at most 64 KiB.
 */
function readRestOfLine(): Buffer {
  const bytes = Buffer.alloc(SINGLE_BYTES)
  let length = 0
  while (length < SINGLE_BYTES && bytes[length - 1] !== NEWLINE) {
    if (!readByte(bytes, length)) break
    length++
  }
  return bytes.subarray(0, length)
}

/** Returns whether there was a byte. */
function readByte(bytes: Buffer, offset: number): boolean {
  try {
    return readSync(0, bytes, offset, 1, null) === 1
  } catch {
    return false // EAGAIN, or a failure that Node will report
  }
}
