/**
 * Finds out which bytes are sent again: those of failed requests, if their part is sent later, and those of parts that
 * OSS had acknowledged under an upload id that is gone. Keeps one number per part of each upload in progress.
 */
export class SentParts {
  /** Bytes sent of each part, by upload id. */
  readonly #uploads = new Map<string, Map<number, number>>()

  /** A request with a part failed after `sent` bytes. */
  failed(id: string, part: number, sent: number): void {
    const parts = this.#partsOf(id)
    parts.set(part, (parts.get(part) ?? 0) + sent)
  }

  /** OSS acknowledged a part. @returns the bytes of it that had been sent before */
  acknowledged(id: string, part: number, size: number): number {
    const parts = this.#partsOf(id)
    const before = parts.get(part) ?? 0
    parts.set(part, size)
    return before
  }

  /** OSS has a part, perhaps by a request whose reply was lost. */
  found(id: string, part: number): void {
    this.#uploads.get(id)?.delete(part)
  }

  /** The upload has ended in this run. */
  ended(id: string): void {
    this.#uploads.delete(id)
  }

  #partsOf(id: string): Map<number, number> {
    const existing = this.#uploads.get(id)
    if (existing !== undefined) return existing
    const parts = new Map<number, number>()
    this.#uploads.set(id, parts)
    return parts
  }
}
