/**
 * Recovers an upload after a crash, as a new process would, and checks everything that must hold then (rules
 * 1, 2, 4, 6 and 8). Throws at the first violation, with the wording of the rule.
 */
import type { UploadResult } from '../../src/index.js'
import { isCommitted, resumableSlot, type Checkpoint } from '../../src/disk/checkpoint.js'
import { errorCode } from '../../src/util/error-code.js'
import { streamOf } from '../support/oss.js'
import type { UploadFixture } from './upload-fixture.js'

export interface Expected {
  /** Contents that `resume` may publish instead of the whole: those of a predecessor or a commit. */
  readonly partial: readonly Buffer[]
  /** The upload can be finished without its source, or is published. */
  readonly sealed: boolean
  /** The worker got a result. */
  readonly finished: boolean
  /** Another upload with this id existed before, so its parts say nothing about the bytes to send. */
  readonly superseding?: boolean
  /** A rerun of the worker may have finished what was left. */
  readonly rerun?: boolean
  /** The disk failed, so that files may be left for `prune`. */
  readonly leftovers?: boolean
}

/** Number of runs that recovery took, by kind. */
export interface Recovered {
  /** Runs that finished an upload without its source. */
  resumed: number
  /** Runs that read the source. */
  read: number
  /** What the record said before recovery. */
  found: string
}

/** The object is neither absent nor one that may be published. */
export class WrongObjectError extends Error {
  override readonly name = 'WrongObjectError'
}

/** Runs and checks the upload until nothing is left to do. */
export async function recover(fixture: UploadFixture, expected: Expected): Promise<Recovered> {
  const { content } = fixture
  const known = [...expected.partial, content]
  const recovered: Recovered = { resumed: 0, read: 0, found: 'no record' }
  let object = await checked(fixture, expected.rerun === true ? known : [content])
  check(
    !expected.finished || object?.equals(content),
    '`finish` means that the object is published',
  )
  for (let round = 1; ; round++) {
    check(round < 5, 'recovery takes fewer than five runs')
    const checkpoint = await fixture.checkpoint()
    const slot = checkpoint === undefined ? undefined : resumableSlot(checkpoint)
    const spool = fixture.spool()
    const warnings: string[] = []
    spool.on('warning', ({ message }) => warnings.push(message))
    const [status] = await spool.uploads()
    check(warnings.length === 0, `no warning is emitted: ${warnings[0]}`)
    const finishable = status?.resumable === true
    check(finishable || slot === undefined, 'uploads() lists every upload that can be finished')
    if (round === 1) {
      recovered.found = foundIn(checkpoint)
      if (expected.sealed) {
        const done = object !== undefined
        check(finishable || done, 'a sealed or committed upload no longer needs its source')
      }
    }
    if (status === undefined && object?.equals(content)) break
    const record = checkpoint?.[slot ?? 'upload']
    const target = finishable ? content.subarray(0, finishableSize(checkpoint)) : content
    const missing = await fixture.missingBytes(target, record?.uploadId)
    // The object may be that of an earlier run with the same content.
    const isOurs = record !== undefined && (await fixture.token()) === record.token
    let result: UploadResult
    if (finishable) {
      result = await spool.resume(fixture.id).catch((error: unknown) => {
        const isOfEarlierRun = object?.equals(content) === true && !isOurs
        if (!isOfEarlierRun || errorCode(error) !== 'ERR_SPOOL_OBJECT_EXISTS') throw error
        return spool.resume(fixture.id, { force: true }) // written in the same second
      })
      check(!result.sourceRead, 'resume does not read the source')
      recovered.resumed++
    } else {
      result = await spool.upload(fixture.key, ({ offset }) => streamOf(content.subarray(offset)), {
        id: fixture.id,
      })
      recovered.read++
    }
    if (expected.superseding !== true) {
      const isPublished = record?.phase === 'completing' && isOurs && object?.equals(target)
      const most = isPublished ? 0 : missing
      check(
        result.sent <= most,
        `no part is sent twice: ${result.sent} bytes were sent, ${most} were missing`,
      )
    }
    object = await checked(fixture, known)
    check(object !== undefined, 'a result means that the object exists')
    check(finishable || object.equals(content), 'the object has the content that was read')
  }
  if (expected.leftovers === true) await fixture.spool().prune({ olderThan: 0 })
  // Killed while the upload ids of a predecessor were aborted. Neither needs its source, so no run cleans up.
  if (recovered.found === 'published') await fixture.spool().prune()
  await isClean(fixture)
  return recovered
}

