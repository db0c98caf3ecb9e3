/** Counts the objects of a job that ended because of a limit on open objects, and reports them as warnings. */

/** Name of an option of `rotate` that limits open objects. */
export type OpenLimit = 'maxOpen' | 'maxOpenFiles'

/** Argument of the `warning` event of `rotate`: objects ended early because of a limit on open objects. */
export interface RotateWarning {
  /** Description for people. */
  readonly message: string
  /** Name of the option. */
  readonly option: OpenLimit
  /** Value of the option. */
  readonly limit: number
  /** Number of objects that have ended early because of it. */
  readonly objects: number
}

export class EarlyEnds {
  readonly #limits: Readonly<Record<OpenLimit, number>>
  readonly #warn: (warning: RotateWarning) => void
  readonly #counts = new Map<OpenLimit, number>()
  /** Counts at the latest warnings. */
  readonly #reported = new Map<OpenLimit, number>()

  constructor(limits: Readonly<Record<OpenLimit, number>>, warn: (warning: RotateWarning) => void) {
    this.#limits = limits
    this.#warn = warn
  }

  /** Counts an object. Warns about the first one, and whenever the number has doubled. */
  add(option: OpenLimit): void {
    const objects = (this.#counts.get(option) ?? 0) + 1
    this.#counts.set(option, objects)
    if (objects >= 2 * (this.#reported.get(option) ?? 0)) this.#report(option, objects)
  }

  /** Reports the final numbers, unless they are reported already. */
  finish(): void {
    for (const [option, objects] of this.#counts) {
      if (objects !== this.#reported.get(option)) this.#report(option, objects)
    }
  }

  #report(option: OpenLimit, objects: number): void {
    this.#reported.set(option, objects)
    const limit = this.#limits[option]
    const subject = objects === 1 ? '1 object' : `${objects} objects`
    const message = `${subject} ended early because of the limit ${option}, which is ${limit}. Their next records start further objects. Sort the records by object, or raise the limit`
    this.#warn({ message, option, limit, objects })
  }
}
