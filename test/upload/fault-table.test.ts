/**
 * The failure table: every operation × every fault of the emulator × {once, twice, five times, always}. Each
 * cell defines the outcome, all requests, the pauses between them, and the number of bytes sent again. The
 * numbers are exact, because parts are sent one at a time and the pauses run on a virtual clock.
 */
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import {
  startEmulator,
  type Emulator,
  type FaultAction,
  type FaultHandle,
  type OperationName,
} from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { sampled } from '../support/long.js'
import { ownClock, useOwnClocks } from '../support/own-clock.js'
import { bytes, streamOf } from '../support/oss.js'

useOwnClocks(t)
t.setTimeout(600_000) // takes half a minute on an idle machine

const PART = 102_400
const PARTS = 2
const SMALL = 1000
const ATTEMPTS = 6

/** Pauses, in ms, with jitter fixed at 0.5: halfway between `minDelay` and a bound that doubles. */
const DELAYS = [300, 500, 900, 1700, 3300]
/** Pauses of the immediate retries after a recovered cause; further retries use `DELAYS`. */
const IMMEDIATE = [0, 0, 0]
/** Upload ids of one upload that may be lost in a row. */
const SESSIONS = 5

/** Timeout, in ms, in rows whose fault is silence. Longer than a busy machine is silent on its own. */
const TIMEOUT = 3000

type Operation = Extract<
  OperationName,
  | 'InitiateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'PutObject'
  | 'HeadObject'
  | 'ListParts'
  | 'AbortMultipartUpload'
  | 'ListMultipartUploads'
>
type Counts = Partial<Record<OperationName, number>>

/** Operations that carry bytes of the object, and the number of bytes per request. */
const CARRIES: Counts = { UploadPart: PART, PutObject: SMALL }

// --- scenarios ------------------------------------------------------------------------------------

interface Scenario {
  /** Runs before the fault is injected. Its requests are not counted. */
  readonly before?: (c: Case) => Promise<unknown>
  /** Runs with the fault. */
  readonly run: (c: Case) => Promise<unknown>
  /** Requests of `run` without a fault. */
  readonly requests: Counts
  /** Requests of `run` before the first one of the operation. */
  readonly first: Counts
  /** Bytes of the object sent without a fault: in total and before the operation. */
  readonly sends: readonly [all: number, first: number]
}

const ALL = PARTS * PART
const INITIATED: Counts = { InitiateMultipartUpload: 1 }
const SENT: Counts = { ...INITIATED, UploadPart: PARTS }
const WHOLE: Counts = { ...SENT, CompleteMultipartUpload: 1 }

const SCENARIOS: Record<Operation, Scenario> = {
  InitiateMultipartUpload: { run: put, requests: WHOLE, first: {}, sends: [ALL, 0] },
  UploadPart: { run: put, requests: WHOLE, first: INITIATED, sends: [ALL, 0] },
  CompleteMultipartUpload: { run: put, requests: WHOLE, first: SENT, sends: [ALL, ALL] },
  PutObject: { run: put, requests: { PutObject: 1 }, first: {}, sends: [SMALL, 0] },
  HeadObject: {
    before: loseComplete,
    run: put,
    requests: { ...WHOLE, HeadObject: 1 },
    first: WHOLE,
    sends: [ALL, ALL],
  },
  ListParts: {
    before: sealOnly,
    run: c => c.spool.resume('id'),
    requests: { ListParts: 1, CompleteMultipartUpload: 1 },
    first: {},
    sends: [0, 0],
  },
  AbortMultipartUpload: {
    before: sealOnly,
    run: c => c.spool.abort('id'),
    requests: { AbortMultipartUpload: 2 },
    first: {},
    sends: [0, 0],
  },
  ListMultipartUploads: {
    before: loseInitiates,
    run: c => c.spool.abort('id'),
    requests: { ListMultipartUploads: 1 },
    first: {},
    sends: [0, 0],
  },
}

async function put({ spool, data }: Case): Promise<unknown> {
  return spool.upload('key', () => streamOf(data, 200_000), { id: 'id', start: 'sealed' })
}

