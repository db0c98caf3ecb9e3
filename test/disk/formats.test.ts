/**
 * Upgrades: checkpoints in the format of any earlier version can be read, and their sealed uploads can be
 * finished. The fixtures were written by the code of that version (`fixtures/make.mjs`).
 */
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { decodeCheckpoint, FORMAT, type Checkpoint } from '../../src/disk/checkpoint.js'
import { Spool } from '../../src/index.js'
import { connect } from '../../src/oss/connection.js'
import { bench, BUCKET, QUICK } from '../support/oss.js'
import { pathOf } from '../support/project.js'

const FIXTURES = pathOf('test/disk/fixtures')
/** The upload in the fixtures. Its bytes are `text`, repeated up to `size`. */
const {
  endpoint: ENDPOINT,
  size,
  text,
} = JSON.parse(readFileSync(join(FIXTURES, 'upload.json'), 'utf8'))
const CONTENT = Buffer.alloc(size, text)
/** Kinds of checkpoints that are new in each format, those that `resume` can finish, and what they contain. */
const FORMATS: Record<number, { finishable: string[]; kinds: Record<string, object> }> = {
  1: {
    finishable: ['completing', 'previous', 'sealed'],
    kinds: {
      spooling: { id: 'spooling', upload: { phase: 'spooling', acknowledged: 2 } },
      sealed: { id: 'sealed', upload: { phase: 'sealed', size: CONTENT.length } },
      host: { host: 'web-1', upload: { phase: 'sealed' } },
      previous: { upload: { phase: 'spooling' }, previous: { phase: 'sealed' } },
      completing: { upload: { phase: 'completing', method: 'multipart' } },
      published: { upload: { phase: 'published', once: true, parts: 3 } },
      freed: { upload: { phase: 'spooling', freed: [[1, 3]] } },
      met: { upload: { phase: 'sealed', freed: [[1, 11]], met: { md5: /^[0-9a-f]{32}$/ } } },
    },
  },
  2: {
    finishable: ['committed', 'moved', 'prefix', 'unanswered'],
    kinds: {
      committed: { upload: { phase: 'spooling', committed: { size: CONTENT.length } } },
      prefix: { upload: { phase: 'sealed', prefix: true, size: CONTENT.length } },
      unanswered: { upload: { phase: 'sealed' }, unanswered: [String] },
      put: { upload: { phase: 'sealed', unansweredPut: true, size: text.length } },
      compressed: {
        upload: {
          phase: 'sealed',
          source: { compression: 'gzip', size: CONTENT.length, sha256: /^[0-9a-f]{64}$/ },
        },
      },
      moved: { key: 'a/moved.txt', movedFrom: [{ key: 'a/old.txt', superseded: [String] }] },
    },
  },
}

const textOf = (format: string, kind: string): string =>
  readFileSync(join(FIXTURES, `format-${format}`, `${kind}.json`), 'utf8')

/**
 * Returns a spool whose directory was left by an earlier version, and an emulator without any of its data.
 */
async function leftBehind(t: Test, format: string, kind: string) {
  const { oss, dir, get } = await bench(t)
  const text = textOf(format, kind)
  const checkpoint = decodeCheckpoint(text)
  const { id, upload, previous } = checkpoint
  await mkdir(join(dir, id), { recursive: true, mode: 0o700 })
  await writeFile(join(dir, id, 'checkpoint.json'), text, { mode: 0o600 })
  const bytes = (record: Checkpoint['upload']) => CONTENT.subarray(0, record.spooled)
  for (const record of [upload, previous]) {
    if (record === undefined || record.phase === 'published') continue
    await writeFile(join(dir, id, record.file), bytes(record), { mode: 0o600 })
  }
  const client = connect(oss.clientOptions(BUCKET), { name: ENDPOINT, endpoint: oss.endpoint })
  t.teardown(() => client.close())
  return { id, key: checkpoint.key, spool: new Spool({ client, dir, retry: QUICK }), oss, get }
}

t.test('fixtures exist for every checkpoint format up to the current one', async t => {
  const formats = readdirSync(FIXTURES).filter(name => name.startsWith('format-'))
  t.same(
    formats.toSorted(),
    Array.from({ length: FORMAT }, (_, i) => `format-${i + 1}`),
  )
})

for (const [format, { finishable, kinds }] of Object.entries(FORMATS)) {
  t.test(`checkpoints of format ${format} are readable in every phase`, async t => {
    const files = readdirSync(join(FIXTURES, `format-${format}`))
    const names = Object.keys(kinds).toSorted()
    t.same(files.map(file => basename(file, '.json')).toSorted(), names)
    for (const kind of names) {
      const text = textOf(format, kind)
      const read = decodeCheckpoint(text)
      t.match(read, kinds[kind] ?? {})
      t.match(JSON.parse(text), { format: Number(format), checkpoint: read }, 'no property is lost')
    }
  })

  for (const kind of finishable) {
    t.test(
      `resume() finishes a format ${format} checkpoint (${kind}) without its source`,
      async t => {
        const { id, key, spool, get } = await leftBehind(t, format, kind)
        t.match(await spool.uploads(), [{ id, key, endpoint: ENDPOINT }])
        const result = await spool.resume(id)
        t.match(result, { key, size: CONTENT.length, sent: CONTENT.length, resumed: true })
        t.same(await get(key), CONTENT)
        const left = await spool.uploads()
        t.same(
          left.filter(({ phase }) => phase !== 'spooling'),
          [],
          'the later stream is kept',
        )
      },
    )
  }
}

for (const format of ['1']) {
  t.test(`upload() reads the source of an unsealed format ${format} upload again`, async t => {
    const { id, key, spool, get } = await leftBehind(t, format, 'spooling')
    await t.rejects(spool.resume(id), { code: 'ERR_SPOOL_UNSEALED' })
    t.match(await spool.upload(key, () => [CONTENT], { id }), { size: CONTENT.length })
    t.same(await get(key), CONTENT)
  })

  t.test(`upload() accepts a format ${format} receipt without reading its source`, async t => {
    const { id, key, spool, oss } = await leftBehind(t, format, 'published')
    const never = (): never => {
      throw new Error('the source function was called')
    }
    const result = await spool.upload(key, never, { id, once: true })
    t.match(result, { receipt: true, size: CONTENT.length, parts: 3 })
    t.same(oss.requests, [])
  })
}
