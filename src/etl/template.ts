/**
 * Key templates: `events/dt={yyyy}-{MM}-{dd}/{partition}-{seq:05}.jsonl.gz`. A key depends on the
 * record's partition, the record's time and the number of the object alone, so another run of the same
 * job makes the same keys.
 */
import { invalidType, invalidValue } from '../errors.js'

const DATE = ['yyyy', 'MM', 'dd', 'HH', 'mm', 'ss'] as const
type DateName = (typeof DATE)[number]
type DateFields = Readonly<Record<DateName, string>>

/** What a key is made of. */
export interface KeyFields {
  readonly job: string
  readonly partition: string
  /** Of the record, in the time zone of the template. */
  readonly date: DateFields | undefined
  readonly seq: number
}

type Piece = string | ((fields: KeyFields) => string)

export class KeyTemplate {
  readonly #pieces: readonly Piece[]
  /** Placeholders it has, `seq` without its width. */
  readonly names: ReadonlySet<string>

  /** @param option the name under which the user gave it. @throws TypeError for unknown placeholders */
  constructor(option: string, template: unknown) {
    if (typeof template !== 'string') throw invalidType(option, 'a string', template)
    const names = new Set<string>()
    // With a capturing group, split gives text and placeholders in turn.
    this.#pieces = template.split(/\{([^{}]*)\}/).map((text, i) => {
      if (i % 2 === 0) {
        if (/[{}]/.test(text)) throw invalidValue(option, 'has a brace without its pair', template)
        return text
      }
      const [name, piece] = placeholder(text) ?? []
      if (name === undefined || piece === undefined) {
        throw invalidValue(option, `has the unknown placeholder {${text}}`, template)
      }
      names.add(name)
      return piece
    })
    this.names = names
  }

  /** Whether it has a placeholder of dates. */
  get hasDate(): boolean {
    return DATE.some(name => this.names.has(name))
  }

  /** The text before its first placeholder, up to its last slash. */
  get folder(): string {
    const [first] = this.#pieces
    return typeof first === 'string' ? first.slice(0, first.lastIndexOf('/') + 1) : ''
  }

  key(fields: KeyFields): string {
    let key = ''
    for (const piece of this.#pieces) key += typeof piece === 'string' ? piece : piece(fields)
    return key
  }
}

function placeholder(text: string): [name: string, piece: Piece] | undefined {
  const name = DATE.find(date => date === text)
  if (name !== undefined) return [name, ({ date }) => date?.[name] ?? '']
  if (text === 'partition') return [text, ({ partition }) => partition]
  if (text === 'job') return [text, ({ job }) => job]
  const width = /^seq(?::0(\d{1,2}))?$/.exec(text)
  if (width === null) return undefined
  return ['seq', ({ seq }) => String(seq).padStart(Number(width[1] ?? 1), '0')]
}

/** How many different seconds are remembered. */
const MAX_KNOWN = 1000

/** Times as the fields of a date in one time zone; a second is formatted once. */
export class Calendar {
  readonly #format: Intl.DateTimeFormat
  readonly #known = new Map<number, DateFields>()

  /** @throws TypeError for a time zone that Intl does not know */
  constructor(timeZone: unknown = 'UTC') {
    if (typeof timeZone !== 'string') throw invalidType('timeZone', 'a string', timeZone)
    const number = '2-digit'
    try {
      this.#format = new Intl.DateTimeFormat('en-US', {
        timeZone,
        calendar: 'gregory',
        numberingSystem: 'latn',
        hourCycle: 'h23',
        year: 'numeric',
        month: number,
        day: number,
        hour: number,
        minute: number,
        second: number,
      })
    } catch {
      throw invalidValue('timeZone', 'must be a time zone such as "Asia/Shanghai"', timeZone)
    }
  }

  /** @throws TypeError for what is no time */
  fields(time: unknown): DateFields {
    const ms = time instanceof Date ? time.getTime() : time
    if (typeof ms !== 'number' || Number.isNaN(new Date(ms).getTime())) {
      throw invalidType('time', 'a function that returns a Date or milliseconds', time)
    }
    const second = Math.floor(ms / 1000)
    const before = this.#known.get(second)
    if (before !== undefined) return before
    const parts = this.#format.formatToParts(second * 1000)
    const part = (type: Intl.DateTimeFormatPartTypes): string =>
      parts.find(p => p.type === type)?.value ?? ''
    const fields = {
      yyyy: part('year').padStart(4, '0'),
      MM: part('month'),
      dd: part('day'),
      HH: part('hour'),
      mm: part('minute'),
      ss: part('second'),
    }
    if (this.#known.size === MAX_KNOWN) this.#known.clear()
    this.#known.set(second, fields)
    return fields
  }
}
