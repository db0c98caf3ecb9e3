/**
 * Recovers an upload after a crash, as a new process would, and checks everything that must hold then (rules
 * 1, 2, 4, 6 and 8). Throws at the first violation, with the wording of the rule.
 */
import type { UploadResult } from '../../src/index.js'
import { resumableSlot } from '../../src/disk/checkpoint.js'
import { streamOf } from '../support/oss.js'
import type { UploadFixture } from './upload-fixture.js'

export interface Expected {
  /** Contents the object may have before recovery. An absent object is always allowed. */
  readonly before: readonly Buffer[]
  /** The worker saw its upload become sealed. */
  readonly sealed: boolean
  /** The worker got a result. */
  readonly finished: boolean
  /** Another upload with this id existed before, so its parts say nothing about the bytes to send. */
  readonly superseding?: boolean
  /** The disk failed, so that files may be left for `prune`. */
  readonly leftovers?: boolean
}

/** Number of runs that recovery took, by kind. */
export interface Recovered {
  /** Runs that finished an upload without its source. */
  resumed: number
  /** Runs that read the source. */
  read: number
}

/** Runs and checks the upload until nothing is left to do. */
export async function recover(fixture: UploadFixture, expected: Expected): Promise<Recovered> {
  const { content } = fixture
  const known = [...expected.before, content]
  const recovered: Recovered = { resumed: 0, read: 0 }
  let object = await checked(fixture, known)
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
    const finishable = status !== undefined && status.phase !== 'spooling'
    check(finishable || slot === undefined, 'uploads() lists every upload that can be finished')
    if (round === 1 && expected.sealed) {
      const done = object !== undefined && object.equals(content)
      check(finishable || done, 'a sealed upload no longer needs its source')
    }
    if (status === undefined && object?.equals(content)) break
    const record = checkpoint?.[slot ?? 'upload']
    const missing = await fixture.missingBytes(content, record?.uploadId)
    let result: UploadResult
    if (finishable) {
      result = await spool.resume(fixture.id)
      check(!result.sourceRead, 'resume does not read the source')
      recovered.resumed++
    } else {
      result = await spool.upload(fixture.key, ({ offset }) => streamOf(content.subarray(offset)), {
        id: fixture.id,
      })
      recovered.read++
    }
    if (expected.superseding !== true) {
      const isPublished = record?.phase === 'completing' && object?.equals(content)
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
  await isClean(fixture)
  return recovered
}

/** Returns the object after checking that its content is one of `known`. */
async function checked(
  fixture: UploadFixture,
  known: readonly Buffer[],
): Promise<Buffer | undefined> {
  const object = await fixture.get()
  check(
    object === undefined || known.some(content => content.equals(object)),
    `the object is identical or absent, not ${object?.length} other bytes`,
  )
  return object
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
  await fixture.spool().prune({ orphans: true })
  const uploadIds = await fixture.uploadIds()
  check(uploadIds.length === 0, `prune aborts the orphans: ${uploadIds.length} are left`)
  const files = await fixture.files()
  if (fixture.options.once !== true) {
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
