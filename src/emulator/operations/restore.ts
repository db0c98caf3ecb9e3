/**
 * RestoreObject and CleanRestoredObject. A restore takes a minute, as an expedited one of the service does, and is
 * only a state: the emulator also reads archived objects that were never restored.
 */
import { isoTime } from '../iso-time.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, type Reply } from '../reply.js'
import type { ObjectRecord } from '../store/record.js'
import type { OperationContext } from './operation-context.js'
import { requireObject, updateObject } from './object-read.js'
import { expiryOf, isOngoing, RESTORE_MS, restoreState } from './restore-state.js'
import { versionHeader } from './versioning.js'
import { readXmlBody, type XmlElement } from './xml-body.js'

const MAX_DAYS = 365

/** Storage classes whose restores have a priority. */
const COLD_CLASSES = ['ColdArchive', 'DeepColdArchive']

export async function restoreObject(context: OperationContext): Promise<Reply> {
  const { now } = context
  const { storageClass } = await requireArchivedObject(context)
  const request = await readXmlBody(context, 'RestoreRequest', true)
  const isCold = COLD_CLASSES.includes(storageClass)
  const days = parseDays(request)
  const priority = parsePriority(request, isCold)
  let wasRestored = false
  const restored = await updateObject(context, old => {
    if (isOngoing(old, now)) throw new OssError('RestoreAlreadyInProgress')
    wasRestored = old.restore !== undefined && expiryOf(old.restore) > now
    const requested = wasRestored ? isoTime(now - RESTORE_MS) : isoTime(now)
    return { ...old, restore: { requested, days } }
  })
  return emptyReply(wasRestored ? 200 : 202, {
    ...(isCold ? { 'x-oss-object-restore-priority': priority } : {}),
    ...versionHeader(context, restored),
  })
}

export async function cleanRestoredObject(context: OperationContext): Promise<Reply> {
  const { now } = context
  await requireArchivedObject(context)
  await updateObject(context, old => {
    if (isOngoing(old, now)) throw new OssError('ArchiveRestoreNotFinished')
    if (restoreState(old, now) === undefined) throw new OssError('ArchiveRestoreFileStale')
    const { restore: _restore, ...rest } = old
    return rest
  })
  return emptyReply(200)
}

async function requireArchivedObject(context: OperationContext): Promise<ObjectRecord> {
  const object = await requireObject(context)
  if (!object.storageClass.endsWith('Archive')) throw new OssError('OperationNotSupported')
  return object
}

function parseDays(request: XmlElement | undefined): number {
  const days = Number(request?.text('Days') ?? 1)
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS) throw new OssError('MalformedXML')
  return days
}

/** Returns the priority; throws 400 MalformedXML for an object of class Archive, which has none, or InvalidArgument. */
function parsePriority(request: XmlElement | undefined, isCold: boolean): string {
  const parameters = request?.child('JobParameters')
  if (parameters === undefined) return 'Standard'
  const tier = parameters.text('Tier') ?? 'Standard'
  if (!isCold) throw new OssError('MalformedXML')
  if (!['Expedited', 'Standard', 'Bulk'].includes(tier))
    throw invalidArgument('Tier', tier, 'The restore priority is invalid.')
  return tier
}
