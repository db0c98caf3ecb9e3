/**
 * What a new process does after a crash, and all that must hold then (rules 1, 2, 4, 6 and 8). It
 * throws at the first thing that does not, with the words of the rule.
 */
import type { UploadResult } from '../../src/index.js'
import { finishableSlot } from '../../src/upload/resume.js'
import { streamOf } from '../support/oss.js'
import type { UploadFixture } from './upload-fixture.js'

export interface Expected {
  /** What may be at the key before anything was recovered; absent is always right. */
  readonly before: readonly Buffer[]
  /** The worker was told that its upload is sealed. */
  readonly sealed: boolean
  /** The worker was told that its upload is done. */
  readonly finished: boolean
  /** Another content lay under this id before: its parts are no measure for what is sent. */
  readonly superseding?: boolean
}

/** What was seen on the way, for those who count. */
export interface Recovered {
  /** Runs that finished something without its source. */
  resumed: number
  /** Runs that read the source. */
  read: number
}

/** A run, a look, and again until nothing is left to do. */
export async function recover(fixture: UploadFixture, expected: Expected): Promise<Recovered> {
  const { content } = fixture
  const known = [...expected.before, content]
  const seen: Recovered = { resumed: 0, read: 0 }
  let object = await checked(fixture, known)
  check(!expected.finished || object?.equals(content), 'finish means done')
  for (let round = 1; ; round++) {
    check(round < 5, 'the upload comes to an end')
    const checkpoint = await fixture.checkpoint()
    const slot = checkpoint === undefined ? undefined : finishableSlot(checkpoint)
    const spool = fixture.spool()
    const warnings: string[] = []
    spool.on('warning', ({ message }) => warnings.push(message))
    const [status] = await spool.uploads()
    check(warnings.length === 0, `nothing to warn of: ${warnings[0]}`)
    const finishable = status !== undefined && status.phase !== 'spooling'
    check(finishable || slot === undefined, 'uploads() shows what can be finished')
    if (round === 1 && expected.sealed) {
      const done = object !== undefined && object.equals(content)
      check(finishable || done, 'a sealed upload needs its source no more')
    }
    if (status === undefined && object?.equals(content)) break
    const record = checkpoint?.[slot ?? 'upload']
    const lacking = await fixture.lacking(content, record?.uploadId)
    let result: UploadResult
    if (finishable) {
      result = await spool.resume(fixture.id)
      check(!result.sourceRead, 'resume reads no source')
      seen.resumed++
    } else {
      result = await spool.upload(fixture.key, ({ offset }) => streamOf(content.subarray(offset)), {
        id: fixture.id,
      })
      seen.read++
    }
    if (expected.superseding !== true) {
      const there = record?.phase === 'completing' && object?.equals(content)
      const most = there ? 0 : lacking
      check(result.sent <= most, `no part is sent twice: ${result.sent} bytes, ${most} lacked`)
    }
    object = await checked(fixture, known)
    check(object !== undefined, 'a result means that the object is there')
    check(finishable || object.equals(content), 'what was read is what is there')
  }
  await isClean(fixture)
  return seen
}

/** The object, which is one of those it may be. */
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

/** Nothing is left but the note of a lost Initiate, or a receipt, and what the note is of. */
async function isClean(fixture: UploadFixture): Promise<void> {
  const files = await fixture.files()
  const checkpoint = await fixture.checkpoint()
  const lost = checkpoint?.lost.length ?? 0
  if (checkpoint === undefined) {
    check(files.length === 0, `no file is left: ${files.join(', ')}`)
  } else {
    const { id } = fixture
    const left = [id, `${id}/checkpoint.json`, `${id}/lock`]
    check(files.join() === left.join(), `only the note is left: ${files.join(', ')}`)
    check(checkpoint.upload.phase === 'published', 'what is left is published')
    const receipt = fixture.options.once === true
    check(receipt || lost > 0, 'what is left is a receipt, or a note of a lost Initiate')
  }
  const uploadIds = await fixture.uploadIds()
  check(
    uploadIds.length <= lost,
    `${uploadIds.length} upload ids are left, ${lost} Initiates were lost`,
  )
  for (const uploadId of uploadIds) {
    check((await fixture.parts(uploadId)).length === 0, 'an upload id that is left holds no part')
  }
}

/**
 * After two seconds, since then it is certain whose an upload id is: `prune` takes the rest, and a
 * receipt is all that stays.
 */
export async function checkPrune(fixture: UploadFixture): Promise<void> {
  if ((await fixture.files()).length === 0) return
  await fixture.spool().prune({ orphans: true })
  const uploadIds = await fixture.uploadIds()
  check(uploadIds.length === 0, `prune takes the orphans: ${uploadIds.length} are left`)
  const files = await fixture.files()
  if (fixture.options.once !== true) {
    return check(files.length === 0, `prune takes the note: ${files.join(', ')}`)
  }
  const again = await fixture.spool().upload(
    fixture.key,
    () => {
      throw new Error('a receipt needs no source')
    },
    { id: fixture.id },
  )
  check(again.receipt === true, 'the receipt answers')
}

export function check(holds: boolean | undefined, what: string): asserts holds {
  if (holds !== true) throw new Error(`Not so: ${what}`)
}