async function sealOnly(c: Case): Promise<void> {
  const denied = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  c.inject({ operation: 'CompleteMultipartUpload', ...denied })
  await t.rejects(put(c), { code: 'ERR_SPOOL_DENIED' })
}

async function loseComplete(c: Case): Promise<void> {
  c.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' })
}

async function loseInitiates(c: Case): Promise<void> {
  const lost = c.inject({ operation: 'InitiateMultipartUpload', do: 'reset', times: 'always' })
  await t.rejects(put(c), { code: 'ERR_SPOOL_UPLOAD_FAILED' })
  lost.remove()
}

// --- outcomes -------------------------------------------------------------------------------------

interface Outcome {
  readonly requests: Counts
  readonly pauses: readonly number[]
  /** Minimum and maximum number of bytes sent again. */
  readonly again: readonly [number, number]
  /** Code of the error, or `undefined` if the operation succeeds. */
  readonly error?: string
  /** Whether `resume()` can finish the failed upload. Default: true. */
  readonly resumable?: boolean
}

/** Returns the outcome of `n` consecutive faults; `Infinity` means always. */
type Rule = (operation: Operation, n: number, share: readonly [number, number]) => Outcome

/** Rules whose outcome does not depend on the number of faults. */
const HOWEVER_OFTEN = new Set<Rule>()

function howeverOften(rule: Rule): Rule {
  HOWEVER_OFTEN.add(rule)
  return rule
}

/** Minimum and maximum share of a request's body that the server has read when the fault occurs. */
const NOTHING = [0, 0] as const
const SOME = [0.5, 1] as const
const EVERYTHING = [1, 1] as const

function add(...all: readonly Counts[]): Counts {
  const sum: Counts = {}
  for (const counts of all)
    for (const [name, count] of Object.entries(counts)) {
      // The keys of a Counts are operation names.
      const operation = name as OperationName
      sum[operation] = (sum[operation] ?? 0) + count
    }
  return Object.fromEntries(Object.entries(sum).filter(([, count]) => count > 0))
}

/** Returns the minimum and maximum number of bytes of `n` failed requests. */
const spent = (n: number, [least, most]: readonly [number, number], each: number) =>
  [Math.ceil(n * least * each), n * most * each] as const

const FAILED = 'ERR_SPOOL_UPLOAD_FAILED'

/** The request is retried after a pause, and fails after `ATTEMPTS` attempts. */
const again: Rule = (operation, n, share) => {
  const { requests, first } = SCENARIOS[operation]
  const times = Math.min(n, ATTEMPTS)
  const bytes = spent(times, share, CARRIES[operation] ?? 0)
  return n < ATTEMPTS
    ? { requests: add(requests, { [operation]: n }), pauses: DELAYS.slice(0, n), again: bytes }
    : {
        requests: add(first, { [operation]: ATTEMPTS }),
        pauses: DELAYS,
        again: bytes,
        error: FAILED,
      }
}

/** Like `again`, but the failed requests took effect. Orphans are searched for at the end. */
const againWithOrphans: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  if (outcome.error !== undefined) return outcome
  const search = { ListMultipartUploads: 1, ListParts: n }
  return { ...outcome, requests: add(outcome.requests, search) }
}

/** Like `again`, but the client cannot know that the requests took no effect. */
const againWithSearch: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  if (outcome.error !== undefined) return outcome
  return { ...outcome, requests: add(outcome.requests, { ListMultipartUploads: 1 }) }
}

/** The object may have been published. HEAD and the upload id are checked before each retry. */
const asked: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  const times = Math.min(n, ATTEMPTS)
  // One to check whether the upload id exists, and one for its parts before Complete.
  const lists = operation === 'PutObject' ? 0 : n < ATTEMPTS ? 2 * n : 2 * ATTEMPTS - 1
  return {
    ...outcome,
    requests: add(outcome.requests, { HeadObject: times, ListParts: lists }),
  }
}

/** The object was published, but the reply was lost. HEAD detects it. */
const found = howeverOften(operation => ({
  requests: add(SCENARIOS[operation].requests, { HeadObject: 1 }),
  pauses: [],
  again: [0, 0],
}))

/** The fault has no effect. */
const harmless = howeverOften(operation => ({
  requests: SCENARIOS[operation].requests,
  pauses: [],
  again: [0, 0],
}))

