/** What a test file of Jest does with the library, evaluated in a realm of its own by `realm-worker.mjs`. */
import { types } from 'node:util'
import { startEmulator } from '../../src/emulator/index.js'
import { Spool, type UploadOptions, type SourceStream } from '../../src/index.js'

const BUCKET = 'test-bucket'
const SIZE = 250_000

/**
 * @param dir – does not exist yet
 * @returns for each step, what it resolved to, or the code and cause of its error
 */
export async function run(dir: string): Promise<Record<string, unknown>> {
  const oss = await startEmulator({ buckets: [BUCKET], dir: `${dir}/emulator` })
  const spool = new Spool({
    client: oss.clientOptions(BUCKET),
    dir: `${dir}/a/spool`,
    partSize: 102_400,
    retry: { attempts: 2, minDelay: 1, maxDelay: 2 },
  })
  const upload = (source: () => SourceStream, options?: UploadOptions): Promise<unknown> =>
    outcome(spool.upload('key', source, options))
  const bytes = (): Uint8Array[] => [new Uint8Array(SIZE)]
  try {
    // This file is of the new realm, Node's core is not.
    const isForeign =
      !(Buffer.from('') instanceof Uint8Array) && types.isUint8Array(Buffer.from(''))
    const uploaded = await upload(bytes)
    oss.inject({
      operation: 'CompleteMultipartUpload',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      times: 'always',
    })
    const denied = await upload(bytes)
    oss.clearFaults()
    const [left] = await spool.uploads()
    const resumed = await outcome(spool.resume(left?.id ?? ''))
    const aborted = await upload(bytes, { signal: AbortSignal.abort(new Error('enough')) })
    const failed = await upload(
      // oxlint-disable-next-line require-yield -- fails before its first chunk
      async function* () {
        throw new Error('no rows')
      },
    )
    const missing = await outcome(spool.resume('missing'))
    const wrong = await outcome((async () => spool.upload('key', bytes, { partSize: 1 }))())
    const pruned = (await spool.prune({ olderThan: 0 })).length
    return { isForeign, uploaded, denied, resumed, aborted, failed, missing, wrong, pruned }
  } finally {
    await oss.close()
  }
}

async function outcome(result: Promise<unknown>): Promise<unknown> {
  try {
    const { size, sourceRead } = Object(await result)
    return { size, sourceRead }
  } catch (error) {
    const { code, cause } = Object(error)
    return { code, cause: cause?.message }
  }
}
