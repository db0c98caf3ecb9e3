/**
 * Reduces an exchange to the facts that two servers can share: names and values without what is different in every run,
 * such as ids, times and addresses. Times are compared by their form and their distance from the clock.
 */
import { isNote, type Entry, type Exchange } from './exchange.js'
import { flattenXml } from './xml.js'

/** Headers that depend on the connection, the moment or the length of what is replaced. */
const IGNORED_HEADERS = new Set([
  'date',
  'connection',
  'keep-alive',
  'transfer-encoding',
  'x-oss-err', // read as XML
])

/** Values that are different in every run, by the last step of their names. */
const VARIABLE = new Map([
  ['x-oss-request-id', '<request id>'],
  ['x-oss-version-id', '<version id>'],
  ['x-oss-meta-oss-spool-token', '<token>'],
  ['RequestId', '<request id>'],
  ['HostId', '<host>'],
  ['NextContinuationToken', '<token>'],
])
const VARIABLE_PATH = /(Owner|Initiator)(\[\d+\])?\/(ID|DisplayName)$/

/** One step of a check: what was asked, and the facts of the reply. */
export interface Step {
  readonly check: string
  readonly request: string
  readonly facts: ReadonlyMap<string, string>
}

/** Upload ids of one check, and what replaces them: their order of appearance. */
type Ids = Map<string, string>

/** Returns the steps of one side, in order. */
export function stepsOf(entries: readonly Entry[]): Step[] {
  const idsOfCheck = new Map<string, Ids>()
  return entries.map(entry => {
    const { check } = entry
    const ids = idsOfCheck.get(check) ?? new Map<string, string>()
    idsOfCheck.set(check, ids)
    return isNote(entry)
      ? { check, request: entry.note, facts: new Map([['value', entry.value]]) }
      : { check, request: requestName(entry), facts: factsOf(entry, ids) }
  })
}

/** Returns the method and the names of the query, except those of a signature: `PUT ?partNumber&uploadId`. */
function requestName({ method, url }: Exchange): string {
  const { searchParams } = new URL(url)
  const names = [...searchParams.keys()].filter(name => !name.startsWith('x-oss-')).toSorted()
  return names.length === 0 ? method : `${method} ?${names.join('&')}`
}

function factsOf(exchange: Exchange, ids: Ids): Map<string, string> {
  const { status, failure, replyHeaders, replyBody } = exchange
  if (failure !== undefined) return new Map([['reply', failure]])
  const isXml = replyBody.startsWith('<?xml')
  const xml = flattenXml(isXml ? replyBody : (replyHeaders['x-oss-err'] ?? ''))
  for (const [path, text] of xml) {
    if (/\bUploadId(\[\d+\])?$/.test(path) && text !== '' && !ids.has(text))
      ids.set(text, `<upload id ${ids.size + 1}>`)
  }
  const facts = new Map([['status', String(status)]])
  for (const [name, value] of Object.entries(replyHeaders)) {
    if (IGNORED_HEADERS.has(name) || (name === 'content-length' && isXml)) continue
    facts.set(`header ${name}`, comparable(name, value, exchange, ids))
  }
  for (const [path, text] of xml) facts.set(path, comparable(path, text, exchange, ids))
  if (!isXml && replyBody !== '') facts.set('body', replyBody)
  return facts
}

function comparable(name: string, value: string, exchange: Exchange, ids: Ids): string {
  const variable = VARIABLE.get(name.split('/').at(-1) ?? '')
  if (variable !== undefined) return value === '' ? '' : variable
  if (VARIABLE_PATH.test(name)) return '<owner>'
  if (name === 'x-oss-server-time') return value.replace(/^\d+$/, '<number>')
  if (name.endsWith('/Location')) return value.replace(/^\w+:\/\/.*(?=\/)/, '<address>')
  return withoutTime(replaceIds(value, ids), clockOf(exchange))
}

function replaceIds(text: string, ids: Ids): string {
  return ids.get(text) ?? text
}

/** The server's clock, in ms since 1970. */
function clockOf({ replyHeaders, time }: Exchange): number {
  const date = Date.parse(replyHeaders['date'] ?? '')
  return Number.isNaN(date) ? time : date
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$)/
const QUARTER = 15 * 60_000

/** Replaces a time by its form and its distance from the clock in quarters of an hour. */
function withoutTime(value: string, clock: number): string {
  if (!TIME.test(value)) return value
  const quarters = Math.round((Date.parse(value) - clock) / QUARTER)
  const form = value.replaceAll(/[A-Z][a-z]{2}/g, 'Aaa').replaceAll(/\d/g, '0')
  return quarters === 0 ? form : `${form} (${quarters * 15} min off)`
}
