/**
 * A fixture: one upload of its own on a shared emulator, with a spool directory of its own. What a
 * worker does there, what a later process does, and what is then on OSS and on the disk.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import OSS from 'ali-oss'
import { decodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'
import { Spool, type UploadOptions } from '../../src/index.js'
import { partsOf, createPlan } from '../../src/upload/plan.js'
import { BUCKET, QUICK, type Bench } from '../support/oss.js'
import { WorkerProcess, type DiskPlan, type Job } from './worker-process.js'
import { contentOf } from './seeded-content.js'

export const PART = 102_400

let fixtures = 0

/** A part that OSS lists. */
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

  /** What the worker's source gives. */
  get content(): Buffer {
    return contentOf(this.seed, this.size)
  }

  /** A spool on this fixture's directory, as a new process has it. */
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

  /** As it is on the disk; `undefined`: there is none. */
  async checkpoint(): Promise<Checkpoint | undefined> {
    const text = await readFile(join(this.dir, this.id, 'checkpoint.json'), 'utf8').catch(
      () => undefined,
    )
    return text === undefined ? undefined : decodeCheckpoint(text)
  }

  /** Upload ids at this key. */
  async uploadIds(): Promise<string[]> {
    const { uploads } = await this.oss.listUploads({ prefix: this.key, 'max-uploads': 1000 }, {})
    return uploads
      .filter(({ name }: { name: string }) => name === this.key)
      .map(({ uploadId }: { uploadId: string }) => uploadId)
  }

  /** Parts under an upload id; none if that is gone. */
  async parts(uploadId: string): Promise<ListedPart[]> {
    try {
      // The client's declarations want a query that OSS does not, and know no list of parts.
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

  /** Bytes of `content` that OSS does not have under `uploadId`. */
  async lacking(content: Buffer, uploadId: string | undefined): Promise<number> {
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

  /** Files below the spool directory, relative to it. */
  async files(): Promise<string[]> {
    const entries = await readdir(this.dir, { recursive: true, withFileTypes: true }).catch(
      () => [],
    )
    return entries
      .map(entry => join(entry.parentPath, entry.name).slice(this.dir.length + 1))
      .toSorted()
  }
}
