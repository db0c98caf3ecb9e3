/**
 * A simple model of OSS and of the rules. It knows which object each key and which state each id may have
 * after a step, given the outcome that the caller saw. It does not depend on how the spool works. Streams are
 * identified by their size, which is unique within a run.
 */

/** Effects of a step, as seen by its caller. */
export interface Facts {
  readonly step: string
  readonly id: string
  /** What this step makes durable of an open stream. */
  readonly commit?: Stream
  /** The stream whose source ended without an error in this step. */
  readonly ended?: Stream | undefined
  /** The step may publish an upload that was already sealed. */
  readonly finishes?: boolean
  /** The step never finishes an upload that is only committed (rule 13). */
  readonly whole?: boolean
  readonly force?: boolean
  /** The user aborted or pruned the sealed upload. */
  readonly gaveUp?: boolean
  /** The step leaves an open sink. */
  readonly live?: boolean
  readonly outcome: Outcome
}

export type Outcome =
  | { readonly kind: 'done'; readonly size?: number | undefined; readonly receipt?: boolean }
  | {
      readonly kind: 'failed'
      readonly code: string
      readonly resumable: boolean
      readonly text: string
    }
  | { readonly kind: 'killed' }

export interface Stream {
  readonly bytes: Buffer
  readonly overwrite: boolean
  /** Ends at a commit, not with its source. */
  readonly isPrefix?: boolean
}

/** Observable state of one id after a step. */
export interface Seen {
  readonly object: Buffer | undefined
  readonly phase?: string | undefined
  readonly size?: number | undefined
  readonly committed?: number | undefined
}

interface Upload {
  /** The stream that can be finished without its source. */
  sealed?: Stream | undefined
  /** Commits of the open stream: the last one that resolved, if any, and those that may be durable. */
  commits: readonly Commit[]
  live: boolean
  object: Buffer | undefined
  phase?: string | undefined
  /** Someone else wrote the key after our PutObject may have taken effect. Their object stays (rule 8). */
  contested?: boolean
  /** The sealed upload was verified on OSS before someone else replaced its object. It may be kept or not. */
  isSettled?: boolean
}

interface Commit {
  readonly stream: Stream
  readonly isDurable: boolean
}

/** Largest stream that is sent with PutObject. */
const PART = 102_400

/** Error codes that a caller may see if the upload is resumable, and if it is not (`FINAL`). */
const RESUMABLE = [
  'ERR_SPOOL_UPLOAD_FAILED',
  'ERR_SPOOL_DENIED',
  'ERR_SPOOL_VERIFY',
  'ERR_SPOOL_LOCKED',
  'ERR_SPOOL_ABORTED',
  'ERR_SPOOL_SOURCE_FAILED',
]
const FINAL = [
  'ERR_SPOOL_UPLOAD_FAILED',
  'ERR_SPOOL_DENIED',
  'ERR_SPOOL_ABORTED',
  'ERR_SPOOL_OBJECT_EXISTS',
  'ERR_SPOOL_SOURCE_FAILED',
  'ERR_SPOOL_UNSEALED',
  'ERR_SPOOL_NOT_FOUND',
  'ERR_SPOOL_ID_IN_USE',
]

export class Model {
  readonly #uploads = new Map<string, Upload>()

  of(id: string): Upload {
    const upload = this.#uploads.get(id) ?? { live: false, object: undefined, commits: [] }
    this.#uploads.set(id, upload)
    return upload
  }

  /**
   * Records that someone else wrote the id's key.
   * @param wasVerified – our object was looked at before
   */
  stranger(id: string, bytes: Buffer, wasVerified: boolean): void {
    const upload = this.of(id)
    // A stream that is open may have found its sealed predecessor published, which settles that one.
    const { live, sealed, object } = upload
    if (live && wasVerified && sealed !== undefined && same(sealed.bytes, object))
      upload.isSettled = true
    upload.object = bytes
    // For a multipart upload, the state of its upload id decides. PutObject leaves no such evidence.
    const { length = Infinity } = upload.sealed?.bytes ?? {}
    upload.contested = !upload.live && upload.phase === 'completing' && length <= PART
  }

