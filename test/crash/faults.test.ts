/**
 * Disk errors. Each system call of an upload, and of the calls that look after uploads, fails with each error
 * that a file system knows, once or from then on. The error has a code and says the truth, no sealed upload is
 * lost, and nothing is left behind.
 */
import { inspect } from 'node:util'
import t from 'tap'
import type { Checkpoint } from '../../src/disk/checkpoint.js'
import { errorCode } from '../../src/util/error-code.js'
import { bench } from '../support/oss.js'
import { runCases, type Case } from './lanes.js'
import { setLongTimeout } from './long-timeout.js'
import { recover, check } from './recovery.js'
import { sampled } from '../support/long.js'
import { countOperations, expectedAfter, SCENARIOS, setUp, type Scenario } from './scenario.js'
import type { UploadFixture } from './upload-fixture.js'
import type { DiskPlan, WorkerOutcome } from './worker-process.js'

setLongTimeout(t, 7_200_000)

const FULL = ['ENOSPC', 'EDQUOT', 'EFBIG']
/** Errors of the process, which say nothing about a record that cannot be opened. */
const TOO_MANY_FILES = ['EMFILE', 'ENFILE']
const ERRNOS = [
  ...FULL,
  ...TOO_MANY_FILES,
  'EIO',
  'EROFS',
  'ENAMETOOLONG',
  'EACCES',
  'EPERM',
] as const

/** One failure: of one operation, or of it and all later ones of its kind. */
type Failure = Required<Pick<DiskPlan, 'at' | 'code' | 'always'>>

/** Yields each failure of each operation. */
function* failuresOf(operations: number): Generator<Failure> {
  for (let at = 1; at <= operations; at++) {
    for (const code of ERRNOS) for (const always of [false, true]) yield { at, code, always }
  }
}

const nameOf = ({ at, code, always }: Failure): string =>
  `operation ${at} ${always ? 'and all later ones of its kind fail' : 'fails'} with ${code}`

const planOf = ({ dir }: UploadFixture, failure: Failure): DiskPlan => ({
  ...failure,
  root: dir,
  do: 'fail',
  reads: true,
})

/** A prime, so that the samples are of different errors. */
const ONE_IN = 577
const ONE_IN_LONG = 101

const UPLOADS: readonly Scenario[] = [
  SCENARIOS.small,
  SCENARIOS.parts,
  SCENARIOS.resume,
  SCENARIOS.answered,
  SCENARIOS.supersede,
  SCENARIOS.offset,
  SCENARIOS.bounded,
  SCENARIOS.once,
  SCENARIOS.commits,
  SCENARIOS.commitsBounded,
  SCENARIOS.supersedeCommitted,
]

for (const scenario of sampled(t, UPLOADS, 6)) {
  t.test(`${scenario.name}: survives a failure of each disk operation`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario, { reads: true })
    t.ok(operations > 10, `has ${operations} disk operations`)
    const failures = sampled(t, failuresOf(operations), ONE_IN, ONE_IN_LONG)
    await runCases(
      t,
      failures.map(failure => ({ name: nameOf(failure), run: () => failOnce(failure) })),
    )

    async function failOnce(failure: Failure): Promise<string> {
      const fixture = await setUp(b, scenario)
      const before = await fixture.checkpoint()
      const published = await fixture.get()
      const child = fixture.startWorker({ ...scenario.job, next: true }, planOf(fixture, failure))
      const outcome = await child.finished()
      const { error, result, warning } = outcome
      return described(outcome, async () => {
        check(
          (result === undefined) !== (error === undefined),
          'the upload either succeeds or fails',
        )
        checkCode(failure, outcome)
        const object = await fixture.get()
        const isPublished = object?.equals(fixture.content) === true
        if (published === undefined) {
          check(!isPublished || result !== undefined, 'after the publication, nothing fails')
        }
        if (error !== undefined) {
          const denied = /nothing was published/i.test(error.message)
          check(!denied || !isPublished, `the message is true: ${error.message}`)
        }
        const after = await fixture.checkpoint() // throws if it is damaged
        check(result !== undefined || isNotLess(before, after), 'the checkpoint is not lost')
        if (result !== undefined && fixture.options.once !== true) {
          const left = await leftOf(fixture)
          check(left.length === 0 || warning !== undefined, `a warning tells of ${left.join()}`)
        }
        if (error !== undefined) {
          await checkResumable(fixture, failure, outcome, scenario.predecessor?.(fixture))
        }
        const expected = expectedAfter(scenario, fixture, outcome)
        // The check before may have finished it already.
        await recover(fixture, { ...expected, rerun: error !== undefined, leftovers: true })
        check(outcome.next !== undefined, 'the process completes another upload')
      })
    }
  })
}

/** Calls that look after uploads, and a call of another process after which nothing is left. */
const MAINTENANCE: readonly (readonly [Scenario, (fixture: UploadFixture) => Promise<unknown>])[] =
  [
    [
      { ...SCENARIOS.resume, name: 'aborting an upload', job: { step: 'abort' } },
      fixture => fixture.spool().abort(fixture.id),
    ],
    [
      { ...SCENARIOS.resume, name: 'pruning a sealed upload', job: { step: 'prune' } },
      fixture => fixture.spool().prune({ olderThan: 0, sealed: true, orphans: true }),
    ],
    [
      { ...SCENARIOS.resume, name: 'listing a sealed upload', job: { step: 'uploads' } },
      async fixture => {
        await fixture.spool().resume(fixture.id)
        check((await fixture.get())?.equals(fixture.content), 'the listed upload can be finished')
      },
    ],
    [
      {
        ...SCENARIOS.once,
        name: 'forgetting a receipt',
        job: { step: 'forget' },
        prepare: async fixture => {
          await fixture.startWorker({ step: 'stream' }).ended
        },
      },
      fixture => fixture.spool().forget(fixture.id),
    ],
  ]

