/**
 * Hints: the next step after a failure. The library proposes calls, the command line proposes commands, so a hint
 * that names a step is a function of the wording.
 */

/** Words the steps that a hint can propose. Each is a clause such as `call spool.abort('id')`. */
export interface HintWording {
  /** Finish upload `id`. `force`: whatever is in the way; `to`: at another place, for the user to fill in. */
  resume(id: string, options?: { readonly force?: true; readonly to?: MoveHint }): string
  /** Give up upload `id`, here and on OSS. */
  abort(id: string): string
  /** List the unfinished uploads. */
  list(): string
  /** Name of an upload option. */
  option(name: 'id' | 'dir' | 'maxSpoolBytes' | 'client.endpoint'): string
}

/** What of the place of an object is to be another. */
export type MoveHint = 'object' | 'endpoint'

/** A hint as it is, or one that words the steps it proposes. */
export type Hint = string | ((say: HintWording) => string)

/** The wording of the library. */
export const CALLS: HintWording = {
  resume(id, { force, to } = {}) {
    const options = [
      ...(to === undefined ? [] : [MOVES[to]]),
      ...(force === true ? ['force: true'] : []),
    ]
    const argument = options.length === 0 ? '' : `, { ${options.join(', ')} }`
    return `call spool.resume('${id}'${argument})`
  },
  abort: id => `call spool.abort('${id}')`,
  list: () => 'call spool.uploads()',
  option: name => name,
}

/** Words a hint. */
export function wordHint(hint: Hint, wording: HintWording): string {
  return typeof hint === 'string' ? hint : hint(wording)
}

const MOVES: Readonly<Record<MoveHint, string>> = {
  object: 'to: { bucket, key }',
  endpoint: 'to: { endpoint, region }',
}