/** The operation fails without a retry, because the cause must be fixed first. */
const end = (error: string, more: { extra?: Counts; resumable?: boolean } = {}): Rule =>
  howeverOften((operation, _, share) => ({
    requests: add(SCENARIOS[operation].first, { [operation]: 1 }, more.extra ?? {}),
    pauses: [],
    again: spent(1, share, CARRIES[operation] ?? 0),
    error,
    resumable: more.resumable ?? true,
  }))

/** The second abort detects that the first one succeeded. */
const aborted: Rule = (operation, n) =>
  n < ATTEMPTS
    ? { requests: { [operation]: n + 1 }, pauses: DELAYS.slice(0, n), again: [0, 0] }
    : again(operation, n, NOTHING)

/**
 * The first reply has no body that could be truncated. The reply saying that the upload id is gone has one.
 */
const abortedTwice: Rule = (operation, n) =>
  n === Infinity
    ? { ...again(operation, n, NOTHING), requests: { [operation]: 1 + ATTEMPTS } }
    : { requests: { [operation]: n + 1 }, pauses: DELAYS.slice(0, n - 1), again: [0, 0] }

/** The cause was recovered. The request is retried immediately, but not forever. */
const recovered: Rule = (operation, n, share) => {
  const { requests, first } = SCENARIOS[operation]
  const most = IMMEDIATE.length + ATTEMPTS
  const pauses = [...IMMEDIATE, ...DELAYS]
  const bytes = spent(Math.min(n, most), share, CARRIES[operation] ?? 0)
  return n < most
    ? { requests: add(requests, { [operation]: n }), pauses: pauses.slice(0, n), again: bytes }
    : { requests: add(first, { [operation]: most }), pauses, again: bytes, error: FAILED }
}

/** The fault causes additional requests, independent of how often it occurs. */
const extra = (more: Counts, { pauses = [] as number[], again = 0 } = {}): Rule =>
  howeverOften(operation => ({
    requests: add(SCENARIOS[operation].requests, more),
    pauses,
    again: [again, again],
  }))

/**
 * OSS has the object, but does not identify it as ours, even after its upload id turned out to be gone.
 * Everything is sent again from the temp file. The outcome of the first upload id is unknown, so it is
 * aborted at the end.
 */
const notOurs = extra(add(WHOLE, { ListParts: 1, HeadObject: 1, AbortMultipartUpload: 1 }), {
  pauses: DELAYS.slice(0, 1),
  again: ALL,
})

/**
 * The server's clock is an hour ahead during the fault. The client adopts its time, and reverts after the
 * fault.
 */
const skewed: Rule = (operation, n) => {
  let [ours, left, again] = [0, n, 0]
  const pauses: number[] = []
  const made: Counts[] = []
  for (const [name, times] of Object.entries(SCENARIOS[operation].requests)) {
    for (let i = 0; i < times; i++) {
      for (let failures = 0; ; failures++) {
        const theirs = name === operation && left-- > 0 ? 1 : 0
        made.push({ [name]: 1 })
        if (theirs === ours) break
        ours = theirs
        again += CARRIES[name as OperationName] ?? 0 // the keys of a Counts are operation names
        pauses.push(PUBLISHING.has(name) ? (DELAYS[failures] ?? 0) : 0)
      }
    }
  }
  return { requests: add(...made), pauses, again: [again, again] }
}

/** Publishing operations, which are never retried immediately. */
const PUBLISHING: ReadonlySet<string> = new Set(['CompleteMultipartUpload', 'PutObject'])

/**
 * The upload id is lost during UploadPart. HEAD checks whether we completed it ourselves. If not, a new one
 * is initiated, but not forever.
 */
const lostDuringPart: Rule = (_, n) => {
  const times = Math.min(n, SESSIONS)
  const each = { UploadPart: times, HeadObject: times }
  const more = { pauses: [], again: [times * PART, times * PART] as const }
  return n < SESSIONS
    ? { requests: add(WHOLE, each, { InitiateMultipartUpload: times }), ...more }
    : { requests: add(each, { InitiateMultipartUpload: SESSIONS }), ...more, error: FAILED }
}

