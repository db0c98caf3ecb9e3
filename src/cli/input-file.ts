/** Opens the files of `put`. */
import { constants, createReadStream, openSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { statsOf } from './file-stats.js'

/**
 * Opens a file, or a FIFO such as that of `<(CMD)`. A FIFO is read as a pipe, without blocking a thread of Node: a read
 * that waits for its writer could not be cancelled, and would keep the process alive after a signal.
 */
export function openInputFile(file: string): Readable {
  // Elsewhere, such a FIFO would seem to end before its writer has opened it.
  if (process.platform !== 'linux' || !statsOf(file).isFIFO())
    return createReadStream(file, { highWaterMark: 1024 * 1024 })
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  return new Socket({ fd, readable: true, writable: false })
}
