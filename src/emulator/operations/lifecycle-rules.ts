/** Lifecycle rules: parses and checks the document, and decides what is due. Pure but for the parser. */
import { invalidArgument, OssError } from '../oss-error.js'
import type { MultipartUploadRecord, ObjectRecord, Tag } from '../store/record.js'
import { checkRuleTags } from './tag-rules.js'
import { parseXml, type XmlElement } from './xml-body.js'

/** An enabled rule. */
export interface LifecycleRule {
  readonly prefix: string
  /** Tags that an object must have. */
  readonly tags: readonly Tag[]
  readonly expiration: Deadline | undefined
  readonly abortion: Deadline | undefined
}

/** Age in ms from which something is due, or the time before which it was created, or from which all is due. */
type Deadline =
  { readonly age: number } | { readonly createdBefore: number } | { readonly date: number }

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Returns the enabled rules of a document. A rule with a `Filter` is omitted, since filters are not evaluated.
 *
 * @throws `OssError` for a document that the service refuses
 */
export async function parseLifecycle(document: string): Promise<LifecycleRule[]> {
  const rules = (await parseXml(document, 'LifecycleConfiguration')).children('Rule')
  if (rules.length === 0) throw new OssError('MalformedXML')
  return rules.map(parseRule).filter(rule => rule !== undefined)
}

function parseRule(xml: XmlElement): LifecycleRule | undefined {
  const status = xml.text('Status')
  if (status !== 'Enabled' && status !== 'Disabled') throw new OssError('MalformedXML')
  const rule = {
    prefix: xml.text('Prefix') ?? '',
    tags: checkRuleTags(
      xml.children('Tag').map((tag): Tag => [tag.text('Key') ?? '', tag.text('Value') ?? '']),
    ),
    expiration: parseDeadline(xml.child('Expiration')),
    abortion: parseDeadline(xml.child('AbortMultipartUpload')),
  }
  checkTransitions(xml)
  return status === 'Enabled' && xml.child('Filter') === undefined ? rule : undefined
}

function parseDeadline(xml: XmlElement | undefined): Deadline | undefined {
  const days = xml?.text('Days')
  if (days !== undefined) return { age: parseDays(days) * DAY_MS }
  const createdBefore = xml?.text('CreatedBeforeDate')
  if (createdBefore !== undefined) return { createdBefore: parseDate(createdBefore) }
  const date = xml?.text('Date')
  return date === undefined ? undefined : { date: parseDate(date) }
}

/** Classes of storage to which objects move, in the order in which they can. */
const TRANSITION_CLASSES = ['IA', 'Archive', 'ColdArchive', 'DeepColdArchive']

/** Throws unless the transitions of a rule happen in the order of their classes and before its expiration. */
function checkTransitions(xml: XmlElement): void {
  const transitions = xml.children('Transition').toSorted(byStorageClass)
  const expiration = xml.child('Expiration')
  const steps = [...transitions, ...(expiration === undefined ? [] : [expiration])]
  const isByDays = (step: XmlElement) => step.text('Days') !== undefined
  const isByDate = (step: XmlElement) => step.text('CreatedBeforeDate') !== undefined
  if (steps.some(isByDays) && steps.some(isByDate)) throw new OssError('InvalidRequest')
  const days = steps.filter(isByDays).map(step => parseDays(step.text('Days') ?? ''))
  const early = days.find((value, i) => value < (days[i - 1] ?? 0))
  if (early !== undefined)
    throw invalidArgument('Days', String(early), 'Days must not be less than before.')
}

function byStorageClass(a: XmlElement, b: XmlElement): number {
  const rank = (xml: XmlElement) => TRANSITION_CLASSES.indexOf(xml.text('StorageClass') ?? '')
  return rank(a) - rank(b)
}

function parseDays(text: string): number {
  const days = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (days < 1) throw invalidArgument('Days', text, 'Days must be a positive integer.')
  return days
}

function parseDate(text: string): number {
  const time = Date.parse(text)
  if (!text.endsWith('Z') || Number.isNaN(time) || time % DAY_MS !== 0)
    throw invalidArgument('Date', text, "'Date' must be at midnight GMT.")
  return time
}

/** Returns whether a rule aborts the upload. */
export function isUploadDue(
  rules: readonly LifecycleRule[],
  { key, initiated }: Pick<MultipartUploadRecord, 'key' | 'initiated'>,
  now: number,
): boolean {
  return rules.some(
    ({ prefix, abortion }) => key.startsWith(prefix) && isPast(abortion, initiated, now),
  )
}

/** Returns whether a rule removes the object. */
export function isObjectDue(
  rules: readonly LifecycleRule[],
  { key, modified, tags }: Pick<ObjectRecord, 'key' | 'modified' | 'tags'>,
  now: number,
): boolean {
  return rules.some(
    rule =>
      key.startsWith(rule.prefix) &&
      rule.tags.every(([name, value]) => tags.some(tag => tag[0] === name && tag[1] === value)) &&
      isPast(rule.expiration, modified, now),
  )
}

function isPast(deadline: Deadline | undefined, iso: string, now: number): boolean {
  if (deadline === undefined) return false
  if ('date' in deadline) return now >= deadline.date
  const time = Date.parse(iso)
  return 'age' in deadline ? now - time >= deadline.age : time < deadline.createdBefore
}
