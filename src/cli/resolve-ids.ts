/** Resolves the arguments of `resume`, `show` and `abort`: an id, the unique start of one, or the URL of an object. */
import type { RecordStore } from '../disk/record-store.js'
import { SpoolError } from '../errors.js'
import type { UploadStatus } from '../upload/maintenance/status.js'
import { checkId } from '../upload/model/names.js'
import { UsageError } from './exit-status.js'
import { selectedContent, selectedRecords, type FleetRecordFlags } from './fleet-records.js'
import type { IsOwnUpload, Session } from './session.js'
import { parseTarget } from './target.js'

/**
 * Resolves each argument to the full id of an upload. A valid id that matches nothing is returned as it is.
 * @param isOwn – preferred if the object of a URL has uploads at several endpoints
 * @throws UsageError if an argument is ambiguous; SpoolError `ERR_SPOOL_NOT_FOUND` if a URL has no upload
 */
export async function resolveIds(
  session: Session,
  args: readonly string[],
  flags: FleetRecordFlags,
  isOwn: IsOwnUpload = () => false,
): Promise<string[]> {
  const records = await selectedRecords(session, flags)
  const hasUrl = args.some(isUrl)
  const { uploads } = hasUrl ? await selectedContent(session, flags) : { uploads: [] }
  const ids: string[] = []
  for (const arg of args) {
    if (isUrl(arg)) ids.push(idOfObject(arg, uploads, isOwn))
    else if (await hasOrUnknown(records, arg)) ids.push(arg)
    else ids.push(idStartingWith(arg, await records.ids()))
  }
  return [...new Set(ids)]
}

/** An inaccessible directory is reported by the command itself. */
function hasOrUnknown(records: RecordStore, id: string): Promise<boolean> {
  return records.has(id).catch(() => true)
}

function isUrl(arg: string): boolean {
  return arg.startsWith('oss://')
}

function idStartingWith(prefix: string, ids: readonly string[]): string {
  const matches = prefix === '' ? [] : ids.filter(id => id.startsWith(prefix))
  if (matches.length > 1) throw ambiguousError(prefix, matches)
  const [id = prefix] = matches
  checkId(id)
  return id
}

function idOfObject(url: string, uploads: readonly UploadStatus[], isOwn: IsOwnUpload): string {
  const { bucket, key } = parseTarget(url)
  const ofObject = uploads.filter(each => each.bucket === bucket && each.key === key)
  const unfinished = preferred(ofObject, ({ phase }) => phase !== 'receipt')
  const matches = preferred(unfinished, isOwn)
  if (matches.length > 1) {
    throw ambiguousError(
      url,
      matches.map(each => `${each.id} (${each.endpoint})`),
    )
  }
  const [match] = matches
  if (match !== undefined) return match.id
  throw new SpoolError('ERR_SPOOL_NOT_FOUND', `There is no upload to ${url}`)
}

/** Returns the items that meet a condition, or all of them if none does. */
function preferred<T>(items: readonly T[], isPreferred: (item: T) => boolean): readonly T[] {
  const found = items.filter(isPreferred)
  return found.length === 0 ? items : found
}

const MAX_CANDIDATES = 10

function ambiguousError(arg: string, candidates: readonly string[]): UsageError {
  const rest = candidates.length - MAX_CANDIDATES
  const names = candidates.slice(0, MAX_CANDIDATES).join(', ')
  return new UsageError(
    `"${arg}" matches several uploads: ${names}${rest > 0 ? ` and ${rest} more` : ''}`,
    { hint: 'Nothing was changed. Use the full id of one of them.' },
  )
}
