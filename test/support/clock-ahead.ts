/** Records of a clock that was wrong. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeCheckpoint, encodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'

/** Dates the record of upload `id` in the spool directory `dir` as if the clock had been `ms` ahead. */
export async function dateAhead(dir: string, id: string, ms: number): Promise<void> {
  const path = join(dir, id, 'checkpoint.json')
  const checkpoint = decodeCheckpoint(await readFile(path, 'utf8'))
  const text = JSON.stringify(checkpoint).replaceAll(/"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, time =>
    JSON.stringify(new Date(Date.parse(JSON.parse(time)) + ms).toISOString()),
  )
  const ahead: Checkpoint = JSON.parse(text) // only times have changed
  await writeFile(path, encodeCheckpoint(ahead))
}
