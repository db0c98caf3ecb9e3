/**
 * Generates `src/crc64-wasm.ts`, the inner loops of CRC-64 as WebAssembly, because JavaScript has no fast 64-bit
 * integers.
 *
 *     npm run build:wasm
 *
 * A CRC is the remainder of a division by the polynomial, and adding a multiple of the polynomial does not change
 * the remainder. One of the multiples has only eight terms, each a power of x^8, so adding it requires no table
 * and no shift: XORing a byte into the seven bytes at the distances `LATER` eliminates it. All bytes of a piece
 * except its end are eliminated like this, 16 bytes per step. Only the end is hashed by tables, eight bytes per
 * step (slicing-by-8: table k has the effect of a byte followed by k more bytes). The idea comes from "Chorba"
 * (arXiv:2412.16398).
 *
 * Memory layout: 16 KiB of tables, zeros, the bytes to hash at 64 KiB, the end of the piece at 128 KiB.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import wabt from 'wabt'

const POLYNOMIAL = '0xc96c5795d7870f42' // ECMA-182, reflected
const DATA = 65_536
const END = 131_072
const TABLE = 2_048 // size of one table in bytes

/**
 * Distances in bytes from an eliminated byte to the bytes it is XORed into. With y = x^8, the multiple is
 * y^1429 + y^1132 + y^1010 + y^926 + y^641 + y^600 + y^501 + 1. It was found by a search for two sets of four
 * powers with the same sum; none has seven terms, because the polynomial is a multiple of x + 1. The smallest
 * distance is large enough for a processor to complete a store before it loads the same bytes; the largest is the
 * length of the end that remains for the tables.
 */
const LATER = [297, 419, 503, 788, 829, 928, 1429]

/** Length of the end of a piece in bytes; the actual end is up to 15 bytes longer. */
const REST = LATER.at(-1)

/** Minimum length of a piece in bytes. For shorter ones, eliminating bytes costs more than it saves. */
const FOLD_FROM = 4_096

/** Loads the entry of table `k` for the byte in bits 3 to 10 of `shifted`. */
const entry = (k, shifted) =>
  `(i64.load offset=${k * TABLE} (i32.and ${shifted} (i32.const 0x7f8)))`

/** Combines the entries for the four bytes of `word`, whose first byte is followed by `k` more bytes. */
const entries = (word, k) => `(i64.xor
  (i64.xor ${entry(k, `(i32.shl ${word} (i32.const 3))`)} ${entry(k - 1, `(i32.shr_u ${word} (i32.const 5))`)})
  (i64.xor ${entry(k - 2, `(i32.shr_u ${word} (i32.const 13))`)} ${entry(k - 3, `(i32.shr_u ${word} (i32.const 21))`)}))`

/** Adds the 8 bytes at `$at` to `$crc`. */
const take8 = `
  (local.set $x (i64.xor (local.get $crc) (i64.load offset=${DATA} (local.get $at))))
  (local.set $low (i32.wrap_i64 (local.get $x)))
  (local.set $high (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 32))))
  (local.set $crc (i64.xor ${entries('(local.get $low)', 7)} ${entries('(local.get $high)', 3)}))`

/** Loads the original 16 bytes at `$at`, and the 16 bytes located `by` bytes before them. */
const KEPT = `(v128.load offset=${DATA} (i32.add (local.get $at) (local.get $shift)))`
const cleared = by => `(v128.load offset=${DATA - by} (local.get $at))`

const advance = (at, by) => `(local.tee ${at} (i32.add (local.get ${at}) (i32.const ${by})))`

