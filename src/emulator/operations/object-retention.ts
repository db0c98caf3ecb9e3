/** Retention and legal hold of object versions (object WORM): stored and returned, never applied. */
import { isoTime } from '../iso-time.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { configurationOf, OBJECT_WORM } from './bucket-configuration.js'
import { requireBucket } from './bucket.js'
import { requireLink, updateObject } from './object-read.js'
import type { OperationContext } from './operation-context.js'
import { versionHeader } from './versioning.js'
import { readXmlBody } from './xml-body.js'

export async function putObjectRetention(context: OperationContext): Promise<Reply> {
  const body = await readXmlBody(context, 'Retention')
  const mode = body?.text('Mode')
  if (mode !== 'COMPLIANCE' && mode !== 'GOVERNANCE') throw new OssError('MalformedXML')
  const date = body?.text('RetainUntilDate') ?? ''
  const until = Date.parse(date)
  if (Number.isNaN(until)) throw new OssError('MalformedXML')
  await requireObjectWorm(context)
  if (until <= context.now)
    throw invalidArgument('RetainUntilDate', date, 'The retain until date must be in the future.')
  const changed = await updateObject(context, old => {
    const isCompliant = old.retention?.mode === 'COMPLIANCE'
    if (isCompliant && until < Date.parse(old.retention.until)) throw new OssError('AccessDenied')
    return { ...old, retention: { mode, until: isoTime(until) } }
  })
  return emptyReply(200, versionHeader(context, changed))
}

/** The elements are empty if there is no retention. */
export async function getObjectRetention(context: OperationContext): Promise<Reply> {
  await requireObjectWorm(context)
  const object = await requireLink(context)
  const { mode = '', until = '' } = object.retention ?? {}
  return xmlReply(
    'Retention',
    { Mode: mode, RetainUntilDate: until },
    versionHeader(context, object),
  )
}

export async function putObjectLegalHold(context: OperationContext): Promise<Reply> {
  const status = (await readXmlBody(context, 'LegalHold'))?.text('Status')
  if (status !== 'ON' && status !== 'OFF') throw new OssError('MalformedXML')
  await requireObjectWorm(context)
  const changed = await updateObject(context, old => ({ ...old, isOnHold: status === 'ON' }))
  return emptyReply(200, versionHeader(context, changed))
}

export async function getObjectLegalHold(context: OperationContext): Promise<Reply> {
  await requireObjectWorm(context)
  const object = await requireLink(context)
  const status = object.isOnHold === true ? 'ON' : 'OFF'
  return xmlReply('LegalHold', { Status: status }, versionHeader(context, object))
}

/** Throws 400 InvalidRequest unless the bucket has object WORM. */
async function requireObjectWorm(context: OperationContext): Promise<void> {
  if (configurationOf(await requireBucket(context), OBJECT_WORM) === undefined)
    throw new OssError('InvalidRequest', { message: 'Object WORM is not enabled for the bucket.' })
}
