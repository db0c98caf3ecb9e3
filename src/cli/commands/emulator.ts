/** `oss-spool emulator`: a local OSS until SIGINT or SIGTERM. */
import { once } from 'node:events'
import type { Session } from '../session.js'

export interface EmulatorOptions {
  readonly dir: string
  readonly port: number
  readonly host: string
}

export async function emulator(session: Session, options: EmulatorOptions): Promise<number> {
  const { describe, startEmulator } = await import('../../emulator/index.js')
  const oss = await startEmulator({ ...options, createBuckets: true })
  session.onClose(() => oss.close())
  session.io.stdout.write(`${describe(oss)}\n`)
  if (!session.signal.aborted) await once(session.signal, 'abort')
  return 0
}
