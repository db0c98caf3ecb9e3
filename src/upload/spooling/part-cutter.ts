/**
 * The part cutter: appends incoming batches to the spool file, and hashes and cuts the parts of the plan. The
 * CRC64 of the whole stream is combined from those of the parts, so that each byte is hashed once.
 */
import { createHash, type Hash } from 'node:crypto'
import { combineCrc64, Crc64, EMPTY_CRC64 } from '../../crc64.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import type { ListedPart } from '../../oss/bucket.js'
import type { Expectation } from '../model/expectation.js'
import { updateHash } from '../../util/update-hash.js'
import { isFreed, type FreedRanges } from '../model/freed-parts.js'
import {
  firstPart,
  MAX_PARTS,
  nextPart,
  type CutPart,
  type Part,
  type Plan,
} from '../model/plan.js'

type ListedParts = ReadonlyMap<number, ListedPart>

/** The stream has more bytes than 10,000 parts of this plan can hold. */
export class PlanExhaustedError extends Error {
  override readonly name = 'PlanExhaustedError'
}

/** A point between two batches of the stream. */
export interface StreamPosition {
  readonly size: number
  /** CRC64 of all bytes before it. */
  readonly crc64: bigint
  /** Number of parts that end at or before it. */
  readonly completeParts: number
  /** CRC64 of the bytes after the last of them; `undefined` if there are none. */
  readonly tail?: bigint
}

export class PartCutter {
  readonly #file: SpoolFile
  readonly #plan: Plan
  readonly #crc = new Crc64()
  readonly #hashes: readonly [name: 'md5' | 'sha256', hash: Hash][]
  readonly #onPart: (part: CutPart) => void
  /** Strings, as in the checkpoint, which is written each second with up to 10,000 of them. */
  readonly #crcs: string[] = []
  #wholeCrc = EMPTY_CRC64
  /** The part that is being filled, and the number of its bytes so far. */
  #currentPart: Part
  #filledBytes = 0

  /** @param onPart – called with each complete part once its bytes are in the file */
  constructor(file: SpoolFile, plan: Plan, expect: Expectation, onPart: (part: CutPart) => void) {
    this.#file = file
    this.#plan = plan
    this.#onPart = onPart
    this.#currentPart = firstPart(plan)
    const names = (['md5', 'sha256'] as const).filter(name => expect[name] !== undefined)
    this.#hashes = names.map(name => [name, createHash(name)])
  }

  /** Bytes consumed so far. */
  get size(): number {
    return this.#currentPart.start + this.#filledBytes
  }

  /** CRC64 of each complete part, in decimal. */
  get crcs(): readonly string[] {
    return this.#crcs
  }

  /** Hashes and writes concurrently: writes run in another thread. */
  async write(chunks: readonly Uint8Array[]): Promise<void> {
    const writing = this.#file.append(chunks)
    let cut: CutPart[]
    try {
      cut = chunks.flatMap(chunk => this.#consume(chunk))
    } finally {
      await writing
    }
    for (const part of cut) this.#onPart(part)
  }

  /**
   * Verifies the bytes of an earlier run and continues after them.
   * @param earlier – the freed parts, which are holes in the file, and the parts that OSS lists
   * @returns the number of verified bytes; the rest of the file is truncated
   */
  async replay(
    crcs: readonly bigint[],
    earlier: { freed?: FreedRanges | undefined; listed?: ListedParts | undefined } = {},
  ): Promise<number> {
    for (const crc64 of crcs) {
      const part = { ...this.#currentPart, crc64 }
      if (part.start + part.size > this.#file.size) break
      const isIntact = isFreed(earlier.freed, part.number)
        ? isListed(earlier.listed, part)
        : (await this.#hashRegion(part)) === crc64
      if (!isIntact) break
      this.#onPart(this.#closePart(crc64))
    }
    this.#crc.reset()
    const { start } = this.#currentPart
    if (this.#file.size > start) await this.#file.truncate(start)
    for (const [, hash] of this.#hashes) {
      for await (const chunk of this.#file.chunks(0, start)) hash.update(chunk)
    }
    return start
  }

  /** Describes an object that ends after the bytes so far. Cheap; the CRCs of its parts are copied by `crcsOf`. */
  get position(): StreamPosition {
    const isPartOpen = this.#filledBytes > 0
    const tail = this.#crc.digest()
    return {
      size: this.size,
      crc64: isPartOpen ? combineCrc64(this.#wholeCrc, tail, this.#filledBytes) : this.#wholeCrc,
      completeParts: this.#crcs.length,
      ...(isPartOpen ? { tail } : {}),
    }
  }

  /** Returns the CRC64 of each part of an object that ends at `position`. */
  crcsOf({ completeParts, tail }: StreamPosition): string[] {
    const crcs = this.#crcs.slice(0, completeParts)
    return tail === undefined ? crcs : [...crcs, String(tail)]
  }

  /** Cuts the last part at the end of the stream. Call once. */
  end(): { size: number; crc64: bigint; crcs: string[]; md5?: string; sha256?: string } {
    const size = this.size
    if (this.#filledBytes > 0) {
      this.#currentPart = { ...this.#currentPart, size: this.#filledBytes }
      this.#onPart(this.#closePart(this.#crc.digest()))
    }
    const digests = this.#hashes.map(([name, hash]) => [name, hash.digest('hex')])
    return { size, crc64: this.#wholeCrc, crcs: [...this.#crcs], ...Object.fromEntries(digests) }
  }

  /** Hashes a chunk, which may span several parts. Returns the parts that it completes. */
  #consume(chunk: Uint8Array): CutPart[] {
    for (const [, hash] of this.#hashes) updateHash(hash, chunk)
    const cut: CutPart[] = []
    for (let at = 0; at < chunk.length;) {
      if (this.#currentPart.number > MAX_PARTS) {
        throw new PlanExhaustedError(`${MAX_PARTS} parts end at byte ${this.#currentPart.start}`)
      }
      const end = Math.min(chunk.length, at + this.#currentPart.size - this.#filledBytes)
      // Most chunks lie within one part. Avoid the garbage of a view for each.
      this.#crc.update(end - at === chunk.length ? chunk : chunk.subarray(at, end))
      this.#filledBytes += end - at
      at = end
      if (this.#filledBytes === this.#currentPart.size) {
        cut.push(this.#closePart(this.#crc.digest()))
        this.#crc.reset()
      }
    }
    return cut
  }

  #closePart(crc64: bigint): CutPart {
    const part = { ...this.#currentPart, crc64 }
    this.#crcs.push(String(crc64))
    this.#wholeCrc = combineCrc64(this.#wholeCrc, crc64, part.size)
    this.#currentPart = nextPart(this.#plan, part)
    this.#filledBytes = 0
    return part
  }

  async #hashRegion(part: Part): Promise<bigint> {
    this.#crc.reset()
    for await (const chunk of this.#file.chunks(part.start, part.size)) this.#crc.update(chunk)
    return this.#crc.digest()
  }
}

function isListed(listed: ListedParts | undefined, { number, size, crc64 }: CutPart): boolean {
  const part = listed?.get(number)
  return part?.size === size && part.crc64 === crc64
}
