/** Replication rules of buckets. They are stored and returned; nothing is replicated. */
import { randomUUID } from 'node:crypto'
import { isoTime } from '../iso-time.js'
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { XmlValue } from '../xml.js'
import { documentsBelow, removeDocument, setDocument } from './bucket-configuration.js'
import { requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { readXmlBody, type XmlElement } from './xml-body.js'

const PREFIX = 'replication/'

/** A rule, as far as the emulator returns it. */
interface ReplicationRule {
  readonly id: string
  readonly prefixes: readonly string[]
  readonly action: string
  readonly destination: {
    readonly bucket: string
    readonly location: string
    readonly transferType?: string | undefined
  }
  readonly historical: string
  readonly timeControl?: string | undefined
}

/** PutBucketReplication: adds rules. */
export async function putReplication(context: OperationContext): Promise<Reply> {
  const rules = (await readXmlBody(context, 'ReplicationConfiguration'))?.children('Rule') ?? []
  if (rules.length === 0) throw new OssError('MalformedXML')
  const parsed = rules.map(parseRule)
  for (const rule of parsed) await saveRule(context, rule)
  return emptyReply(200, { 'x-oss-replication-rule-id': parsed[0]?.id ?? '' })
}

export async function getReplication(context: OperationContext): Promise<Reply> {
  const rules = await requireRules(context)
  return xmlReply('ReplicationConfiguration', { Rule: rules.map(ruleElements) })
}

export async function getReplicationLocation(context: OperationContext): Promise<Reply> {
  await requireBucket(context)
  return xmlReply('ReplicationLocation', {})
}

export async function getReplicationProgress(context: OperationContext): Promise<Reply> {
  const id = context.query.get('rule-id')
  const rules = (await requireRules(context)).filter(rule => id === undefined || rule.id === id)
  if (rules.length === 0) throw new OssError('NoSuchReplicationRule')
  return xmlReply('ReplicationProgress', {
    Rule: rules.map(rule => ({
      ...ruleElements(rule),
      Progress: { HistoricalObject: '0.0', NewObject: isoTime(context.now) },
    })),
  })
}

/** PutBucketRtc: turns the time control of a rule on or off. */
export async function putReplicationTimeControl(context: OperationContext): Promise<Reply> {
  const body = await readXmlBody(context, 'ReplicationRule')
  const status = body?.child('RTC')?.text('Status')
  if (status === undefined) throw new OssError('MalformedXML')
  const id = body?.text('ID')
  const rule = (await readRules(context)).find(each => each.id === id)
  if (rule === undefined) throw new OssError('NoSuchReplicationRule')
  await saveRule(context, { ...rule, timeControl: status })
  return emptyReply(200)
}

export async function deleteReplication(context: OperationContext): Promise<Reply> {
  const id = (await readXmlBody(context, 'ReplicationRules'))?.text('ID')
  if (id === undefined) throw new OssError('MalformedXML')
  await removeDocument(context, PREFIX + id)
  return emptyReply(200)
}

function parseRule(rule: XmlElement): ReplicationRule {
  const destination = rule.child('Destination')
  const [bucket, location] = [destination?.text('Bucket'), destination?.text('Location')]
  const id = rule.text('ID') || randomUUID()
  // the id is returned in a header
  if (!bucket || !location || /[^\x20-\x7e]/.test(id)) throw new OssError('MalformedXML')
  return {
    id,
    prefixes: rule.child('PrefixSet')?.texts('Prefix') ?? [],
    action: rule.text('Action') || 'ALL',
    destination: { bucket, location, transferType: destination?.text('TransferType') },
    historical: rule.text('HistoricalObjectReplication') || 'enabled',
    timeControl: rule.child('RTC')?.text('Status'),
  }
}

function ruleElements(rule: ReplicationRule): { readonly [name: string]: XmlValue } {
  const { id, prefixes, action, destination, historical, timeControl } = rule
  return {
    ID: id,
    PrefixSet: prefixes.length === 0 ? undefined : { Prefix: [...prefixes] },
    Action: action,
    Destination: {
      Bucket: destination.bucket,
      Location: destination.location,
      TransferType: destination.transferType,
    },
    Status: 'starting',
    HistoricalObjectReplication: historical,
    RTC: timeControl === undefined ? undefined : { Status: timeControl },
  }
}

function saveRule(context: OperationContext, rule: ReplicationRule): Promise<void> {
  return setDocument(context, PREFIX + rule.id, JSON.stringify(rule))
}

async function requireRules(context: OperationContext): Promise<ReplicationRule[]> {
  const rules = await readRules(context)
  if (rules.length === 0) throw new OssError('NoSuchReplicationConfiguration')
  return rules
}

async function readRules(context: OperationContext): Promise<ReplicationRule[]> {
  const documents = await documentsBelow(context, PREFIX)
  return documents.map(document => JSON.parse(document) as ReplicationRule) // written by saveRule()
}