const WAT = `(module
  (memory (export "memory") 3)

  ;; a * b modulo the polynomial, reflected: the highest bit is x^0
  (func $multiply (export "multiply") (param $a i64) (param $b i64) (result i64) (local $product i64)
    (block $done (loop $bit
      (br_if $done (i64.eqz (local.get $a)))
      (local.set $product (i64.xor (local.get $product)
        (i64.and (local.get $b) (i64.shr_s (local.get $a) (i64.const 63)))))
      (local.set $a (i64.shl (local.get $a) (i64.const 1)))
      (local.set $b (i64.xor (i64.shr_u (local.get $b) (i64.const 1))
        (i64.and (i64.const ${POLYNOMIAL}) (i64.sub (i64.const 0) (i64.and (local.get $b) (i64.const 1))))))
      (br $bit)))
    (local.get $product))

  ;; XORs the eliminated bytes into the bytes from $at to $to, which are stored $shift bytes further on.
  (func $gather (param $at i32) (param $to i32) (param $shift i32)
    (loop $words
      (v128.store offset=${DATA} (i32.add (local.get $at) (local.get $shift))
        ${LATER.reduce((sum, by) => `(v128.xor ${sum} ${cleared(by)})`, KEPT)})
      (br_if $words (i32.lt_u ${advance('$at', 16)} (local.get $to)))))

  ;; Returns the CRC after $length bytes, without the final inversion.
  (func (export "update") (param $crc i64) (param $length i32) (result i64)
    (local $x i64) (local $low i32) (local $high i32) (local $at i32) (local $end i32) (local $shift i32)
    (if (i32.ge_u (local.get $length) (i32.const ${FOLD_FROM})) (then
      (i64.store (i32.const ${DATA}) (i64.xor (local.get $crc) (i64.load (i32.const ${DATA}))))
      (local.set $crc (i64.const 0))
      (local.set $at (i32.and (i32.sub (local.get $length) (i32.const ${REST})) (i32.const -16)))
      (call $gather (i32.const 0) (local.get $at) (i32.const 0))
      ;; The end is not eliminated: zeros replace it, so that it adds nothing to itself.
      (memory.copy (i32.const ${END}) (i32.add (local.get $at) (i32.const ${DATA}))
        (i32.sub (local.get $length) (local.get $at)))
      (memory.fill (i32.add (local.get $at) (i32.const ${DATA})) (i32.const 0)
        (i32.sub (local.get $length) (local.get $at)))
      (local.set $shift (i32.sub (i32.const ${END - DATA}) (local.get $at)))
      (call $gather (local.get $at) (local.get $length) (local.get $shift))
      (local.set $at (i32.const ${END - DATA}))
      (local.set $length (i32.add (local.get $length) (local.get $shift)))))
    (local.set $end (i32.sub (local.get $length) (i32.const 7)))
    (block $done (loop $words
      (br_if $done (i32.ge_s (local.get $at) (local.get $end)))
      ${take8}
      (drop ${advance('$at', 8)})
      (br $words)))
    (block $done (loop $bytes
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (local.set $crc (i64.xor (i64.shr_u (local.get $crc) (i64.const 8))
        (i64.load (i32.shl (i32.and (i32.const 255)
          (i32.xor (i32.wrap_i64 (local.get $crc)) (i32.load8_u offset=${DATA} (local.get $at))))
          (i32.const 3)))))
      (drop ${advance('$at', 1)})
      (br $bytes)))
    (local.get $crc))

  ;; Fills table 0 bit by bit, and each further table from the previous one.
  (func $tables (local $at i32) (local $crc i64) (local $bit i32)
    (loop $first
      (local.set $crc (i64.extend_i32_u (i32.shr_u (local.get $at) (i32.const 3))))
      (local.set $bit (i32.const 8))
      (loop $bits
        (local.set $crc (i64.xor (i64.shr_u (local.get $crc) (i64.const 1))
          (i64.and (i64.const ${POLYNOMIAL}) (i64.sub (i64.const 0) (i64.and (local.get $crc) (i64.const 1))))))
        (br_if $bits (local.tee $bit (i32.sub (local.get $bit) (i32.const 1)))))
      (i64.store (local.get $at) (local.get $crc))
      (br_if $first (i32.lt_u ${advance('$at', 8)} (i32.const ${TABLE}))))
    (loop $others
      (local.set $crc (i64.load (i32.sub (local.get $at) (i32.const ${TABLE}))))
      (i64.store (local.get $at) (i64.xor (i64.shr_u (local.get $crc) (i64.const 8))
        (i64.load (i32.shl (i32.and (i32.wrap_i64 (local.get $crc)) (i32.const 255)) (i32.const 3)))))
      (br_if $others (i32.lt_u ${advance('$at', 8)} (i32.const ${8 * TABLE})))))
  (start $tables))`

/** Returns the text of `src/crc64-wasm.ts`. */
export async function generate() {
  const compiler = await wabt()
  const module = compiler.parseWat('crc64.wat', WAT)
  const { buffer } = module.toBinary({})
  module.destroy()
  const lines = Buffer.from(buffer)
    .toString('base64')
    .match(/.{1,90}/g)
  return `/** Made by \`npm run build:wasm\` from \`scripts/crc64-wasm.mjs\`. */
export const CRC64_WASM =
${lines.map(line => `  '${line}'`).join(' +\n')}
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('../src/crc64-wasm.ts', import.meta.url), await generate())
}
