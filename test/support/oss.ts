/** An emulator, a spool and a real `ali-oss` client for one test, removed when the test ends. */
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import OSS from 'ali-oss'
import type { Test } from 'tap'
import { startEmulator, type Emulator, type EmulatorOptions } from '../../src/emulator/index.js'
import { Spool, type SpoolOptions, type SpoolWarning } from '../../src/index.js'
import { removeDirectory } from './remove-directory.js'

export const BUCKET = 'test-bucket'

/** Short delays, so that tests of retries are fast. */
export const QUICK = { attempts: 3, minDelay: 1, maxDelay: 20 }

export interface Bench {
  readonly oss: Emulator
  readonly spool: Spool
  readonly dir: string
  /** Warnings that the spools have emitted. */
  readonly warnings: SpoolWarning[]
  /** Creates another spool on the same directory, as another process would. */
  readonly another: (options?: Partial<SpoolOptions>) => Spool
  /** Resolves with the object's bytes, or `undefined` if it does not exist. */
  readonly get: (key: string) => Promise<Buffer | undefined>
  /** Returns the number of requests of an operation that succeeded. */
  readonly count: (operation: string) => number
}

let benches = 0

export async function bench(
  t: Test,
  options: { emulator?: EmulatorOptions; spool?: Partial<SpoolOptions>; v4?: boolean } = {},
): Promise<Bench> {
  const oss = await startEmulator({ buckets: [BUCKET], dir: t.testdir({}), ...options.emulator })
  t.teardown(() => oss.close())
  const dir = `${t.testdirName}-spool-${benches++}`
  const authorizationV4 = options.v4 ?? true
  const client = { ...oss.clientOptions(BUCKET), authorizationV4 }
  const warnings: SpoolWarning[] = []
  const another = (more: Partial<SpoolOptions> = {}): Spool => {
    const spool = new Spool({
      client,
      dir,
      partSize: 102_400,
      retry: QUICK,
      ...options.spool,
      ...more,
    })
    spool.on('warning', warning => warnings.push(warning))
    return spool
  }
  t.teardown(() => removeDirectory(dir))
  const reader = new OSS(client)
  return {
    oss,
    dir,
    warnings,
    spool: another(),
    another,
    get: async key => {
      try {
        const { content } = await reader.get(key)
        return Buffer.isBuffer(content) ? content : Buffer.from(String(content))
      } catch (error) {
        if (error instanceof Error && 'status' in error && error.status === 404) return undefined
        throw error
      }
    },
    count: operation =>
      oss.requests.filter(
        ({ operation: name, status }) => name === operation && status !== undefined && status < 300,
      ).length,
  }
}

/** Random bytes, and a stream of them in uneven chunks. */
export function bytes(size: number): Buffer {
  return randomBytes(size)
}

export function streamOf(data: Buffer, chunk = 30_011): Readable {
  return Readable.from(
    (function* () {
      for (let i = 0; i < data.length; i += chunk) yield data.subarray(i, i + chunk)
    })(),
    { objectMode: false },
  )
}

/** Returns a stream that emits `data` and fails as soon as `until` returns true. */
export function failingAfter(data: Buffer, error: Error, until = () => true): Readable {
  return Readable.from(
    (async function* () {
      yield data
      do await new Promise(resolve => setTimeout(resolve, 5))
      while (!until())
      throw error
    })(),
    { objectMode: false },
  )
}

export function sha256(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}
