/**
 * A plain picture of OSS and of the rules: what each key may hold and what each id may be, after a
 * step whose outcome a caller saw. Nothing here knows how the spool works; streams are told apart
 * by their sizes, since no two of a run have the same.
 */

/** What a step did, as its caller saw it. */
export interface Facts {
  readonly step: string
  readonly id: string
  /** The stream whose source ended well in this step. */
  readonly ended?: Stream | undefined
  /** It may publish what was sealed before. */
  readonly finishes?: boolean
  readonly force?: boolean
  /** Its user gave the sealed upload up. */
  readonly gaveUp?: boolean
  /** It opened a sink that is still open. */
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
}

/** What can be seen of one id after a step. */
export interface Seen {
  readonly object: Buffer | undefined
  readonly phase?: string | undefined
  readonly size?: number | undefined
}

interface Upload {
  /** What can be finished without its source. */
  sealed?: Stream | undefined
  live: boolean
  object: Buffer | undefined
  phase?: string | undefined
  /** A stranger wrote after our PutObject may have taken effect: theirs stays (rule 8). */
  contested?: boolean
}

/** Streams up to here go by PutObject. */
const PART = 102_400

/** Codes that a caller may see, by whether they leave something to resume. */
const RESUMABLE = [
  'ERR_SPOOL_UPLOAD_FAILED',
  'ERR_SPOOL_DENIED',
  'ERR_SPOOL_VERIFY',
  'ERR_SPOOL_LOCKED',
  'ERR_SPOOL_ABORTED',
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
    const upload = this.#uploads.get(id) ?? { live: false, object: undefined }
    this.#uploads.set(id, upload)
    return upload
  }

  /** A stranger wrote the id's key. */
  stranger(id: string, bytes: Buffer): void {
    const upload = this.of(id)
    upload.object = bytes
    // With parts, whether the upload id lives decides; of PutObject nothing else is known.
    const { length = Infinity } = upload.sealed?.bytes ?? {}
    upload.contested = !upload.live && upload.phase === 'completing' && length <= PART
  }

  /** Takes the step in; returns in words what no rule allows. */
  after(facts: Facts, seen: Seen): string[] {
    const { outcome, ended } = facts
    const upload = this.of(facts.id)
    const before = { ...upload }
    const wrong: string[] = []
    const unless = (allowed: boolean, what: string): void => void (allowed || wrong.push(what))

    // The object: as it was, or whole, by a stream that ended well and may be published now.
    const changed = !same(before.object, seen.object)
    const candidates: Stream[] = []
    if (ended !== undefined) candidates.push(ended)
    if (facts.finishes && before.sealed !== undefined) candidates.push(before.sealed)
    const published = candidates.find(({ bytes }) => same(bytes, seen.object))
    unless(!changed || published !== undefined, 'the object is none that may be published')
    if (changed && published?.overwrite === false && !facts.force) {
      unless(before.object === undefined, 'overwrite: false replaced an object')
    }

    if (before.contested && facts.force !== true && ended === undefined) {
      unless(!changed, "a stranger's object was overwritten (rule 8)")
    }

    // What the caller was told.
    if (outcome.kind === 'done' && !outcome.receipt && outcome.size !== undefined) {
      unless(
        published?.bytes.length === outcome.size,
        'done, but OSS holds something else (rule 1)',
      )
    }
    if (outcome.kind === 'failed') {
      const { code, resumable } = outcome
      unless((resumable ? RESUMABLE : FINAL).includes(code), `an unexpected error: ${outcome.text}`)
      if (code === 'ERR_SPOOL_OBJECT_EXISTS') unless(!changed, 'a key that is taken was written')
    }

    // What is sealed: kept until it is published, superseded by what is sealed, or given up (rule 6).
    const listed = seen.phase === 'sealed' || seen.phase === 'completing'
    // Two empty streams look the same: one that is not resumable is not the one that is sealed.
    const isTold = outcome.kind === 'failed' && !outcome.resumable
    const isOld = isTold && before.sealed !== undefined && same(ended?.bytes, before.sealed.bytes)
    const now = isOld
      ? before.sealed
      : candidates.concat(before.sealed ?? []).find(({ bytes }) => bytes.length === seen.size)
    if (listed)
      unless(
        now !== undefined,
        `sealed with ${seen.size} bytes, which no source ended with (rule 2)`,
      )
    if (before.sealed !== undefined && !facts.live) {
      const superseded = ended !== undefined && (same(ended.bytes, seen.object) || now === ended)
      const kept = listed && now !== undefined
      const settled = same(before.sealed.bytes, seen.object) || facts.gaveUp === true || superseded
      unless(kept || settled, 'a sealed upload is lost (rule 6)')
    }
    if (outcome.kind === 'failed' && outcome.code !== 'ERR_SPOOL_LOCKED' && !facts.live) {
      if (ended !== undefined && outcome.resumable)
        unless(now === ended, 'resumable, but not sealed')
      if (!outcome.resumable && outcome.code !== 'ERR_SPOOL_OBJECT_EXISTS')
        unless(
          ended === undefined || now !== ended,
          `sealed, but ${outcome.code} says not resumable`,
        )
      if (facts.finishes && before.sealed !== undefined && ended === undefined)
        unless(
          outcome.resumable || outcome.code === 'ERR_SPOOL_OBJECT_EXISTS',
          `${outcome.text} of a sealed upload`,
        )
    }

    upload.object = seen.object
    upload.live = facts.live ?? false
    if (facts.live) return wrong
    upload.sealed = listed ? now : undefined
    upload.phase = seen.phase
    if (changed || upload.sealed !== before.sealed) upload.contested = false
    return wrong
  }
}

function same(a: Buffer | undefined, b: Buffer | undefined): boolean {
  return a === undefined || b === undefined ? a === b : a.equals(b)
}
