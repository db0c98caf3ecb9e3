/**
 * The recipe for resumable uploads from the documentation of ali-oss, unchanged: five attempts, with the
 * checkpoint saved from `progress` and passed back in. Also with a checkpoint from a file after a restart.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { aliOss, type Client } from './clients.js'

const BYTES = randomBytes(3_500_000)

/** @param store – called with each checkpoint */
async function resumeUpload(
  client: Client,
  filePath: string,
  checkpoint: unknown,
  store: (cpt: unknown) => void = () => undefined,
  attempts = 5,
): Promise<{ failures: unknown[]; result: Client }> {
  const failures: unknown[] = []
  for (let i = 0; i < attempts; i++) {
    try {
      const result = await client.multipartUpload('object-name', filePath, {
        checkpoint,
        // oxlint-disable-next-line typescript/require-await -- as in the documentation
        async progress(_percentage: number, cpt: unknown) {
          checkpoint = cpt
          store(cpt)
        },
      })
      return { failures, result }
    } catch (error) {
      failures.push(error)
    }
  }
  return { failures, result: undefined }
}

t.test('ali-oss’s resume recipe succeeds after two failed parts, with one upload id', async t => {
  const oss = await startEmulator({
    buckets: ['bkt'],
    faults: [{ operation: 'UploadPart', partNumber: 2, times: 2, do: 'reset', at: 'body' }],
  })
  t.teardown(() => oss.close())
  const path = join(t.testdir(), 'file')
  writeFileSync(path, BYTES)
  const client = aliOss(oss, 'bkt')
  const { failures, result } = await resumeUpload(client, path, undefined)
  t.equal(failures.length, 2)
  t.equal(result.res.status, 200)
  t.ok(BYTES.equals((await client.get('object-name')).content))
  t.equal(oss.requests.filter(r => r.operation === 'InitiateMultipartUpload').length, 1)
})

t.test(
  'ali-oss’s resume recipe continues from a file after client and emulator restart',
  async t => {
    const dir = t.testdir()
    const path = join(dir, 'file')
    writeFileSync(path, BYTES)
    const first = await startEmulator({
      dir: join(dir, 'oss'),
      buckets: ['bkt'],
      faults: [
        // the other parts are stored by the time these two fail
        {
          operation: 'UploadPart',
          partNumber: [3, 4],
          times: 'always',
          do: 'delay',
          ms: 300,
          at: 'received',
        },
        {
          operation: 'UploadPart',
          partNumber: [3, 4],
          times: 'always',
          do: 'answer',
          status: 503,
          at: 'received',
          code: 'ServiceUnavailable',
        },
      ],
    })
    const saved = join(dir, 'checkpoint.json')
    const store = (cpt: unknown) => writeFileSync(saved, JSON.stringify(cpt))
    const { failures } = await resumeUpload(aliOss(first, 'bkt'), path, undefined, store, 2)
    t.equal(failures.length, 2)
    await first.close()

    const second = await startEmulator({ dir: join(dir, 'oss') })
    t.teardown(() => second.close())
    const client = aliOss(second, 'bkt')
    const { result } = await resumeUpload(client, path, JSON.parse(readFileSync(saved, 'utf8')))
    t.equal(result.res.status, 200)
    t.ok(BYTES.equals((await client.get('object-name')).content))
    const parts = second.requests.filter(r => r.operation === 'UploadPart').map(r => r.partNumber)
    t.same(new Set(parts), new Set([3, 4]), 'only the missing parts are sent')
  },
)
