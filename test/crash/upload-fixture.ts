/**
 * One upload on a shared emulator, with its own spool directory. Starts workers and spools on it, and reads the
 * resulting state from OSS and from the disk.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import OSS from 'ali-oss'
import { decodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'
import { Spool, type UploadOptions } from '../../src/index.js'
import { TOKEN_HEADER } from '../../src/oss/bucket.js'
import { partsOf, createPlan } from '../../src/upload/model/plan.js'
import { BUCKET, QUICK, type Bench } from '../support/oss.js'
import { WorkerProcess, type DiskPlan, type Job } from './worker-process.js'
import { contentOf } from './seeded-content.js'

export const PART = 102_400

let fixtures = 0

/** Entry of OSS's ListParts reply. */
interface ListedPart {
  readonly PartNumber: string | number
  readonly Size: string | number
  readonly ETag: string
}

export class UploadFixture {
  readonly bench: Bench
  readonly key: string
  readonly id: string
  readonly dir: string
  readonly seed: number
  readonly size: number
  readonly options: UploadOptions
  readonly oss: OSS

  constructor(bench: Bench, size: number, options: UploadOptions = {}) {
    const number = ++fixtures
    this.bench = bench
    this.key = `objects/${number}`
    this.id = `upload-${number}`
    this.dir = join(bench.dir, `${process.pid}-${number}`, 'spool')
    this.seed = number
    this.size = size
    this.options = { partSize: PART, retry: QUICK, timeout: 20_000, ...options }
    this.oss = new OSS(bench.oss.clientOptions(BUCKET))
  }

  /** Content of the worker's source. */
  get content(): Buffer {
    return contentOf(this.seed, this.size)
  }

  /** Creates a spool on this upload's directory, as a new process would. */
  spool(): Spool {
    const client = this.bench.oss.clientOptions(BUCKET)
    return new Spool({ client, dir: this.dir, ...this.options })
  }

  startWorker(job: Partial<Job> & Pick<Job, 'step'>, disk?: DiskPlan): WorkerProcess {
    const { key, id, dir, seed, size, options } = this
    const client = this.bench.oss.clientOptions(BUCKET)
    return new WorkerProcess({ client, dir, key, id, seed, size, options, ...job }, disk)
  }

  get(): Promise<Buffer | undefined> {
    return this.bench.get(this.key)
  }

  /** Returns the token of the object, which names the run that wrote it. */
  async token(): Promise<string | undefined> {
    try {
      const { res } = await this.oss.head(this.key)
      const { [TOKEN_HEADER]: token } = res.headers as Record<string, string | undefined>
      return token
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 404) return undefined
      throw error
    }
  }

  /** Reads the checkpoint from the disk. Resolves with `undefined` if there is none. */
  async checkpoint(): Promise<Checkpoint | undefined> {
    const text = await readFile(join(this.dir, this.id, 'checkpoint.json'), 'utf8').catch(
      () => undefined,
    )
    return text === undefined ? undefined : decodeCheckpoint(text)
  }

  /** Lists the upload ids at this key. */
  async uploadIds(): Promise<string[]> {
    const { uploads } = await this.oss.listUploads({ prefix: this.key, 'max-uploads': 1000 }, {})
    return uploads
      .filter(({ name }: { name: string }) => name === this.key)
      .map(({ uploadId }: { uploadId: string }) => uploadId)
  }

  /** Lists the parts of an upload id. Resolves with an empty list if the id does not exist. */
  async parts(uploadId: string): Promise<ListedPart[]> {
    try {
      // The client's declarations require a query that OSS does not, and lack the list of parts.
      const list = this.oss.listParts.bind(this.oss) as unknown as (
        key: string,
        uploadId: string,
      ) => Promise<{ parts: ListedPart | ListedPart[] }>
      return [(await list(this.key, uploadId)).parts ?? []].flat()
    } catch (error) {
      if (error instanceof Error && 'status' in error && error.status === 404) return []
      throw error
    }
  }

  /** Returns the number of bytes of `content` that OSS does not have under `uploadId`. */
  async missingBytes(content: Buffer, uploadId: string | undefined): Promise<number> {
    const listed = uploadId === undefined ? [] : await this.parts(uploadId)
    const etags = new Map(listed.map(part => [Number(part.PartNumber), part.ETag]))
    const parts = partsOf(createPlan(PART, this.options.size), content.length)
    return parts
      .filter(({ number, start, size }) => {
        const md5 = createHash('md5')
          .update(content.subarray(start, start + size))
          .digest('hex')
        return etags.get(number)?.replaceAll('"', '').toLowerCase() !== md5
      })
      .reduce((sum, { size }) => sum + size, 0)
  }

  /** Lists the files below the spool directory, relative to it. */
  async files(): Promise<string[]> {
    const entries = await readdir(this.dir, { recursive: true, withFileTypes: true }).catch(
      () => [],
    )
    return entries
      .map(entry => join(entry.parentPath, entry.name).slice(this.dir.length + 1))
      .toSorted()
  }
}