/**
 * The upload id is lost before Complete. HEAD is sent before and after this is detected, because a late
 * Complete may have taken effect in between. Then everything is sent again under a new upload id.
 */
const lostBeforeComplete: Rule = (_, n) => {
  const times = Math.min(n, ATTEMPTS)
  const failed = { CompleteMultipartUpload: times, HeadObject: 2 * times, ListParts: times }
  const renewed = Math.min(n, ATTEMPTS - 1)
  const resent = { InitiateMultipartUpload: renewed, UploadPart: renewed * PARTS }
  return {
    requests: add(n < ATTEMPTS ? WHOLE : SENT, failed, resent),
    pauses: DELAYS.slice(0, renewed),
    again: [renewed * ALL, renewed * ALL],
    ...(n < ATTEMPTS ? {} : { error: FAILED }),
  }
}

/** Complete reports a missing part. The parts are listed, and missing ones are sent again. */
const partMissing: Rule = (_, n) => {
  const renewed = Math.min(n, ATTEMPTS - 1)
  const resent = { ListParts: renewed, UploadPart: renewed }
  return {
    requests: add(n < ATTEMPTS ? WHOLE : SENT, resent, {
      CompleteMultipartUpload: Math.min(n, ATTEMPTS),
    }),
    pauses: DELAYS.slice(0, renewed),
    again: [renewed * PART, renewed * PART],
    ...(n < ATTEMPTS ? {} : { error: FAILED }),
  }
}

/** `n` parts are lost although they were acknowledged, `PARTS` of them per round. */
const partsLost: Rule = (_, n) => {
  let [left, complete, sent, missing] = [n, 0, 0, PARTS]
  while (missing > 0 && complete < ATTEMPTS) {
    sent += missing
    missing = Math.min(left, missing)
    left -= missing
    complete++
  }
  const failed = missing > 0
  return {
    requests: add(INITIATED, {
      UploadPart: sent,
      CompleteMultipartUpload: complete,
      ListParts: complete - 1,
    }),
    pauses: DELAYS.slice(0, complete - 1),
    again: [(sent - PARTS) * PART, (sent - PARTS) * PART],
    ...(failed ? { error: FAILED } : {}),
  }
}

// --- the table ------------------------------------------------------------------------------------

interface Row {
  /**
   * One fault, or several that apply to successive requests. The last one applies to all further requests.
   */
  readonly fault: FaultAction | readonly FaultAction[]
  /** The rule for all operations without their own rule in `but`. */
  readonly rule: Rule
  readonly but?: Partial<Record<Operation, Rule>>
  /** Share of the body that is read when the fault occurs. Default: everything. */
  readonly share?: readonly [number, number]
  readonly timeout?: number
  /** Operations to which the row does not apply. */
  readonly without?: readonly Operation[]
}

/** Rules for ambiguous failures of requests that took no effect. */
const OPEN = {
  InitiateMultipartUpload: againWithSearch,
  CompleteMultipartUpload: asked,
  PutObject: asked,
}
/** Rules for ambiguous failures of requests that took effect. */
const EFFECTIVE = {
  InitiateMultipartUpload: againWithOrphans,
  CompleteMultipartUpload: found,
  PutObject: found,
  AbortMultipartUpload: aborted,
}
/** Rules for truncated replies. */
const TRUNCATED = {
  HeadObject: notOurs, // truncating changes its Content-Length
  AbortMultipartUpload: abortedTwice,
  InitiateMultipartUpload: againWithOrphans,
  CompleteMultipartUpload: found,
  ListParts: again,
  ListMultipartUploads: again,
}
/** Operations without a request body. Faults in or after the body would be the same as at the start. */
const NO_BODY = ['InitiateMultipartUpload', 'HeadObject', 'ListParts', 'AbortMultipartUpload', 'ListMultipartUploads'] as const // prettier-ignore
/** Properties of rows about silence. Complete has its own timeout, which network.test.ts covers. */
const SILENT = { timeout: TIMEOUT, without: ['CompleteMultipartUpload'] } as const

/** Where HEAD is refused, the list of parts shows whether the upload id still exists. */
const ASKED_OTHERWISE = { extra: { ListParts: 1 } } as const

