/**
 * The failure table: every operation × every fault of the emulator × {once, twice, five times, for
 * ever}. Each cell says how it ends, which requests are made in all, how long the pauses between them
 * are, and how many bytes go over the line again; exactly, since one part goes out at a time and the
 * pauses are those of a clock of its own.
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
t.setTimeout(600_000) // half a minute of work, for machines that are busy with something else

const PART = 102_400
const PARTS = 2
const SMALL = 1000
const ATTEMPTS = 6

/** Full jitter at its middle: halfway between `minDelay` and a bound that doubles. */
const DELAYS = [300, 500, 900, 1700, 3300]
/** What was mended is tried again at once, so often; then as anything else. */
const AT_ONCE = [0, 0, 0]
/** Upload ids of one key that may vanish in a row. */
const SESSIONS = 5

/** ms of silence, where silence is the fault: more than a busy machine makes by itself. */
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

/** Operations whose bytes are the object's, and how many a request has. */
const CARRIES: Counts = { UploadPart: PART, PutObject: SMALL }

// --- what is done ---------------------------------------------------------------------------------

interface Scenario {
  /** What happens before the fault is there; its requests are not counted. */
  readonly before?: (c: Case) => Promise<unknown>
  /** What the fault meets. */
  readonly run: (c: Case) => Promise<unknown>
  /** Requests without a fault. */
  readonly requests: Counts
  /** Those of them that come before the first of the operation. */
  readonly first: Counts
  /** Bytes of the object that go out without a fault, and how many of them before the operation. */
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

// --- what comes of it -----------------------------------------------------------------------------

interface Outcome {
  readonly requests: Counts
  readonly pauses: readonly number[]
  /** Bytes sent again: least and most. */
  readonly again: readonly [number, number]
  /** None: it is done. */
  readonly error?: string
  /** May the upload be finished by `resume`? Where there is an error; default true. */
  readonly resumable?: boolean
}

/** What comes of `n` faults in a row; `Infinity`: for ever. */
type Rule = (operation: Operation, n: number, share: readonly [number, number]) => Outcome

/** Rules for which it makes no difference: for ever is then the same as once. */
const HOWEVER_OFTEN = new Set<Rule>()

function howeverOften(rule: Rule): Rule {
  HOWEVER_OFTEN.add(rule)
  return rule
}

/** How much of a request's body the server has read when the fault strikes. */
const NOTHING = [0, 0] as const
const SOME = [0.5, 1] as const
const EVERYTHING = [1, 1] as const

function add(...all: readonly Counts[]): Counts {
  const sum: Counts = {}
  for (const counts of all)
    for (const [name, count] of Object.entries(counts)) {
      // A Counts has no other names.
      const operation = name as OperationName
      sum[operation] = (sum[operation] ?? 0) + count
    }
  return Object.fromEntries(Object.entries(sum).filter(([, count]) => count > 0))
}

/** Bytes of `n` requests that were ended then. */
const spent = (n: number, [least, most]: readonly [number, number], each: number) =>
  [Math.ceil(n * least * each), n * most * each] as const

const FAILED = 'ERR_SPOOL_UPLOAD_FAILED'

/** The same request again after a pause, and after so many attempts the end. */
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

/** As `again`, but what failed took effect: upload ids that nobody knows are looked for at the end. */
const againWithOrphans: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  if (outcome.error !== undefined) return outcome
  const search = { ListMultipartUploads: 1, ListParts: n }
  return { ...outcome, requests: add(outcome.requests, search) }
}

/** As `again`, but nobody knows that it took no effect. */
const againWithSearch: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  if (outcome.error !== undefined) return outcome
  return { ...outcome, requests: add(outcome.requests, { ListMultipartUploads: 1 }) }
}

/** It may have been published: HEAD, and whether the upload id lives, before it is tried again. */
const asked: Rule = (operation, n, share) => {
  const outcome = again(operation, n, share)
  const times = Math.min(n, ATTEMPTS)
  // Once to see whether the upload id lives; once more for the parts under it, before Complete.
  const lists = operation === 'PutObject' ? 0 : n < ATTEMPTS ? 2 * n : 2 * ATTEMPTS - 1
  return {
    ...outcome,
    requests: add(outcome.requests, { HeadObject: times, ListParts: lists }),
  }
}

/** It was published, only its answer is not there: HEAD, done. */
const found = howeverOften(operation => ({
  requests: add(SCENARIOS[operation].requests, { HeadObject: 1 }),
  pauses: [],
  again: [0, 0],
}))

/** Nothing comes of it. */
const harmless = howeverOften(operation => ({
  requests: SCENARIOS[operation].requests,
  pauses: [],
  again: [0, 0],
}))

/** No other attempt; a person has to mend it. */
const end = (error: string, more: { extra?: Counts; resumable?: boolean } = {}): Rule =>
  howeverOften((operation, _, share) => ({
    requests: add(SCENARIOS[operation].first, { [operation]: 1 }, more.extra ?? {}),
    pauses: [],
    again: spent(1, share, CARRIES[operation] ?? 0),
    error,
    resumable: more.resumable ?? true,
  }))

