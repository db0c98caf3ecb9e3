/** Runs all checks against one side and removes what they have made. */
import { errorMessage } from '../util/error-shape.js'
import { ERROR_CHECKS } from './checks/error-checks.js'
import { MULTIPART_CHECKS } from './checks/multipart-checks.js'
import { OBJECT_CHECKS } from './checks/object-checks.js'
import { SPOOL_CHECKS } from './checks/spool-checks.js'
import { isNote } from './exchange.js'
import type { Target } from './target.js'
import { elementTexts } from './xml.js'

const CHECKS = [...SPOOL_CHECKS, ...OBJECT_CHECKS, ...MULTIPART_CHECKS, ...ERROR_CHECKS]

/** Name of the removal in the records. It is not compared. */
export const CLEAN_UP = 'clean-up'
const CLEAN_UP_ROUNDS = 3

/**
 * Runs the checks. One that fails does not stop the others.
 * @returns why something below the folder may be left, or `undefined`
 */
export async function runChecks(target: Target, signal: AbortSignal): Promise<string | undefined> {
  const { recorder } = target
  for (const check of CHECKS) {
    if (signal.aborted) break
    recorder.check = check.name
    await check.run(target).catch((error: unknown) => recorder.note('failed', errorMessage(error)))
    recorder.isCut = () => false
  }
  recorder.check = CLEAN_UP
  recorder.isCleaningUp = true
  let left: string | undefined
  for (let round = 0; round < CLEAN_UP_ROUNDS; round++) {
    left = await cleanUp(target).catch(errorMessage)
    if (left === undefined) break
  }
  return left
}

/** Removes upload ids, objects and, in a bucket that keeps versions, each version that a reply named. */
async function cleanUp(target: Target): Promise<string | undefined> {
  const prefix = target.folder
  const uploads = await target.send('GET', '', { query: { uploads: '', prefix } })
  const ids = elementTexts(uploads.text, 'UploadId')
  for (const [i, key] of elementTexts(uploads.text, 'Key').entries()) {
    await target.send('DELETE', key, { query: { uploadId: ids[i] ?? '' } })
  }
  const objects = await target.send('GET', '', { query: { prefix, 'max-keys': '1000' } })
  for (const key of elementTexts(objects.text, 'Key')) await target.send('DELETE', key)
  for (const { key, versionId } of versionsOf(target)) {
    await target.send('DELETE', key, { query: { versionId } })
  }
  const left = await target.send('GET', '', { query: { prefix } })
  const statuses = [uploads, objects, left].map(({ status }) => status)
  if (statuses.some(status => status !== 200)) return `the listings answered ${statuses.join(', ')}`
  const keys = elementTexts(left.text, 'Key')
  return keys.length === 0 ? undefined : `${keys.length} objects could not be removed`
}

/** Versions that writes, and deletions of objects, have made. */
function versionsOf({ recorder, folder }: Target): { key: string; versionId: string }[] {
  return recorder.entries.flatMap(entry => {
    if (isNote(entry) || !['PUT', 'POST', 'DELETE'].includes(entry.method)) return []
    const versionId = entry.replyHeaders['x-oss-version-id']
    const path = decodeURIComponent(new URL(entry.url).pathname)
    const start = path.indexOf(folder)
    return versionId === undefined || start < 0 ? [] : [{ key: path.slice(start), versionId }]
  })
}
