/**
 * Key templates, such as `events/dt={yyyy}-{MM}-{dd}/{partition}-{seq:05}.jsonl.gz`. A key depends only on the
 * job, the record's partition and time, and the number of the object, so that every run of a job gives the
 * same keys.
 */
import { invalidType, invalidValue } from '../errors.js'
import { DATE_PLACEHOLDERS, type DateFields } from './date-fields.js'
import { escapePartition, partitionPath } from './partition.js'

/** Values of the placeholders. */
export interface KeyFields {
  readonly job: string
  /** Text of the partition, not escaped. */
  readonly partition: string
  /** Date of the record, in the time zone of the job. */
  readonly date: DateFields | undefined
  readonly seq: number
}

type TemplateSegment = string | ((fields: KeyFields) => string)

export class KeyTemplate {
  readonly #segments: readonly TemplateSegment[]
  /** Names of the placeholders in the template; `seq` without its width. */
  readonly placeholders: ReadonlySet<string>

  /**
   * @param option – name of the option that holds the template, for error messages
   * @throws TypeError if the template has an unknown placeholder or an unmatched brace
   */
  constructor(option: string, template: unknown) {
    if (typeof template !== 'string') throw invalidType(option, 'a string', template)
    const placeholders = new Set<string>()
    // With a capturing group, `split()` alternates between text and placeholders.
    this.#segments = template.split(/\{([^{}]*)\}/).map((text, i) => {
      if (i % 2 === 0) {
        if (/[{}]/.test(text)) throw invalidValue(option, 'has an unmatched brace', template)
        return text
      }
      const [name, segment] = parsePlaceholder(text) ?? []
      if (name === undefined || segment === undefined) {
        throw invalidValue(option, `has the unknown placeholder {${text}}`, template)
      }
      placeholders.add(name)
      return segment
    })
    this.placeholders = placeholders
  }

  /** Whether the template has a date placeholder. */
  get hasDate(): boolean {
    return DATE_PLACEHOLDERS.some(name => this.placeholders.has(name))
  }

  /** The fixed text before the first placeholder, up to its last slash. */
  get folder(): string {
    const [first] = this.#segments
    return typeof first === 'string' ? first.slice(0, first.lastIndexOf('/') + 1) : ''
  }

  /** @throws TypeError if `{partition:path}` gets a path with a segment that is not safe */
  key(fields: KeyFields): string {
    let key = ''
    for (const segment of this.#segments)
      key += typeof segment === 'string' ? segment : segment(fields)
    return key
  }
}

function parsePlaceholder(text: string): [name: string, piece: TemplateSegment] | undefined {
  const name = DATE_PLACEHOLDERS.find(date => date === text)
  if (name !== undefined) return [name, ({ date }) => date?.[name] ?? '']
  if (text === 'partition') return [text, ({ partition }) => escapePartition(partition)]
  if (text === 'partition:path') return ['partition', ({ partition }) => partitionPath(partition)]
  if (text === 'job') return [text, ({ job }) => job]
  const width = /^seq(?::0(\d{1,2}))?$/.exec(text)
  if (width === null) return undefined
  return ['seq', ({ seq }) => String(seq).padStart(Number(width[1] ?? 1), '0')]
}