/** Returns the size of what `resume` publishes. */
function finishableSize(checkpoint: Checkpoint | undefined): number | undefined {
  const slot = checkpoint === undefined ? undefined : resumableSlot(checkpoint)
  const record = slot === undefined ? undefined : checkpoint?.[slot]
  if (isCommitted(record)) return record.committed.size
  return record !== undefined && 'size' in record ? record.size : undefined
}

/** Says in a word what a checkpoint is good for. */
function foundIn(checkpoint: Checkpoint | undefined): string {
  if (checkpoint === undefined) return 'no record'
  const slot = resumableSlot(checkpoint)
  const record = checkpoint[slot ?? 'upload']!
  const phase = isCommitted(record) ? 'committed' : record.phase
  return slot === 'previous' ? `predecessor ${phase}` : phase
}

/** Returns the object after checking that its content is one of `known`. */
async function checked(
  fixture: UploadFixture,
  known: readonly Buffer[],
): Promise<Buffer | undefined> {
  const object = await fixture.get()
  if (object === undefined || known.some(content => content.equals(object))) return object
  throw new WrongObjectError(`The object is neither absent nor known: ${object.length} bytes`)
}

/** Checks that nothing is left except a receipt, or the record of a lost Initiate response and its orphan. */
async function isClean(fixture: UploadFixture): Promise<void> {
  const files = await fixture.files()
  const checkpoint = await fixture.checkpoint()
  const lost = checkpoint?.lost.length ?? 0
  if (checkpoint === undefined) {
    check(files.length === 0, `no file is left, found: ${files.join(', ')}`)
  } else {
    const { id } = fixture
    const left = [id, `${id}/checkpoint.json`, `${id}/lock`]
    check(files.join() === left.join(), `only the checkpoint is left, found: ${files.join(', ')}`)
    check(checkpoint.upload.phase === 'published', 'the remaining checkpoint is published')
    const receipt = fixture.options.once === true
    check(
      receipt || lost > 0,
      'the remaining checkpoint is a receipt or records a lost Initiate response',
    )
  }
  const uploadIds = await fixture.uploadIds()
  check(
    uploadIds.length <= lost,
    `${uploadIds.length} upload ids are left, ${lost} Initiate responses were lost`,
  )
  for (const uploadId of uploadIds) {
    check((await fixture.parts(uploadId)).length === 0, 'an orphan has no parts')
  }
}

/**
 * Checks that `prune` removes everything except a receipt. Call it two seconds after the upload, when orphans
 * can be attributed with certainty.
 */
export async function checkPrune(fixture: UploadFixture): Promise<void> {
  if ((await fixture.files()).length === 0) return
  const { length: lost } = (await fixture.checkpoint())?.lost ?? []
  await fixture.spool().prune({ orphans: true })
  const uploadIds = await fixture.uploadIds()
  check(uploadIds.length === 0, `prune aborts the orphans: ${uploadIds.length} are left`)
  const files = await fixture.files()
  if (fixture.options.once !== true) {
    // The orphan of one Initiate was found, and that of a later one may still appear.
    const later = (await fixture.checkpoint())?.lost ?? []
    if (lost > 1 && later.length > 0 && later.length < lost) return
    return check(files.length === 0, `prune removes the checkpoint, found: ${files.join(', ')}`)
  }
  const again = await fixture.spool().upload(
    fixture.key,
    () => {
      throw new Error('the source was read despite a receipt')
    },
    { id: fixture.id },
  )
  check(again.receipt === true, 'the upload is answered from the receipt')
}

export function check(holds: boolean | undefined, what: string): asserts holds {
  if (holds !== true) throw new Error(`Check failed: ${what}`)
}