  /** Applies a step to the model. Returns a description of every violated rule. */
  after(facts: Facts, seen: Seen): string[] {
    const { outcome, ended } = facts
    const upload = this.of(facts.id)
    const before = { ...upload }
    const wrong: string[] = []
    const unless = (allowed: boolean, what: string): void => void (allowed || wrong.push(what))

    // The object is unchanged, or is a complete stream whose source ended and that may be published now.
    const changed = !same(before.object, seen.object)
    const commits = committedAfter(before, facts)
    const isCommitted = commits.some(({ isDurable }) => isDurable)
    const prefixes = commits.map(({ stream }) => stream)
    // A durable commit supersedes the predecessor. Otherwise, either may be left.
    const old = before.sealed === undefined || isCommitted ? [] : [before.sealed]
    const candidates: Stream[] = ended === undefined ? [] : [ended]
    if (facts.finishes) {
      const mayFinish = ({ isPrefix }: Stream): boolean => !facts.whole || isPrefix !== true
      candidates.push(...[...prefixes, ...old].filter(mayFinish))
    }
    const published = candidates.find(({ bytes }) => same(bytes, seen.object))
    unless(!changed || published !== undefined, 'the object is not one that may be published')
    if (changed && published?.overwrite === false && !facts.force) {
      unless(before.object === undefined, 'overwrite: false replaced an object')
    }

    if (before.contested && facts.force !== true && ended === undefined) {
      unless(!changed, "someone else's object was overwritten (rule 8)")
    }

    // The outcome reported to the caller.
    if (outcome.kind === 'done' && !outcome.receipt && outcome.size !== undefined) {
      unless(
        published?.bytes.length === outcome.size,
        'reported as done, but OSS has another object (rule 1)',
      )
    }
    if (outcome.kind === 'failed') {
      const { code, resumable } = outcome
      unless((resumable ? RESUMABLE : FINAL).includes(code), `unexpected error: ${outcome.text}`)
      if (code === 'ERR_SPOOL_OBJECT_EXISTS')
        unless(!changed, 'ERR_SPOOL_OBJECT_EXISTS, but the object was overwritten')
    }

    // A sealed upload is kept until it is published, superseded by another sealed one, or aborted (rule 6).
    const size = seen.size ?? seen.committed
    const listed =
      seen.phase === 'sealed' || seen.phase === 'completing' || seen.committed !== undefined
    // Two empty streams look the same. If the new one is not resumable, the sealed one is the old one.
    const isFinal = outcome.kind === 'failed' && !outcome.resumable
    const isOld = isFinal && before.sealed !== undefined && same(ended?.bytes, before.sealed.bytes)
    const now = isOld
      ? before.sealed
      : [...candidates, ...prefixes, ...old].find(({ bytes }) => bytes.length === size)
    const isPrefix = now !== undefined && prefixes.includes(now)
    if (listed && !facts.live)
      unless(
        now !== undefined,
        `kept with ${size} bytes, but no source ended and no commit resolved at that size (rule 2)`,
      )
    if ((isCommitted || before.sealed !== undefined) && !facts.live) {
      const superseded = ended !== undefined && (same(ended.bytes, seen.object) || now === ended)
      const kept = listed && now !== undefined
      const isPublished = [...prefixes, ...old].some(({ bytes }) => same(bytes, seen.object))
      const wasSettled = before.isSettled === true && !isCommitted
      const settled = isPublished || facts.gaveUp === true || superseded || wasSettled
      unless(kept || settled, 'a sealed or committed upload was lost (rules 6 and 13)')
    }
    if (outcome.kind === 'failed' && outcome.code !== 'ERR_SPOOL_LOCKED' && !facts.live) {
      if (ended !== undefined && outcome.resumable)
        unless(now === ended || isPrefix, 'reported as resumable, but neither sealed nor committed')
      if (facts.step === 'fail' || facts.step === 'destroy')
        unless(outcome.resumable === isPrefix, 'resumable says whether there is a commit')
      if (!outcome.resumable && outcome.code !== 'ERR_SPOOL_OBJECT_EXISTS')
        unless(
          ended === undefined || now !== ended,
          `sealed, but ${outcome.code} was reported as not resumable`,
        )
      const isWhole = before.sealed !== undefined && before.sealed.isPrefix !== true && !isCommitted
      if (facts.finishes && ended === undefined && (isWhole || (isCommitted && !facts.whole)))
        unless(
          outcome.resumable || outcome.code === 'ERR_SPOOL_OBJECT_EXISTS',
          `a sealed upload failed without being resumable: ${outcome.text}`,
        )
    }

    upload.object = seen.object
    upload.live = facts.live ?? false
    upload.commits = facts.live ? commits : []
    if (facts.live) return wrong
    // A stream may end where it was committed. The record says which of both it is.
    upload.sealed = listed && now ? { ...now, isPrefix: seen.committed !== undefined } : undefined
    upload.phase = seen.phase
    upload.isSettled = false
    if (changed || upload.sealed !== before.sealed) upload.contested = false
    return wrong
  }
}

/** Returns the commits of the open stream that may be the last durable one after the step. */
function committedAfter({ commits }: Upload, { commit, outcome }: Facts): readonly Commit[] {
  if (commit === undefined) return commits
  const isDurable = outcome.kind === 'done'
  return [...(isDurable ? [] : commits), { stream: commit, isDurable }]
}

function same(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b)
}