/** The second abort finds that the first one did it. */
const aborted: Rule = (operation, n) =>
  n < ATTEMPTS
    ? { requests: { [operation]: n + 1 }, pauses: DELAYS.slice(0, n), again: [0, 0] }
    : again(operation, n, NOTHING)

/** The first one is done without a body to be cut; that it was, is what cannot be read. */
const abortedTwice: Rule = (operation, n) =>
  n === Infinity
    ? { ...again(operation, n, NOTHING), requests: { [operation]: 1 + ATTEMPTS } }
    : { requests: { [operation]: n + 1 }, pauses: DELAYS.slice(0, n - 1), again: [0, 0] }

/** Its cause was removed: at once, but not for ever. */
const mended: Rule = (operation, n, share) => {
  const { requests, first } = SCENARIOS[operation]
  const most = AT_ONCE.length + ATTEMPTS
  const pauses = [...AT_ONCE, ...DELAYS]
  const bytes = spent(Math.min(n, most), share, CARRIES[operation] ?? 0)
  return n < most
    ? { requests: add(requests, { [operation]: n }), pauses: pauses.slice(0, n), again: bytes }
    : { requests: add(first, { [operation]: most }), pauses, again: bytes, error: FAILED }
}

/** More requests than without the fault, however often it is there. */
const extra = (more: Counts, { pauses = [] as number[], again = 0 } = {}): Rule =>
  howeverOften(operation => ({
    requests: add(SCENARIOS[operation].requests, more),
    pauses,
    again: [again, again],
  }))

/**
 * OSS has the object, but does not say that it is ours, nor after its upload id was seen to be gone: once
 * more, from the temp file. What that upload id came to is not known, so it is aborted in the end.
 */
const notOurs = extra(add(WHOLE, { ListParts: 1, HeadObject: 1, AbortMultipartUpload: 1 }), {
  pauses: DELAYS.slice(0, 1),
  again: ALL,
})

/** Requests to which the server's clock is an hour ahead: it is taken over, and given up again. */
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
        again += CARRIES[name as OperationName] ?? 0 // a Counts has no other names
        pauses.push(PATIENT.has(name) ? (DELAYS[failures] ?? 0) : 0)
      }
    }
  }
  return { requests: add(...made), pauses, again: [again, again] }
}

/** What publishes is never sent again at once. */
const PATIENT: ReadonlySet<string> = new Set(['CompleteMultipartUpload', 'PutObject'])

/** The upload id vanishes under a part: was it us? No: a new one, but not for ever. */
const vanishing: Rule = (_, n) => {
  const times = Math.min(n, SESSIONS)
  const each = { UploadPart: times, HeadObject: times }
  const more = { pauses: [], again: [times * PART, times * PART] as const }
  return n < SESSIONS
    ? { requests: add(WHOLE, each, { InitiateMultipartUpload: times }), ...more }
    : { requests: add(each, { InitiateMultipartUpload: SESSIONS }), ...more, error: FAILED }
}

/**
 * The upload id vanishes under Complete: HEAD before and after that is seen (a late Complete may have come
 * between), then everything again, under a new one.
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

/** Complete misses a part: OSS is asked which it has, what it lacks is sent again. */
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

/** Parts that are lost although they were acknowledged: `n` of them, `PARTS` in one round. */
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
  /** One; or several, of which each request meets the next, and all further ones the last. */
  readonly fault: FaultAction | readonly FaultAction[]
  /** For all operations that are not named. */
  readonly rule: Rule
  readonly but?: Partial<Record<Operation, Rule>>
  /** How much of the body is read by then; default everything. */
  readonly share?: readonly [number, number]
  readonly timeout?: number
  /** Operations that it is nothing for. */
  readonly without?: readonly Operation[]
}

/** Failures that leave it open whether the request took effect; it did not. */
const OPEN = {
  InitiateMultipartUpload: againWithSearch,
  CompleteMultipartUpload: asked,
  PutObject: asked,
}
/** The same where it did. */
const EFFECTIVE = {
  InitiateMultipartUpload: againWithOrphans,
  CompleteMultipartUpload: found,
  PutObject: found,
  AbortMultipartUpload: aborted,
}
/** Replies that are XML. */
const CUT = {
  HeadObject: notOurs, // of which it changes the length
  AbortMultipartUpload: abortedTwice,
  InitiateMultipartUpload: againWithOrphans,
  CompleteMultipartUpload: found,
  ListParts: again,
  ListMultipartUploads: again,
}
/** Their requests pass the moments of a body at their start. */
const NO_BODY = ['InitiateMultipartUpload', 'HeadObject', 'ListParts', 'AbortMultipartUpload', 'ListMultipartUploads'] as const // prettier-ignore
/** Complete may take its time: silence is looked at elsewhere (network.test.ts). */
const SILENT = { timeout: TIMEOUT, without: ['CompleteMultipartUpload'] } as const

