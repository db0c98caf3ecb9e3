/**
 * CRC-64 as OSS computes it (ECMA-182, reflected; the same as CRC-64/XZ): the one checksum that
 * OSS returns for parts and for whole objects, so the one that every byte here is held against.
 * A CRC is a `bigint` in memory and an unsigned decimal string on the wire and on disk.
 */
import { CRC64_WASM } from './crc64-wasm.js'

/** What is used of it here: TypeScript declares it for browsers only. */
declare const WebAssembly: {
  Module: new (binary: Uint8Array) => object
  Instance: new (module: object) => { readonly exports: object }
}

/** What `scripts/crc64-wasm.mjs` makes. */
interface Kernel {
  readonly memory: { readonly buffer: ArrayBuffer }
  /** The state after the first `length` bytes of `data`, which it writes over. */
  readonly update: (state: bigint, length: number) => bigint
  /** a(x) * b(x) modulo the polynomial, in reflected form: the highest bit is x^0. */
  readonly multiply: (a: bigint, b: bigint) => bigint
}

const module = new WebAssembly.Module(Buffer.from(CRC64_WASM, 'base64'))
// What a module exports has no type but that of its author's word.
const kernel = new WebAssembly.Instance(module).exports as Kernel
const data = new Uint8Array(kernel.memory.buffer, 65_536, 65_536)

/** Bits that a CRC starts from and is inverted with at its end. */
const ONES = 2n ** 64n - 1n

/** A running CRC-64. Calls are synchronous. */
export class Crc64 {
  #state = ONES

  /** Feeds the next bytes. */
  update(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += data.length) {
      const piece = bytes.length <= data.length ? bytes : bytes.subarray(at, at + data.length)
      data.set(piece)
      this.#state = kernel.update(this.#state, piece.length)
    }
  }

  /** The CRC of all bytes so far. */
  digest(): bigint {
    return BigInt.asUintN(64, ~this.#state)
  }

  /** Starts a new sequence. */
  reset(): void {
    this.#state = ONES
  }
}

/** The CRC-64 of `bytes`. */
export function crc64(bytes: Uint8Array): bigint {
  const crc = new Crc64()
  crc.update(bytes)
  return crc.digest()
}

/** The CRC-64 of no bytes. */
export const EMPTY_CRC64 = 0n

/** x^(8 * 2^k): what 2^k zero bytes do to a CRC; x^0 is the highest bit. Filled on demand. */
const shiftOfPowerOfTwo: bigint[] = [1n << 55n]

/** Shifts by length: those of parts are few, and come in a row. */
const shiftCache = new Map<number, bigint>()
const MAX_CACHED_SHIFTS = 64

/** x^(8 * length): what `length` zero bytes do to a CRC. */
function shiftBy(length: number): bigint {
  const before = shiftCache.get(length)
  if (before !== undefined) return before
  let shift = 1n << 63n
  for (let k = 0, left = length; left > 0; k++, left = Math.floor(left / 2)) {
    const last = shiftOfPowerOfTwo[k - 1] ?? 0n // k - 1 was filled in the round before
    const power = (shiftOfPowerOfTwo[k] ??= kernel.multiply(last, last))
    if (left % 2 === 1) shift = kernel.multiply(shift, power)
  }
  if (shiftCache.size === MAX_CACHED_SHIFTS) shiftCache.clear()
  shiftCache.set(length, shift)
  return shift
}

/**
 * The CRC-64 of two sequences joined, from the CRC of each and the length of the second in bytes
 * (zlib's `crc32_combine` carried over to 64 bits).
 */
export function combineCrc64(first: bigint, second: bigint, secondLength: number): bigint {
  return BigInt.asUintN(64, kernel.multiply(shiftBy(secondLength), first)) ^ second
}
