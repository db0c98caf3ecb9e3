/**
 * Key templates: `events/dt={yyyy}-{MM}-{dd}/{partition}-{seq:05}.jsonl.gz`. A key depends on the
 * record's partition, the record's time and the number of the object alone, so another run of the same
 * job makes the same keys.
 */
import { invalidType, invalidValue } from '../errors.js'
import { DATE_NAMES, type DateFields } from './calendar.js'

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
    return DATE_NAMES.some(name => this.names.has(name))
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
  const name = DATE_NAMES.find(date => date === text)
  if (name !== undefined) return [name, ({ date }) => date?.[name] ?? '']
  if (text === 'partition') return [text, ({ partition }) => partition]
  if (text === 'job') return [text, ({ job }) => job]
  const width = /^seq(?::0(\d{1,2}))?$/.exec(text)
  if (width === null) return undefined
  return ['seq', ({ seq }) => String(seq).padStart(Number(width[1] ?? 1), '0')]
}