const answer = (status: number, code?: string): FaultAction => ({
  do: 'answer',
  status,
  ...(code === undefined ? { body: '' } : { code }),
})

const HTML = '<html><body>Bad gateway<hr></html>'
const WRONG = { 'x-oss-hash-crc64ecma': '1' }
const NONE = { 'x-oss-hash-crc64ecma': null }

const TABLE: Record<string, Row> = {
  'errors of the server': {
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
  'refusals that pass': {
    fault: [
      answer(429),
      answer(400, 'RequestTimeout'),
      answer(400, 'IncompleteBody'),
      answer(400, 'InvalidDigest'),
      answer(429, 'TooManyRequests'),
    ],
    rule: again,
  },
  '400 InvalidArgument': { fault: answer(400, 'InvalidArgument'), rule: end(FAILED) },
  '403 AccessDenied': { fault: answer(403, 'AccessDenied'), rule: end('ERR_SPOOL_DENIED') },
  '409 FileAlreadyExists': {
    fault: answer(409, 'FileAlreadyExists'),
    rule: end('ERR_SPOOL_OBJECT_EXISTS', { resumable: false, extra: { HeadObject: 1 } }),
    but: { InitiateMultipartUpload: end('ERR_SPOOL_OBJECT_EXISTS', { resumable: false }) },
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
  'reset behind the body': {
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
  'silence behind the body': {
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
  'an answer that is late': { fault: { do: 'delay', ms: 50 }, rule: harmless },
  'a slow line': { fault: { do: 'slow', bandwidth: 400_000 }, rule: harmless },

  'a reply cut short': { fault: { do: 'truncate' }, rule: harmless, but: CUT },
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
  'a list with wrong sizes': {
    fault: { do: 'alter', replace: [[`<Size>${PART}`, '<Size>1']] },
    rule: harmless,
    but: { ListParts: extra({ UploadPart: PARTS }, { again: ALL }) },
  },

  'a part that is lost': {
    fault: { do: 'drop-part', at: 'done' },
    rule: harmless,
    but: { UploadPart: partsLost },
  },
  'a part that was lost': {
    fault: { do: 'drop-part', parts: [2] },
    rule: harmless,
    but: {
      CompleteMultipartUpload: partMissing,
      ListParts: extra({ UploadPart: 1 }, { again: PART }),
    },
    without: ['UploadPart'], // as the row before
  },
  'an upload id that is gone': {
    fault: { do: 'drop-upload' },
    rule: harmless,
    but: {
      UploadPart: vanishing,
      CompleteMultipartUpload: lostBeforeComplete,
      ListParts: extra({ HeadObject: 1, ...SENT }, { again: ALL }),
      AbortMultipartUpload: extra({ AbortMultipartUpload: -1 }),
    },
  },

  'an expired token': {
    fault: { do: 'expire' },
    rule: mended,
    but: { CompleteMultipartUpload: again, PutObject: again },
  },
  'a clock that is an hour ahead': { fault: { do: 'skew', ms: 3_600_000 }, rule: skewed },
}

// --- the cells ------------------------------------------------------------------------------------

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

/** The faults of a row, one for each of `n` requests; the last one for all that are left. */
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
    `${operation}, ${name}, ${n === Infinity ? 'for ever' : `${n} times`}: ${what}`

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
  t.ok(injected[0] && injected[0].hits > 0, says('the fault was met'))
  if (code === undefined) t.equal(error, undefined, says('done'))
  else t.match(error, { code, resumable }, says(code))
  t.same(count(made), expected.requests, says('requests'))
  t.same(
    clock.pauses.map(ms => Math.round(ms)),
    expected.pauses,
    says('pauses'),
  )
  t.ok(resent >= least && resent <= most, says(`${resent} bytes again, ${least} to ${most}`))

  for (const fault of injected) fault.remove()
  const reader = new OSS(oss.clientOptions(bucket))
  const aborts = /^(Abort|ListMultipart)/.test(operation)
  const mended = (): Promise<unknown> =>
    aborts ? spool.abort('id') : spool.resume('id', { force: !resumable })
  if (error !== undefined) await clock.run(mended)
  if (aborts) t.same((await reader.listUploads({ 'max-uploads': 9 })).uploads, [], says('gone'))
  else t.ok(c.data.equals((await reader.get('key')).content), says('the object'))
  t.same(await spool.uploads(), [], says('nothing is left here'))
}

function count(made: readonly { operation: OperationName }[]): Counts {
  return add(...made.map(({ operation }) => ({ [operation]: 1 })))
}

t.test('every operation × every fault × once, twice, five times, for ever', async t => {
  t.testdir({})
  const oss = await startEmulator({ createBuckets: true })
  t.teardown(() => oss.close())
  /** Works `cells` off, `width` at a time. */
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
})
