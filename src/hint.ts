/**
 * Hints: the next step after a failure. The library proposes calls, the command line proposes commands, so a hint
 * that names a step is a function of the wording.
 */

/** Prefix of the recorded endpoint of an embedded OSS. The path of its directory follows, instead of a URL. */
export const EMBEDDED_PREFIX = 'local:'

/** Place of a record, as far as it selects the OSS. */
export interface RecordedPlace {
  readonly endpoint: string
  readonly region: string
}

/** Words the steps that a hint can propose. Each is a clause such as `call spool.abort('id')`. */
export interface HintWording {
  /**
   * Finish upload `id`. `force`: over any other object; `to`: at another place, for the user to fill in; `at`: it
   * is recorded for this place, which is not the place of this connection.
   */
  resume(
    id: string,
    options?: {
      readonly force?: true
      readonly to?: MoveHint
      readonly at?: RecordedPlace | undefined
    },
  ): string
  /** Give up upload `id`, here and on OSS. `remote: false`: here only; `at`: as for `resume`. */
  abort(
    id: string,
    options?: { readonly remote?: false; readonly at?: RecordedPlace | undefined },
  ): string
  /** Upload a file if it has this size and CRC64. `object` is where to; without it, that is for the user to fill in. */
  upload(
    file: string,
    to: {
      readonly object: { readonly bucket: string; readonly key: string } | undefined
      readonly size: number
      readonly crc64?: string
    },
  ): string
  /** List the unfinished uploads. */
  list(): string
  /** Name of an upload option. */
  option(name: 'id' | 'dir' | 'force' | 'maxSpoolBytes' | 'client.endpoint'): string
}

/** What of the place of an object is to be another. */
export type MoveHint = 'object' | 'key' | 'endpoint'

/** A hint as it is, or one that words the steps it proposes. */
export type Hint = string | ((say: HintWording) => string)

/** The wording of the library. */
export const CALLS: HintWording = {
  resume(id, { force, to, at } = {}) {
    const options = [
      ...(to === undefined ? [] : [MOVES[to]]),
      ...(force === true ? ['force: true'] : []),
    ]
    const argument = options.length === 0 ? '' : `, { ${options.join(', ')} }`
    return `${clientOf(at)}call spool.resume('${id}'${argument})`
  },
  abort: (id, { remote, at } = {}) =>
    `${clientOf(at)}call spool.abort('${id}'${remote === false ? ', { remote: false }' : ''})`,
  upload(file, { object, size, crc64 }) {
    const key = object === undefined ? 'key' : JSON.stringify(object.key)
    const source = `() => createReadStream(${JSON.stringify(file)})`
    return `call spool.upload(${key}, ${source}, { expect: { bytes: ${size}${crc64 === undefined ? '' : `, crc64: '${crc64}'`} } })`
  },
  list: () => 'call spool.uploads()',
  option: name => name,
}

/** Where the bytes are that `resume` can publish. Those that are partly on OSS cannot be moved. */
export type KeptPlace = 'here' | 'partly on OSS' | 'nowhere'

/**
 * Returns the next step of an upload whose key is taken. Replacing the other object comes last and is no command to
 * copy: that object may be another run's, whose records would be lost.
 */
export function keyTakenHint(id: string, kept: KeptPlace): Hint {
  if (kept === 'nowhere') {
    return say =>
      `Upload again from the source, to another key. To discard this upload, ${say.abort(id)}.`
  }
  return say => {
    const move =
      kept === 'here' ? `To publish them under another key, ${say.resume(id, { to: 'key' })}. ` : ''
    return `The bytes are kept. ${move}To discard them, ${say.abort(id)}. Resuming with ${say.option('force')} replaces the existing object, which is then lost.`
  }
}

function clientOf(place: RecordedPlace | undefined): string {
  return place === undefined ? '' : `use a client for ${place.endpoint} and `
}

/** Words a hint. */
export function wordHint(hint: Hint, wording: HintWording): string {
  return typeof hint === 'string' ? hint : hint(wording)
}

const MOVES: Readonly<Record<MoveHint, string>> = {
  object: 'to: { bucket, key }',
  key: 'to: { key }',
  endpoint: 'to: { endpoint, region }',
}
