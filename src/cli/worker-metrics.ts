/** `worker --metrics`: writes the metrics file every 15 s and at the end. */
import { readSpoolContent } from './spool-content.js'
import { writeMetrics, type CommandRun } from './metrics-file.js'
import type { Session, SpoolFlags } from './session.js'
import type { UploadStatus } from '../upload/maintenance/status.js'

const INTERVAL_MS = 15_000
/** ms to wait for the records in Redis. */
const READ_TIMEOUT_MS = 2_000

export class WorkerMetrics {
  readonly #write: () => Promise<void>
  readonly #timer: NodeJS.Timeout
  #lastJob: CommandRun | undefined
  #writing: Promise<void> = Promise.resolve()

  /**
   * @param path – the metrics file
   * @param listUploads – lists the uploads whose bytes are on this host
   */
  constructor(
    session: Session,
    flags: SpoolFlags,
    path: string,
    listUploads: () => Promise<UploadStatus[]>,
  ) {
    const readContent = async () => ({
      uploads: await withTimeout(listUploads()),
      quarantine: (await readSpoolContent(session, flags, () => {})).quarantine,
    })
    let hasWarned = false
    const warn = (message: string): void => {
      if (!hasWarned) session.logLine(message, { level: 'warn' })
    }
    this.#write = async () => {
      hasWarned = !(await writeMetrics(path, readContent, this.#lastJob, warn))
    }
    this.#timer = setInterval(() => void this.#update(), INTERVAL_MS).unref()
    void this.#update()
  }

  /** Records a completed job. @param elapsed – ms */
  jobCompleted(elapsed: number): void {
    this.#lastJob = { name: 'worker', duration: elapsed / 1000, succeededAt: Date.now() }
  }

  /** Writes the file for the last time. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#update()
  }

  #update(): Promise<void> {
    this.#writing = this.#writing.then(this.#write)
    return this.#writing
  }
}

/** Commands to an unreachable Redis never fail. */
async function withTimeout<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(reject, READ_TIMEOUT_MS, new Error('Redis does not answer'))
  })
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer))
}