const answer = (status: number, code?: string): FaultAction => ({
  do: 'answer',
  status,
  ...(code === undefined ? { body: '' } : { code }),
})

/** A success of a proxy or a captive portal. */
const foreign = (body: string): FaultAction => ({
  do: 'answer',
  status: 200,
  body,
  headers: { 'x-oss-request-id': null },
})

const HTML = '<html><body>Bad gateway<hr></html>'
const WRONG = { 'x-oss-hash-crc64ecma': '1' }
const NONE = { 'x-oss-hash-crc64ecma': null }

const TABLE: Record<string, Row> = {
  'server errors': {
    fault: [
      answer(500, 'InternalError'),
      { do: 'answer', status: 502, body: HTML },
      answer(503, 'ServiceUnavailable'),
      answer(503, 'TotalQpsLimitExceeded'),
      answer(504),
    ],
    rule: again,
    but: OPEN,
  },
  'temporary rejections': {
    fault: [
      answer(429),
      answer(400, 'RequestTimeout'),
      answer(400, 'IncompleteBody'),
      answer(400, 'InvalidDigest'),
      answer(429, 'TooManyRequests'),
    ],
    rule: again,
  },
  '400 InvalidArgument': {
    fault: answer(400, 'InvalidArgument'),
    rule: end(FAILED),
    but: { HeadObject: end(FAILED, ASKED_OTHERWISE) },
  },
  '403 AccessDenied': {
    fault: answer(403, 'AccessDenied'),
    rule: end('ERR_SPOOL_DENIED'),
    but: { HeadObject: end('ERR_SPOOL_DENIED', ASKED_OTHERWISE) },
  },
  '409 FileAlreadyExists': {
    fault: answer(409, 'FileAlreadyExists'),
    rule: end('ERR_SPOOL_OBJECT_EXISTS', { resumable: false, extra: { HeadObject: 1 } }),
    but: { InitiateMultipartUpload: end('ERR_SPOOL_OBJECT_EXISTS', { resumable: false }) },
    without: ['UploadPart', 'HeadObject', 'ListParts', 'AbortMultipartUpload', 'ListMultipartUploads'], // prettier-ignore
  },
  'a success that is not from OSS': {
    fault: [foreign(''), foreign(HTML), foreign('<html><body>Log in</body></html>'), foreign('')],
    rule: again,
    but: OPEN,
  },
  '409 FileImmutable': {
    fault: answer(409, 'FileImmutable'),
    rule: end('ERR_SPOOL_DENIED', { extra: { HeadObject: 1 } }),
    without: ['UploadPart', 'HeadObject', 'ListParts', 'AbortMultipartUpload', 'ListMultipartUploads'], // prettier-ignore
  },
  '500 after the effect': {
    fault: { do: 'answer', status: 500, code: 'InternalError', at: 'done' },
    rule: again,
    but: EFFECTIVE,
  },

  'reset at the start': {
    fault: { do: 'reset', at: 'start' },
    rule: again,
    but: OPEN,
    share: NOTHING,
  },
  'reset in the body': {
    fault: { do: 'reset', at: 'body' },
    rule: again,
    but: OPEN,
    share: SOME,
    without: NO_BODY,
  },
  'reset after the body': {
    fault: { do: 'reset', at: 'received' },
    rule: again,
    but: OPEN,
    without: NO_BODY,
  },
  'reset after the effect': { fault: { do: 'reset', at: 'done' }, rule: again, but: EFFECTIVE },
  'reset in the reply': { fault: { do: 'reset', at: 'reply' }, rule: again, but: EFFECTIVE },

  'silence at the start': {
    fault: { do: 'hang', at: 'start' },
    rule: again,
    but: OPEN,
    share: NOTHING,
    ...SILENT,
  },
  'silence in the body': {
    fault: { do: 'hang', at: 'body' },
    rule: again,
    but: OPEN,
    share: SOME,
    timeout: TIMEOUT,
    without: ['CompleteMultipartUpload', ...NO_BODY],
  },
  'silence after the body': {
    fault: { do: 'hang', at: 'received' },
    rule: again,
    but: OPEN,
    timeout: TIMEOUT,
    without: ['CompleteMultipartUpload', ...NO_BODY],
  },
  'silence after the effect': {
    fault: { do: 'hang', at: 'done' },
    rule: again,
    but: EFFECTIVE,
    ...SILENT,
  },
  'silence in the reply': {
    fault: { do: 'hang', at: 'reply' },
    rule: again,
    but: EFFECTIVE,
    ...SILENT,
  },
  'a delayed reply': { fault: { do: 'delay', ms: 50 }, rule: harmless },
  'a slow connection': { fault: { do: 'slow', bandwidth: 400_000 }, rule: harmless },

  'a truncated reply': { fault: { do: 'truncate' }, rule: harmless, but: TRUNCATED },
  'a wrong CRC64': {
    fault: { do: 'alter', headers: WRONG },
    rule: harmless,
    but: {
      UploadPart: again,
      CompleteMultipartUpload: end('ERR_SPOOL_VERIFY'),
      PutObject: end('ERR_SPOOL_VERIFY'),
      HeadObject: notOurs,
    },
  },
  'no CRC64': {
    fault: { do: 'alter', headers: NONE },
    rule: harmless,
    but: { CompleteMultipartUpload: found, PutObject: found, HeadObject: notOurs },
  },
  'a wrong ETag': {
    fault: { do: 'alter', headers: { ETag: '"0123456789ABCDEF0123456789ABCDEF"' } },
    rule: harmless,
    but: {
      UploadPart: extra(
        { CompleteMultipartUpload: 1, ListParts: 1 },
        { pauses: DELAYS.slice(0, 1) },
      ),
    },
  },
  'no ETag': {
    fault: { do: 'alter', headers: { ETag: null } },
    rule: harmless,
    but: { UploadPart: again },
  },
  'a part list with wrong sizes': {
    fault: { do: 'alter', replace: [[`<Size>${PART}`, '<Size>1']] },
    rule: harmless,
    but: { ListParts: extra({ UploadPart: PARTS }, { again: ALL }) },
  },

  'a part lost after its upload': {
    fault: { do: 'drop-part', at: 'done' },
    rule: harmless,
    but: { UploadPart: partsLost },
  },
  'a part lost before the request': {
    fault: { do: 'drop-part', parts: [2] },
    rule: harmless,
    but: {
      CompleteMultipartUpload: partMissing,
      ListParts: extra({ UploadPart: 1 }, { again: PART }),
    },
    without: ['UploadPart'], // covered by the previous row
  },
  'a lost upload id': {
    fault: { do: 'drop-upload' },
    rule: harmless,
    but: {
      UploadPart: lostDuringPart,
      CompleteMultipartUpload: lostBeforeComplete,
      ListParts: extra({ HeadObject: 1, ...SENT }, { again: ALL }),
      AbortMultipartUpload: extra({ AbortMultipartUpload: -1 }),
    },
  },

  'an expired token': {
    fault: { do: 'expire' },
    rule: recovered,
    but: { CompleteMultipartUpload: again, PutObject: again },
  },
  'a clock that is an hour ahead': { fault: { do: 'skew', ms: 3_600_000 }, rule: skewed },
}

