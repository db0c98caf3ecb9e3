/**
 * No pattern of the sources takes time that grows with the square of its input. Each literal is run on texts that make
 * a backtracking matcher try every start: long runs of characters that the pattern names, and an end that it refuses.
 */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { globSync } from 'tinyglobby'
import ts from 'typescript'
import { sampled } from '../support/long.js'
import { pathOf } from '../support/project.js'

/** Quadratic patterns whose input is bounded before they are used, and the bound in characters. */
const BOUNDED: Readonly<Record<string, number>> = {
  'src/cli/place-settings.ts: /(?:^|\\.|-)(?:oss-([a-z0-9-]+?)(?:-internal)?|([a-z0-9-]+)\\.oss)\\.aliyuncs\\.com$/': 253,
  'src/cli/process-tree.ts: /(\\d+)\\s+(\\d+)/g': 4096, // the output of ps has short numbers
  'src/oss/ali-oss-bucket.ts: /\\[.*\\]/': 1024,
  'src/oss/client-options.ts: /(oss-[a-z0-9-]+?)(-internal)?\\.aliyuncs\\.com/': 1024,
  'src/upload/model/names.ts: /^-+|-+$/g': 1023,
}

const SHORT = 3_000
const LONG = 4 * SHORT

/** A linear pattern takes four times as long, a quadratic one sixteen times; below this, noise decides. */
const RATIO = 9
const NOTICEABLE_MS = 20

interface Pattern {
  readonly file: string
  readonly pattern: RegExp
}

function nameOf({ file, pattern }: Pattern): string {
  return `${file}: ${String(pattern)}`
}

function patternsIn(file: string): Pattern[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(pathOf(file), 'utf8'),
    ts.ScriptTarget.Latest,
  )
  const found: Pattern[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf('/')
      const flags = node.text.slice(end + 1)
      found.push({ file, pattern: new RegExp(node.text.slice(1, end), flags) })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Returns texts of about `length` characters. */
function hostileTexts({ source }: RegExp, length: number): string[] {
  const words = source.match(/[A-Za-z]{2,}|[^\\()|?*+^$]/g) ?? []
  const units = new Set(['a', '1', ' ', '-', '/', '.', '=', ':', '"', ...words])
  for (const word of words) for (const other of ['a', '1', '-']) units.add(word + other)
  return [...units].flatMap(unit => {
    const run = unit.repeat(Math.ceil(length / unit.length))
    return ['\u0000', 'a', '/'].flatMap(end => [run + end, `a${run}${end}`, `a=${run}${end}`])
  })
}

function timeOf(pattern: RegExp, text: string): number {
  const start = performance.now()
  text.replace(pattern, '')
  return performance.now() - start
}

/** Returns a text on which the time of `pattern` grows faster than its length. */
function slowText(pattern: RegExp): string | undefined {
  const short = hostileTexts(pattern, SHORT)
  const long = hostileTexts(pattern, LONG)
  return long.find((text, i) => {
    if (timeOf(pattern, text) < NOTICEABLE_MS) return false
    const best = (of: string): number => Math.min(...[1, 2, 3].map(() => timeOf(pattern, of)))
    const time = best(text)
    return time > NOTICEABLE_MS && time > RATIO * best(short[i]!) // both have the same units
  })
}

t.test('the check finds patterns that take the square', t => {
  for (const pattern of [
    /^[\x21-\x7e]+\/[\x20-\x7e]+$/,
    / +$/,
    /^\s*([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/,
  ]) {
    t.type(slowText(pattern), 'string', String(pattern))
  }
  t.equal(slowText(/^\d+$/), undefined)
  t.end()
})

t.test('no pattern of the sources takes the square of its input', t => {
  const patterns = globSync('src/**/*.ts', { cwd: pathOf('.') }).flatMap(patternsIn)
  t.ok(patterns.length > 100, `${patterns.length} patterns`)
  const names = patterns.map(nameOf)
  for (const each of sampled(t, patterns, 4)) {
    const { pattern } = each
    const name = nameOf(each)
    const bound = BOUNDED[name]
    if (bound !== undefined) {
      const slowest = Math.max(...hostileTexts(pattern, bound).map(text => timeOf(pattern, text)))
      t.ok(slowest < 500, `${name}: ${slowest} ms`) // usually 1 ms
      continue
    }
    t.equal(slowText(pattern)?.slice(0, 20), undefined, name)
  }
  t.strictSame(
    Object.keys(BOUNDED).filter(name => !names.includes(name)),
    [],
    'all bounded patterns exist',
  )
  t.end()
})
