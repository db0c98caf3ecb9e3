/** One request and its reply as they are recorded: without secrets. */

export interface Exchange {
  /** Name of the check that sent it. */
  readonly check: string
  readonly method: string
  readonly url: string
  readonly requestHeaders: Readonly<Record<string, string>>
  /** Text of an XML body, otherwise its size. */
  readonly requestBody: string
  /** 0 if there was no complete reply. */
  readonly status: number
  readonly replyHeaders: Readonly<Record<string, string>>
  /** Text of an XML body, otherwise its size and CRC64. */
  readonly replyBody: string
  /** Reason why there was no complete reply. */
  readonly failure?: string
  /** Time of the reply, in ms since 1970. */
  readonly time: number
}

/** Result of a step that is more than one request. */
export interface Note {
  readonly check: string
  readonly note: string
  readonly value: string
}

export type Entry = Exchange | Note

export function isNote(entry: Entry): entry is Note {
  return 'note' in entry
}