// --- cells ----------------------------------------------------------------------------------------

interface Case {
  readonly spool: Spool
  readonly data: Buffer
  readonly inject: Emulator['inject']
}

interface Cell {
  readonly operation: Operation
  readonly name: string
  readonly row: Row
  readonly n: number
}

function* cells(): Generator<Cell> {
  for (const [name, row] of Object.entries(TABLE))
    for (const operation of Object.keys(SCENARIOS) as Operation[]) {
      if (row.without?.includes(operation)) continue
      const many = HOWEVER_OFTEN.has(ruleOf(row, operation)) ? [Infinity] : [1, 2, 5, Infinity]
      for (const n of many) yield { operation, name, row, n }
    }
}

function ruleOf({ rule, but }: Row, operation: Operation): Rule {
  return but?.[operation] ?? rule
}

/**
 * Injects the faults of a row into `n` requests, one each. The last one applies to all remaining requests.
 */
function inject(c: Case, operation: Operation, { fault }: Row, n: number): FaultHandle[] {
  const all = [fault].flat().slice(0, n)
  return all.map((one, i) => {
    const left = n === Infinity ? 'always' : n - i
    return c.inject({ ...one, operation, nth: i + 1, times: i === all.length - 1 ? left : 1 })
  })
}

let buckets = 0

