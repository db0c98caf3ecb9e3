/**
 * What a byte-level fuzzer is made of: changes to bytes that were right, drawn from a seed that can be
 * had again, and the look at what no input may ever change: the prototypes that all objects share.
 */
import type { Test } from 'tap'
import { LONG } from '../support/long.js'

export type Random = () => number

/** `npm run fuzz` sets `RUNS`; 100 are the short budget of `npm test`. */
const SCALE = Number(process.env['RUNS'] ?? (LONG ? 1000 : 100)) / 100

export function runs(short: number): number {
  return Math.ceil(short * SCALE)
}

/** What parsers stumble over. */
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

/** `bytes` with one to eight changes. */
export function mutate(random: Random, bytes: Buffer): Buffer {
  let mutant: Buffer = Buffer.from(bytes)
  for (let left = 1 + below(random, 8); left > 0; left--) mutant = changed(random, mutant)
  return mutant
}

/** A number in `[0, end)`. */
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

/** Throws when an input has reached what all objects inherit. */
export function assertUnpolluted(): void {
  PROTOTYPES.forEach((prototype, i) => {
    if (Reflect.ownKeys(prototype).map(String).join() !== BEFORE[i])
      throw new Error('a prototype was polluted')
  })
}

/** Runs `once` as often as the budget says; a failure tells the input, and the seed is told at the end. */
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
