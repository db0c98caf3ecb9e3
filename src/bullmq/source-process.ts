/**
 * The program of a sandboxed source: runs one source and writes its bytes to file descriptor 3. The end of that pipe
 * proves nothing, so the number of bytes is reported at the end.
 */
import { once } from 'node:events'
import { Socket } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { Worker } from 'node:worker_threads'
import { openSource } from '../upload/model/source.js'
import {
  ABORT_MESSAGE,
  OUTPUT_FD,
  toErrorData,
  type SourceReport,
  type SourceTask,
} from './source-messages.js'
import { importSources } from './source-module.js'

/** Kills this process when its worker is gone, even while a source blocks the event loop. */
const WATCHDOG = `
  const { workerData: parent } = require('node:worker_threads')
  setInterval(() => process.ppid === parent || process.kill(process.pid, 'SIGKILL'), 500)`

async function run({ url, call }: SourceTask, signal: AbortSignal): Promise<SourceReport> {
  const sources = await importSources(url)
  if (call === undefined) return { names: Object.keys(sources) }
  const source = sources[call.source]
  if (source === undefined) throw new Error(`${url} does not export ${call.source} any more`)
  const { offset } = call
  // The type of the queue guarantees that these are the arguments of that source.
  const readable = await openSource(each => source(call.args as never, each), { offset, signal })
  const output = new Socket({ fd: OUTPUT_FD, readable: false, writable: true })
  await pipeline(readable, output, { signal })
  return { end: output.bytesWritten }
}

/** A terminal and some service managers send their signals to this process, too. Its worker decides when it stops. */
const IGNORED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const ignore = (): void => {}
for (const signal of IGNORED_SIGNALS) process.on(signal, ignore)

const exitWithWorker = (): void => process.exit(1)
process.once('disconnect', exitWithWorker)
const watchdogOptions = { eval: true, workerData: process.ppid, execArgv: [], env: {} }
new Worker(WATCHDOG, watchdogOptions).unref()

const stop = new AbortController()
// Only `sandboxedSources()` sends messages: first the task.
const [task] = (await once(process, 'message')) as [SourceTask]
process.on('message', message => {
  if (message !== ABORT_MESSAGE) return
  for (const signal of IGNORED_SIGNALS) process.off(signal, ignore)
  stop.abort()
})
const report = await run(task, stop.signal).catch((error: unknown) => ({
  error: toErrorData(error),
}))
if (stop.signal.aborted) {
  // Nobody waits for the report. The source may still clean up, until SIGTERM.
  process.off('disconnect', exitWithWorker)
  process.disconnect()
} else {
  // What the source has left open must not keep the process alive.
  process.send?.(report, () => process.exit(0))
}