async function check(t: Test, oss: Emulator, { operation, name, row, n }: Cell): Promise<void> {
  const { before, run, sends } = SCENARIOS[operation]
  const rule = ruleOf(row, operation)
  const expected = rule(operation, n, row.share ?? EVERYTHING)
  const bucket = `bucket-${buckets++}`
  const { endpoint, region } = oss.clientOptions(bucket)
  const credentials = () => oss.sts.issue(86_400)
  const spool = new Spool({
    client: { endpoint, region, bucket, credentials },
    dir: `${t.testdirName}/${bucket}`,
    partSize: PART,
    parallel: 1,
    retry: { attempts: ATTEMPTS, minDelay: 200, maxDelay: 20_000 },
    timeout: row.timeout ?? 30_000,
  })
  const c: Case = {
    spool,
    data: bytes(operation === 'PutObject' ? SMALL : ALL),
    inject: fault => oss.inject({ bucket, ...fault }),
  }
  const clock = ownClock()
  const says = (what: string): string =>
    `${operation}, ${name}, ${n === Infinity ? 'always' : `${n} times`}: ${what}`

  await clock.run(async () => before?.(c))
  clock.pauses.length = 0
  const from = oss.requests.length
  const injected = inject(c, operation, row, n)
  const error: unknown = await clock
    .run(() => run(c))
    .then(
      () => undefined,
      (error: unknown) => error,
    )

  const made = oss.requests.slice(from).filter(request => request.bucket === bucket)
  const [all, first] = sends
  const needed = expected.error === undefined || rule === partsLost ? all : first
  const resent = made.reduce((sum, { operation, bytes }) => sum + (CARRIES[operation] ? bytes : 0), 0) - needed // prettier-ignore
  const [least, most] = expected.again
  const { error: code, resumable = true } = expected
  t.ok(injected[0] && injected[0].hits > 0, says('the fault occurred'))
  if (code === undefined) t.equal(error, undefined, says('success'))
  else t.match(error, { code, resumable }, says(code))
  t.same(count(made), expected.requests, says('requests'))
  t.same(
    clock.pauses.map(ms => Math.round(ms)),
    expected.pauses,
    says('pauses'),
  )
  t.ok(
    resent >= least && resent <= most,
    says(`${resent} bytes sent again, expected ${least} to ${most}`),
  )

  for (const fault of injected) fault.remove()
  const reader = new OSS(oss.clientOptions(bucket))
  const aborts = /^(Abort|ListMultipart)/.test(operation)
  const recover = (): Promise<unknown> =>
    aborts ? spool.abort('id') : spool.resume('id', { force: !resumable })
  if (error !== undefined) await clock.run(recover)
  if (aborts)
    t.same(
      (await reader.listUploads({ 'max-uploads': 9 })).uploads,
      [],
      says('the upload id is gone'),
    )
  else t.ok(c.data.equals((await reader.get('key')).content), says('the object is complete'))
  t.same(await spool.uploads(), [], says('the spool has no upload left'))
}

function count(made: readonly { operation: OperationName }[]): Counts {
  return add(...made.map(({ operation }) => ({ [operation]: 1 })))
}

t.test(
  'uploads handle every fault × every operation × once, twice, five times, always',
  async t => {
    t.testdir({})
    const oss = await startEmulator({ createBuckets: true })
    t.teardown(() => oss.close())
    /** Checks `cells`, `width` of them concurrently. */
    const work = async (cells: Cell[], width: number): Promise<void> => {
      const next = async (): Promise<void> => {
        for (let cell = cells.shift(); cell; cell = cells.shift()) await check(t, oss, cell)
      }
      await Promise.all(Array.from({ length: width }, next))
    }
    const all = sampled(t, cells())
    const silent = all.filter(({ row }) => row.timeout !== undefined)
    await work(silent, 50) // they only wait
    await work(
      all.filter(({ row }) => row.timeout === undefined),
      8,
    )
  },
)
