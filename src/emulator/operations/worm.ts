/** Retention policies of buckets (WORM): stored and returned, never applied. */
import { randomBytes } from 'node:crypto'
import { isoTime } from '../iso-time.js'
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { RetentionPolicy } from '../store/record.js'
import { requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { readXmlBody } from './xml-body.js'

const DAY_MS = 24 * 60 * 60 * 1000

/** An unlocked policy ends after a day unless it is completed. */
const DRAFT_MS = DAY_MS
const MAX_DAYS = 365 * 70

export async function initiateBucketWorm(context: OperationContext): Promise<Reply> {
  const days = await readDays(context, 'InitiateWormConfiguration')
  if (retentionOf(await requireBucket(context), context) !== undefined)
    throw new OssError('WORMConfigurationLocked')
  const id = randomBytes(16).toString('hex').toUpperCase()
  await setRetention(context, { id, days, created: isoTime(context.now), isLocked: false })
  return emptyReply(200, { 'x-oss-worm-id': id })
}

export async function getBucketWorm(context: OperationContext): Promise<Reply> {
  const { id, days, created, isLocked } = await requireRetention(context)
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
  const retention = retentionOf(await requireBucket(context), context)
  if (retention?.isLocked) throw new OssError('WORMConfigurationLocked')
  await setRetention(context, undefined)
  return emptyReply(204)
}

export async function completeBucketWorm(context: OperationContext): Promise<Reply> {
  const retention = await requireRetention(context)
  if (retention.isLocked) throw new OssError('WORMConfigurationLocked')
  await setRetention(context, { ...retention, isLocked: true })
  return emptyReply(200)
}

export async function extendBucketWorm(context: OperationContext): Promise<Reply> {
  const days = await readDays(context, 'ExtendWormConfiguration')
  const retention = await requireRetention(context)
  if (!retention.isLocked || days < retention.days) throw new OssError('InvalidWORMConfiguration')
  await setRetention(context, { ...retention, days })
  return emptyReply(200)
}

async function readDays(context: OperationContext, root: string): Promise<number> {
  const text = (await readXmlBody(context, root))?.text('RetentionPeriodInDays') ?? ''
  const days = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (days < 1 || days > MAX_DAYS) throw new OssError('InvalidWORMConfiguration')
  return days
}

/** Resolves with the policy that `wormId`, if given, names; throws 404 NoSuchWORMConfiguration. */
async function requireRetention(context: OperationContext): Promise<RetentionPolicy> {
  const retention = retentionOf(await requireBucket(context), context)
  const id = context.query.get('wormId') ?? retention?.id
  if (retention === undefined || retention.id !== id) throw new OssError('NoSuchWORMConfiguration')
  return retention
}

function retentionOf(
  { retention }: { readonly retention?: RetentionPolicy },
  { now }: OperationContext,
): RetentionPolicy | undefined {
  if (retention === undefined || retention.isLocked) return retention
  return now < Date.parse(retention.created) + DRAFT_MS ? retention : undefined
}

async function setRetention(
  context: OperationContext,
  retention: RetentionPolicy | undefined,
): Promise<void> {
  const { retention: _old, ...bucket } = await requireBucket(context)
  await context.store.buckets.put({ ...bucket, ...(retention === undefined ? {} : { retention }) })
}
