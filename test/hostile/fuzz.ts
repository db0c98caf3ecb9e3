/**
 * A byte-level fuzzer. Mutates valid input reproducibly, and checks that no input pollutes the prototypes that
 * all objects share.
 */
import type { Test } from 'tap'
import { LONG } from '../support/long.js'

export type Random = () => number

/** Multiplier of the number of runs. `npm run fuzz` sets `RUNS`; `npm test` uses 50. */
const SCALE = Number(process.env['RUNS'] ?? (LONG ? 1000 : 50)) / 100

/** Returns the number of runs to make where `RUNS=100` makes `short`. */
export function runs(short: number): number {
  return Math.ceil(short * SCALE)
}

/** Tokens that often break parsers. */
const TOKENS = [
  '\0',
  '\r\n',
  '\r\n\r\n',
  '\n',
  '%00',
  '%2e%2e%2f',
  '../',
  '//',
  '%',
  '%zz',
  '+',
  '<',
  '>',
  '</',
  '<![CDATA[',
  '<!DOCTYPE a [<!ENTITY b "c">]>',
  '&b;',
  '&#0;',
  '&#x110000;',
  '&amp;',
  '"',
  "'",
  '[',
  '{',
  '}',
  ']',
  ',',
  ':',
  '=',
  ';',
  '?',
  '&',
  '#',
  '__proto__',
  'constructor',
  'prototype',
  '-1',
  '0',
  '9'.repeat(30),
  '1e999',
  'NaN',
  'Infinity',
  'null',
  'true',
  '\u{1f4a5}',
  '\ufeff',
  '\ud800',
  '\x1b[2J',
  'A'.repeat(3000),
  'Transfer-Encoding: chunked\r\n',
  'Content-Length: 7\r\n',
].map(token => Buffer.from(token))

/** Returns a copy of `bytes` with one to eight changes. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let mutant: Buffer = Buffer.from(bytes)
  for (let left = 1 + below(random, 8); left > 0; left--) mutant = changed(random, mutant)
  return mutant
}

/** Returns a random integer in `[0, end)`. */
export function below(random: Random, end: number): number {
  return Math.floor(random() * end)
}

export function oneOf<T>(random: Random, all: readonly T[]): T {
  return all[below(random, all.length)]!
}

function changed(random: Random, bytes: Buffer): Buffer {
  const at = below(random, bytes.length + 1)
  const length = 1 + below(random, random() < 0.8 ? 8 : bytes.length + 1)
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
  const rest = bytes.subarray(at + length)
  switch (below(random, 7)) {
    case 0: {
      const flipped = Buffer.from(bytes)
      if (at < flipped.length) flipped[at] = (flipped[at] ?? 0) ^ (1 << below(random, 8))
      return flipped
    }
    case 1:
      return Buffer.concat([before, rest])
    case 2:
      return Buffer.concat([before, oneOf(random, TOKENS), after])
    case 3:
      return Buffer.concat([before, oneOf(random, TOKENS), rest])
    case 4:
      return Buffer.concat([before, bytes.subarray(at, at + length), after])
    case 5:
      return Buffer.concat([before, Buffer.from([below(random, 256)]), after])
    default: {
      const from = below(random, bytes.length + 1)
      return Buffer.concat([before, bytes.subarray(from, from + length), rest])
    }
  }
}

const PROTOTYPES = [Object.prototype, Array.prototype, Function.prototype, String.prototype]
const BEFORE = PROTOTYPES.map(prototype => Reflect.ownKeys(prototype).map(String).join())

/** Throws if an input has changed a prototype that all objects share. */
export function assertUnpolluted(): void {
  PROTOTYPES.forEach((prototype, i) => {
    if (Reflect.ownKeys(prototype).map(String).join() !== BEFORE[i])
      throw new Error('a prototype was polluted')
  })
}

/** Runs `once` `runs(count)` times and stops at the first failure. `randomOf` prints the seed. */
export async function fuzz(t: Test, count: number, once: (run: number) => unknown): Promise<void> {
  for (let run = 0; run < runs(count); run++) {
    try {
      await once(run)
      assertUnpolluted()
    } catch (error) {
      return void t.fail(`run ${run}: ${String(error)}`, { cause: error })
    }
  }
  t.pass(`${runs(count)} runs`)
}
