/** Test files with slow tests, or with tables that are sampled. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from './compile.mjs'

/** `npm test` runs these, which test what the README claims, and one in six of the others. */
const ALWAYS = ['test/docs.test.ts', 'test/crash/kill.test.ts']
const ONE_IN = 6

/** Returns whether a file of the tests imports `support/long.ts`, directly or through other files of the tests. */
export function isSlow(file, seen = new Set()) {
  if (file === join(root, 'test/support/long.ts')) return true
  if (seen.has(file) || !file.startsWith(join(root, 'test/'))) return false
  seen.add(file)
  const imports = readFileSync(file, 'utf8').matchAll(/ from '(\.[^']*)\.js'/g)
  return [...imports].some(([, path]) => isSlow(join(dirname(file), `${path}.ts`), seen))
}

/** Splits all files into those to run, which are others each time, and those that are left to `npm run torture`. */
export function sampleSlow(files) {
  const offset = Math.floor(Math.random() * ONE_IN)
  const slow = files.filter(file => !ALWAYS.includes(file) && isSlow(join(root, file))).toSorted()
  const left = new Set(slow.filter((_, at) => at % ONE_IN !== offset))
  return { chosen: files.filter(file => !left.has(file)), left: [...left] }
}
