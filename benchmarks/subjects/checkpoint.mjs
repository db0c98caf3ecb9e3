/** Repeatedly writes the checkpoint of an upload with `parts` parts: ours, and the usual one. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { JSONFilePreset } from 'lowdb/node'
import { CheckpointDb, CheckpointFile } from '../../.build/disk/checkpoint-db.js'
import { newCheckpoint, startSpooling } from '../../.build/upload/model/phase.js'
import { createPlan } from '../../.build/upload/model/plan.js'

const WRITES = 20
const PART = 8 * 2 ** 20

export const where = 'nowhere'

export async function run({ dir, parts }) {
  return {
    ours: await timed(join(dir, 'checkpoint.json'), ours(dir, parts)),
    lowdb: await timed(join(dir, 'lowdb.json'), await usual(dir, parts)),
  }
}

async function timed(path, write) {
  await write()
  const start = performance.now()
  for (let i = 0; i < WRITES; i++) await write()
  return { ms: (performance.now() - start) / WRITES, bytes: statSync(path).size }
}

function ours(dir, parts) {
  const place = {
    endpoint: 'https://oss',
    region: 'r',
    bucket: 'b',
    cname: false,
    pathStyle: false,
  }
  const plan = createPlan(PART, parts * PART)
  const fresh = startSpooling({
    plan,
    object: {},
    replay: 'offset',
    once: false,
    file: 'spool-1-a',
  })
  const crcs = Array.from({ length: parts }, (_, i) => String(2n ** 63n + BigInt(i)))
  const checkpoint = newCheckpoint('id', place, 'key', {
    ...fresh,
    uploadId: 'u',
    crcs,
    spooled: parts * PART,
  })
  const store = new CheckpointDb(new CheckpointFile(join(dir, 'checkpoint.json')))
  return () => store.write(checkpoint)
}

/** Writes the checkpoint that `multipartUpload` passes to its `progress`. */
async function usual(dir, parts) {
  const db = await JSONFilePreset(join(dir, 'lowdb.json'), {})
  const file = join(dir, 'temp')
  const doneParts = Array.from({ length: parts }, (_, i) => ({
    number: i + 1,
    etag: `"${String(i).padStart(32, '0')}"`,
  }))
  const partOffs = doneParts.map(({ number }) => ({
    start: (number - 1) * PART,
    end: number * PART,
  }))
  db.data.key = {
    file,
    name: 'key',
    fileSize: parts * PART,
    partSize: PART,
    uploadId: 'u',
    doneParts,
    partOffs,
  }
  return () => db.write()
}
