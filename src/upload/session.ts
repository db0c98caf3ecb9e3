/**
 * A session: the parts under one upload id. It begins with the id that the checkpoint names and what OSS
 * lists under it, or with a new one, written down before anything is sent under it (rule 5).
 */
import { isAmbiguous, errorKind, OssRequestError } from '../oss/request-error.js'
import { initiationHeaders } from '../oss/object-headers.js'
import { TOKEN_HEADER, type ListedPart, type ObjectInfo } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { BytesLost, isAnyFreed } from './freed.js'
import type { Ledger } from './ledger.js'
import { withRetry, type Attempts } from './retry.js'
import { isOurs } from './settle.js'

export interface DonePart {
  readonly number: number
  readonly etag: string
}

/** A new upload id is a new session, and every part is to be done again. */
export interface Session {
  readonly uploadId: string
  readonly listed: ReadonlyMap<number, ListedPart>
  readonly done: Map<number, DonePart>
}

/** The upload id is gone because our object is there already (rule 8). */
export class AlreadyPublished extends Error {
  readonly object: ObjectInfo

  constructor(object: ObjectInfo) {
    super('The object is on OSS already')
    this.object = object
  }
}

/** OSS refuses a request that is signed longer ago, in ms: it cannot take effect any more. */
const LATEST_EFFECT = 15 * 60_000

/** How the upload's requests other than parts are tried again. */
type Policy = () => Attempts

/** The upload id we have, with what OSS lists under it; else a new one. */
export async function openSession(
  context: UploadContext,
  ledger: Ledger,
  attempts: Policy,
): Promise<Session> {
  const { bucket, key, call } = context
  const { uploadId } = ledger.record
  if (uploadId !== undefined) {
    try {
      const list = (): Promise<Map<number, ListedPart>> => bucket.listParts(key, uploadId, call)
      return { uploadId, listed: await withRetry(list, attempts()), done: new Map() }
    } catch (error) {
      if (!isGone(error)) throw error
      await loseSession(context, ledger, attempts)
    }
  }
  refuseIfFreed(ledger)
  const fresh = await initiate(context, ledger, attempts)
  return { uploadId: fresh, listed: new Map(), done: new Map() }
}

/** The upload id is gone. @throws AlreadyPublished: once all is sealed that may be why (rule 8) */
export async function loseSession(
  context: UploadContext,
  ledger: Ledger,
  attempts: Policy,
): Promise<void> {
  const { record } = ledger
  let object: ObjectInfo | undefined
  if (record.phase === 'sealed') {
    const { bucket, key, call } = context
    object = await withRetry(() => bucket.head(key, call), attempts())
    if (object !== undefined && isOurs(record, object)) throw new AlreadyPublished(object)
  }
  refuseIfFreed(ledger)
  await (object?.token === record.token ? ledger.disown() : ledger.forget())
}

/** Intent first, then Initiate, then its answer on disk, then parts (rule 5). */
async function initiate(
  { bucket, key, call }: UploadContext,
  ledger: Ledger,
  attempts: Policy,
): Promise<string> {
  const { token, object } = ledger.record
  const headers = { ...initiationHeaders(object), [TOKEN_HEADER]: token }
  const from = Date.now()
  let lost = false
  const attempt = async (): Promise<string> => {
    await ledger.initiating(from, Date.now() + LATEST_EFFECT)
    try {
      return await bucket.initiate(key, headers, call)
    } catch (error) {
      lost ||= error instanceof OssRequestError && isAmbiguous(error)
      throw error
    }
  }
  const uploadId = await withRetry(attempt, attempts())
  await ledger.initiated(uploadId, lost)
  return uploadId
}

/** Another upload id would have to get parts that are not here any more. */
function refuseIfFreed({ record }: Ledger): void {
  if (!isAnyFreed(record)) return
  throw new BytesLost('its upload id is gone, and with it parts that are no longer on this disk')
}

export function isGone(error: unknown): error is OssRequestError {
  return error instanceof OssRequestError && errorKind(error) === 'no-upload'
}