for (const [scenario, finish] of sampled(t, MAINTENANCE, 4)) {
  t.test(`${scenario.name}: survives a failure of each disk operation`, async t => {
    const b = await bench(t)
    const operations = await countOperations(b, scenario, { reads: true })
    t.ok(operations > 3, `has ${operations} disk operations`)
    const cases = [...failuresOf(operations)].map<Case>(failure => ({
      name: nameOf(failure),
      run: async () => {
        const fixture = await setUp(b, scenario)
        const outcome = await fixture.startWorker(scenario.job, planOf(fixture, failure)).finished()
        return described(outcome, async () => {
          const { done, error, warning } = outcome
          check((done === undefined) !== (error === undefined), 'the call either succeeds or fails')
          checkCode(failure, outcome)
          await fixture.checkpoint() // throws if it is damaged
          const left = await leftOf(fixture)
          if (done === true && scenario.job.step !== 'uploads') {
            check(left.length === 0 || warning !== undefined, `a warning tells of ${left.join()}`)
          }
          await finish(fixture).catch((cause: unknown) => {
            if (errorCode(cause) !== 'ERR_SPOOL_NOT_FOUND') throw cause
          })
          await fixture.spool().prune({ olderThan: 0 })
          const files = await fixture.files()
          check(files.length === 0, `no file is left, found: ${files.join()}`)
          check((await fixture.uploadIds()).length === 0, 'no upload id is left')
        })
      },
    }))
    await runCases(t, sampled(t, cases, ONE_IN, ONE_IN_LONG))
  })
}

/** Runs the checks. Adds the outcome of the worker to their failure. */
async function described(outcome: WorkerOutcome, checks: () => Promise<void>): Promise<string> {
  const { error, failed } = outcome
  const where = failed === undefined ? 'not reached' : `${failed.op} of ${named(failed.path)}`
  try {
    await checks()
  } catch (cause) {
    throw new Error(`${where}: ${inspect(outcome)}`, { cause })
  }
  return `${where}: ${error?.code ?? 'succeeded'}`
}

function checkCode({ code, always }: Failure, { error, failed }: WorkerOutcome): void {
  if (error === undefined) return
  const codes = [FULL.includes(code) ? 'ERR_SPOOL_FULL' : 'ERR_SPOOL_IO']
  // The failure of an operation that reads the record or the lock says that they cannot be read. If operations go on
  // failing, it may be a later one than the first; the message names it.
  const isRecord =
    /\/(lock|checkpoint\.json|upload-\d+)$/.test(failed?.path ?? '') ||
    (always && /, \w+ '[^']*\/(lock|checkpoint\.json|upload-\d+)'$/.test(error.message))
  if (isRecord && !TOO_MANY_FILES.includes(code)) codes.push('ERR_SPOOL_UNREADABLE')
  if (failed?.op === 'trim') codes.push('ERR_SPOOL_NO_HOLES') // the probe of the file system
  check(error.name === 'SpoolError', `the error is a SpoolError: ${error.name}: ${error.message}`)
  check(codes.includes(error.code ?? ''), `the code is one of ${codes.join()}, not ${error.code}`)
}

/** Checks that `resumable` is true exactly if another process can finish the upload without its source. */
async function checkResumable(
  fixture: UploadFixture,
  { always, code: errno }: Failure,
  { error, failed }: WorkerOutcome,
  predecessor: Buffer | undefined,
): Promise<void> {
  const quiet = ['ERR_SPOOL_NOT_FOUND', 'ERR_SPOOL_UNSEALED']
  const finished = await fixture
    .spool()
    .resume(fixture.id)
    .then(
      () => true,
      (cause: unknown) => {
        if (!quiet.includes(String(errorCode(cause)))) throw cause
        return false
      },
    )
  const object = await fixture.get()
  const isOurs = finished && object !== undefined && predecessor?.equals(object) !== true
  // Where only the lock cannot be opened, the record is readable and may be of the predecessor.
  const expected = error?.code === 'ERR_SPOOL_UNREADABLE' ? finished : isOurs
  // A process that can open or find no file any more cannot read the record, or whether its last rename took
  // effect.
  const isBlind = always && ['open', 'lstat', 'fstat', 'readFile'].includes(failed?.op ?? '')
  const isRight = error?.resumable === expected || (error?.resumable === false && isBlind)
  const isUnreadable = error?.code === 'ERR_SPOOL_UNREADABLE' && error.resumable === false
  check(
    isRight || isUnreadable,
    `resumable is ${error?.resumable} after ${errno}, and resume() had ${expected}`,
  )
}

/** True if an upload that could be resumed before still can be, even as `previous`. */
function isNotLess(before: Checkpoint | undefined, after: Checkpoint | undefined): boolean {
  if (before === undefined || before.upload.phase === 'spooling') return true
  return after !== undefined && (after.upload.phase !== 'spooling' || after.previous !== undefined)
}

/** Lists the files of the upload that are left. A probe of the file system has none of its bytes. */
async function leftOf(fixture: UploadFixture): Promise<string[]> {
  return (await fixture.files()).filter(path => !path.startsWith('.probe-'))
}

/** Returns the file name without its random part. */
function named(path: string): string {
  return path
    .split('/')
    .slice(-1)[0]!
    .replace(/spool-.*/, 'the temp file')
}
