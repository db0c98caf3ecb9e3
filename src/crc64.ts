/**
 * CRC-64 as OSS computes it (ECMA-182, reflected; the same as CRC-64/XZ): the one checksum that
 * OSS returns for parts and for whole objects, so the one that every byte here is held against.
 * A CRC is a `bigint` in memory and an unsigned decimal string on the wire and on disk.
 */
import { createCRC64 } from 'hash-wasm'

/** A running CRC-64. Calls are synchronous; one instance serves one sequence of bytes at a time. */
export interface Crc64 {
  /** Feeds the next bytes. */
  update(bytes: Uint8Array): void
  /** The CRC of all bytes since the last `reset()`; ends the sequence: `reset()` must come next. */
  digest(): bigint
  /** Starts a new sequence. */
  reset(): void
}

/** A new hasher at the start of a sequence. Asynchronous because its WebAssembly is compiled once. */
export async function createCrc64(): Promise<Crc64> {
  const hasher = await createCRC64()
  hasher.init()
  return {
    update: bytes => void hasher.update(bytes),
    digest: () => BigInt(`0x${hasher.digest('hex')}`),
    reset: () => void hasher.init(),
  }
}

/** The CRC-64 of no bytes. */
export const EMPTY_CRC64 = 0n

const POLYNOMIAL = 0xc96c5795d7870f42n
const ONE = 1n << 63n // x^0: the reflected form keeps the lowest power in the highest bit

/** a(x) * b(x) modulo the polynomial, in reflected form. */
function multiply(a: bigint, b: bigint): bigint {
  let product = 0n
  for (let bit = ONE; bit !== 0n; bit >>= 1n) {
    if ((a & bit) !== 0n) product ^= b
    b = (b & 1n) === 0n ? b >> 1n : (b >> 1n) ^ POLYNOMIAL
  }
  return product
}

/** x^(8 * 2^k): what 2^k zero bytes do to a CRC; filled on demand. */
const shiftOfPowerOfTwo: bigint[] = [ONE >> 8n]

/** x^(8 * length): what `length` zero bytes do to a CRC. */
function shiftBy(length: number): bigint {
  let shift = ONE
  for (let k = 0; length > 0; k++, length = Math.floor(length / 2)) {
    const power = (shiftOfPowerOfTwo[k] ??= multiply(
      shiftOfPowerOfTwo[k - 1]!, // k - 1 was filled in the round before
      shiftOfPowerOfTwo[k - 1]!,
    ))
    if (length % 2 === 1) shift = multiply(shift, power)
  }
  return shift
}

let lastLength = -1
let lastShift = ONE

/**
 * The CRC-64 of two sequences joined, from the CRC of each and the length of the second in bytes
 * (zlib's `crc32_combine` carried over to 64 bits). Equal lengths in a row, as parts have them,
 * cost one multiplication each.
 */
export function combineCrc64(first: bigint, second: bigint, secondLength: number): bigint {
  if (secondLength !== lastLength) {
    lastShift = shiftBy(secondLength)
    lastLength = secondLength
  }
  return multiply(lastShift, first) ^ second
}
