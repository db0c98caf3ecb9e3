/** Retention policies of buckets (WORM): stored and returned, never applied. */
import { randomBytes } from 'node:crypto'
import { isoTime } from '../iso-time.js'
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { RetentionPolicy } from '../store/record.js'
import { requireBucket, updateBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { readXmlBody } from './xml-body.js'

const DAY_MS = 24 * 60 * 60 * 1000

/** An unlocked policy ends after a day unless it is completed. */
const DRAFT_MS = DAY_MS
const MAX_DAYS = 365 * 70

export async function initiateBucketWorm(context: OperationContext): Promise<Reply> {
  const days = await readDays(context, 'InitiateWormConfiguration')
  const id = randomBytes(16).toString('hex').toUpperCase()
  await updateRetention(context, old => {
    if (old !== undefined) throw new OssError('WORMConfigurationLocked')
    return { id, days, created: isoTime(context.now), isLocked: false }
  })
  return emptyReply(200, { 'x-oss-worm-id': id })
}

export async function getBucketWorm(context: OperationContext): Promise<Reply> {
  const bucket = await requireBucket(context)
  const retention = validRetention(bucket.retention, context)
  const { id, days, created, isLocked } = requireRetention(context, retention)
  const lifetimeMs = isLocked ? days * DAY_MS : DRAFT_MS
  return xmlReply('WormConfiguration', {
    WormId: id,
    State: isLocked ? 'Locked' : 'InProgress',
    RetentionPeriodInDays: days,
    CreationDate: created,
    ExpirationDate: isoTime(Date.parse(created) + lifetimeMs),
  })
}

export async function abortBucketWorm(context: OperationContext): Promise<Reply> {
  await updateRetention(context, old => {
    if (old?.isLocked) throw new OssError('WORMConfigurationLocked')
    return undefined
  })
  return emptyReply(204)
}

export async function completeBucketWorm(context: OperationContext): Promise<Reply> {
  await updateRetention(context, old => {
    const retention = requireRetention(context, old)
    if (retention.isLocked) throw new OssError('WORMConfigurationLocked')
    return { ...retention, isLocked: true }
  })
  return emptyReply(200)
}

export async function extendBucketWorm(context: OperationContext): Promise<Reply> {
  const days = await readDays(context, 'ExtendWormConfiguration')
  await updateRetention(context, old => {
    const retention = requireRetention(context, old)
    if (!retention.isLocked || days < retention.days) throw new OssError('InvalidWORMConfiguration')
    return { ...retention, days }
  })
  return emptyReply(200)
}

async function readDays(context: OperationContext, root: string): Promise<number> {
  const text = (await readXmlBody(context, root))?.text('RetentionPeriodInDays') ?? ''
  const days = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (days < 1 || days > MAX_DAYS) throw new OssError('InvalidWORMConfiguration')
  return days
}

/** Returns the policy unless `wormId` names another one; throws 404 NoSuchWORMConfiguration. */
function requireRetention(
  { query }: OperationContext,
  retention: RetentionPolicy | undefined,
): RetentionPolicy {
  if (retention === undefined || (query.get('wormId') ?? retention.id) !== retention.id)
    throw new OssError('NoSuchWORMConfiguration')
  return retention
}

/** Returns the policy unless it is a draft that has ended. */
function validRetention(
  retention: RetentionPolicy | undefined,
  { now }: OperationContext,
): RetentionPolicy | undefined {
  if (retention === undefined || retention.isLocked) return retention
  return now < Date.parse(retention.created) + DRAFT_MS ? retention : undefined
}

/** Changes the policy; `edit` returns undefined to remove it. */
function updateRetention(
  context: OperationContext,
  edit: (old: RetentionPolicy | undefined) => RetentionPolicy | undefined,
): Promise<void> {
  return updateBucket(context, ({ retention: old, ...bucket }) => {
    const retention = edit(validRetention(old, context))
    return retention === undefined ? bucket : { ...bucket, retention }
  })
}
