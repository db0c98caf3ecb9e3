/** Checks of multipart uploads in unusual orders. */
import { PART_SIZE, type Reply, type Target } from '../target.js'
import { elementText } from '../xml.js'
import { content, etagOf, type Check } from './check.js'

/** An upload id that was never issued. */
const LOST_ID = '0004B9894A22E5B1888A1E29F8236E2D'
const WRONG_ETAG = '"00000000000000000000000000000000"'

type PartEntry = readonly [number: number, etag: string]

/** One upload id, and the requests that name it. */
class MultipartUpload {
  readonly key: string
  readonly uploadId: string
  readonly #target: Target

  constructor(target: Target, key: string, uploadId: string) {
    this.#target = target
    this.key = key
    this.uploadId = uploadId
  }

  /** Uploads a part. Resolves with its entry for `complete`. */
  async part(number: number, size = PART_SIZE, seed = `part ${number}`): Promise<PartEntry> {
    const query = { partNumber: String(number), uploadId: this.uploadId }
    const reply = await this.#target.send('PUT', this.key, { query, body: content(size, seed) })
    return [number, etagOf(reply)]
  }

  async complete(
    parts: readonly PartEntry[],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply> {
    const xml = parts.map(
      ([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`,
    )
    return this.completeWith(
      `<CompleteMultipartUpload>${xml.join('')}</CompleteMultipartUpload>`,
      headers,
    )
  }

  completeWith(body: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    const query = { uploadId: this.uploadId }
    const type = { 'content-type': 'application/xml' }
    return this.#target.send('POST', this.key, { query, body, headers: { ...type, ...headers } })
  }

  list(more: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return this.#target.send('GET', this.key, { query: { uploadId: this.uploadId, ...more } })
  }

  abort(): Promise<Reply> {
    return this.#target.send('DELETE', this.key, { query: { uploadId: this.uploadId } })
  }

  /** Sends one request of each kind. */
  async useAll(): Promise<void> {
    const entry = await this.part(2, 10)
    await this.list()
    await this.complete([entry])
    await this.abort()
  }

  async read(): Promise<void> {
    await this.#target.send('HEAD', this.key)
    await this.#target.send('GET', this.key)
  }
}

async function initiate(
  target: Target,
  name: string,
  headers: Record<string, string> = {},
): Promise<MultipartUpload> {
  const key = target.folder + name
  const { text } = await target.send('POST', key, { query: { uploads: '' }, headers })
  return new MultipartUpload(target, key, elementText(text, 'UploadId') ?? LOST_ID)
}

export const MULTIPART_CHECKS: readonly Check[] = [
  {
    name: 'Complete twice',
    async run(target) {
      const upload = await initiate(target, 'twice')
      const parts = [await upload.part(1)]
      await upload.complete(parts)
      await upload.complete(parts)
      await upload.useAll()
      await upload.read()
    },
  },
  {
    name: 'Complete after abort',
    async run(target) {
      const upload = await initiate(target, 'aborted')
      const parts = [await upload.part(1, 10)]
      await upload.abort()
      await upload.complete(parts)
      await upload.useAll()
      await upload.read()
    },
  },
  {
    name: 'refused Complete',
    async run(target) {
      const upload = await initiate(target, 'refused')
      const first = await upload.part(1)
      const second = await upload.part(2, 10)
      const third = await upload.part(3, 10)
      await upload.complete([second, first])
      await upload.complete([first, first])
      await upload.complete([[1, WRONG_ETAG], second])
      await upload.complete([first, [4, WRONG_ETAG]])
      await upload.complete([first, second, third])
      await upload.completeWith('<CompleteMultipartUpload><Part>')
      await upload.completeWith('')
      await upload.list()
      await upload.complete([first, third])
      await upload.read()
    },
  },
  {
    name: 'Complete without parts',
    async run(target) {
      const upload = await initiate(target, 'no-parts')
      await upload.part(1, 10)
      await upload.complete([])
      await upload.read()
    },
  },
  {
    name: 'part numbers',
    async run(target) {
      const upload = await initiate(target, 'numbers')
      await upload.part(0, 10)
      await upload.part(10_001, 10)
      const old = await upload.part(10_000, 10, 'old')
      const current = await upload.part(10_000, 20, 'new')
      const fifth = await upload.part(5)
      await upload.list()
      await upload.complete([fifth, old])
      await upload.complete([fifth, current])
      await upload.read()
    },
  },
  {
    name: 'ListParts in pages',
    async run(target) {
      const upload = await initiate(target, 'pages')
      for (const number of [1, 2, 3]) await upload.part(number, 10)
      await upload.list({ 'max-parts': '2' })
      await upload.list({ 'max-parts': '2', 'part-number-marker': '2' })
      await upload.list({ 'max-parts': '2', 'part-number-marker': '3' })
      await upload.list({ 'max-parts': '1001' })
      await upload.abort()
    },
  },
  {
    name: 'metadata of Initiate',
    async run(target) {
      const upload = await initiate(target, 'metadata', {
        'content-type': 'text/csv',
        'cache-control': 'no-cache',
        'content-disposition': 'attachment',
        'x-oss-meta-owner': 'check',
      })
      await upload.complete([await upload.part(1, 10)])
      await upload.read()
    },
  },
  {
    name: 'forbid-overwrite of Complete',
    async run(target) {
      const forbid = { 'x-oss-forbid-overwrite': 'true' }
      const early = await initiate(target, 'claimed', forbid)
      const parts = [await early.part(1, 10)]
      await target.send('PUT', early.key, { body: 'theirs' })
      await early.complete(parts, forbid)
      await early.list()
      await early.abort()
      await initiate(target, 'claimed', forbid)
      await early.read()
    },
  },
  {
    name: 'overwrite by Complete',
    async run(target) {
      const first = await initiate(target, 'overwritten')
      const second = await initiate(target, 'overwritten')
      await target.send('PUT', first.key, { body: 'old' })
      await first.complete([await first.part(1, 10, 'first')])
      await second.complete([await second.part(1, 10, 'second')])
      await second.read()
    },
  },
  {
    name: 'unfinished uploads',
    async run(target) {
      const uploads = [
        await initiate(target, 'unfinished/a'),
        await initiate(target, 'unfinished/b'),
      ]
      const prefix = `${target.folder}unfinished/`
      await target.send('GET', '', { query: { uploads: '', prefix } })
      await target.send('GET', '', { query: { uploads: '', prefix, 'max-uploads': '1' } })
      const marker = { 'key-marker': `${prefix}a` }
      await target.send('GET', '', { query: { uploads: '', prefix, ...marker } })
      for (const upload of uploads) await upload.abort()
      await target.send('GET', '', { query: { uploads: '', prefix } })
    },
  },
  {
    name: 'lost upload id',
    async run(target) {
      await new MultipartUpload(target, `${target.folder}lost`, LOST_ID).useAll()
      const other = await initiate(target, 'lost-other')
      await new MultipartUpload(target, `${target.folder}lost`, other.uploadId).useAll()
      await other.abort()
      await other.abort()
    },
  },
]
