/**
 * Makes `src/crc64-wasm.ts`: the inner loops of CRC-64 as WebAssembly, since JavaScript has no 64-bit
 * integers that are fast. Three stretches of the same bytes are hashed at a time: one CRC is a chain
 * in which every table lookup waits for the one before, three keep the processor busy.
 *
 *     npm run build:wasm
 *
 * Memory: 16 KiB of tables (slicing-by-8: table k has the effect of a byte that k more bytes follow),
 * from 64 KiB on the bytes to hash.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import wabt from 'wabt'

const POLYNOMIAL = '0xc96c5795d7870f42' // ECMA-182, reflected
const DATA = 65_536
const TABLE = 2_048 // bytes of one table

/** The entry of table `k` for the byte that `shifted` has at bits 3 to 10. */
const entry = (k, shifted) =>
  `(i64.load offset=${k * TABLE} (i32.and ${shifted} (i32.const 0x7f8)))`

/** Four entries for the bytes of `word`, the first of which `k` more bytes follow. */
const entries = (word, k) => `(i64.xor
  (i64.xor ${entry(k, `(i32.shl ${word} (i32.const 3))`)} ${entry(k - 1, `(i32.shr_u ${word} (i32.const 5))`)})
  (i64.xor ${entry(k - 2, `(i32.shr_u ${word} (i32.const 13))`)} ${entry(k - 3, `(i32.shr_u ${word} (i32.const 21))`)}))`

/** Takes the 8 bytes at `at` into `crc`. */
const take8 = (crc, at) => `
  (local.set $x (i64.xor (local.get ${crc}) (i64.load offset=${DATA} ${at})))
  (local.set $low (i32.wrap_i64 (local.get $x)))
  (local.set $high (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 32))))
  (local.set ${crc} (i64.xor ${entries('(local.get $low)', 7)} ${entries('(local.get $high)', 3)}))`

const advance = (at, by) => `(local.tee ${at} (i32.add (local.get ${at}) (i32.const ${by})))`

const WAT = `(module
  (memory (export "memory") 2)

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

  ;; The CRC after $length bytes, without its final inversion. Of these, 3 * $third go in three
  ;; lanes; $shift is what $third zero bytes do to a CRC. $third is a multiple of 8.
  (func (export "update") (param $a i64) (param $length i32) (param $third i32) (param $shift i64)
    (result i64)
    (local $b i64) (local $c i64) (local $x i64) (local $low i32) (local $high i32)
    (local $at i32) (local $end i32)
    (if (local.get $third) (then
      (local.set $end (i32.shl (local.get $third) (i32.const 1)))
      (loop $lanes
        ${take8('$a', '(local.get $at)')}
        ${take8('$b', '(i32.add (local.get $at) (local.get $third))')}
        ${take8('$c', '(i32.add (local.get $at) (local.get $end))')}
        (br_if $lanes (i32.lt_u ${advance('$at', 8)} (local.get $third))))
      (local.set $a (i64.xor (local.get $b) (call $multiply (local.get $a) (local.get $shift))))
      (local.set $a (i64.xor (local.get $c) (call $multiply (local.get $a) (local.get $shift))))
      (local.set $at (i32.add (local.get $end) (local.get $third)))))
    (local.set $end (i32.sub (local.get $length) (i32.const 7)))
    (block $done (loop $words
      (br_if $done (i32.ge_s (local.get $at) (local.get $end)))
      ${take8('$a', '(local.get $at)')}
      (drop ${advance('$at', 8)})
      (br $words)))
    (block $done (loop $bytes
      (br_if $done (i32.ge_u (local.get $at) (local.get $length)))
      (local.set $a (i64.xor (i64.shr_u (local.get $a) (i64.const 8))
        (i64.load (i32.shl (i32.and (i32.const 255)
          (i32.xor (i32.wrap_i64 (local.get $a)) (i32.load8_u offset=${DATA} (local.get $at))))
          (i32.const 3)))))
      (drop ${advance('$at', 1)})
      (br $bytes)))
    (local.get $a))

  ;; Fills the tables: table 0 bit by bit, each other one from the one before.
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

/** The text of `src/crc64-wasm.ts`. */
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
