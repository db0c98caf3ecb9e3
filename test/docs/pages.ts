/**
 * Parses the pages of the documentation into code blocks, headings and links. Runs nothing. An HTML comment in
 * front of a block configures how the tests run it:
 *
 *   <!-- not run: REASON -->       skips the block; the tests list all skipped blocks
 *   <!-- before: CODE -->          runs code first that the page does not show
 *   <!-- own process: CODE -->     also runs the block in its own process, which must exit, such as a test
 *   <!-- json: SCHEMA -->          validates a json block: name of a schema, `checkpoint`, or a type
 *   <!-- file: NAME -->            saves the block as the file that the page names; the page's commands run it
 *   <!-- service: FIRST; LAST -->  keeps commands running while later ones run, from when their output matches
 *                                  FIRST until it matches LAST
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathOf } from '../support/project.js'

export const ROOT = pathOf('.')

export interface Block {
  /** Path of the page from the root. */
  readonly page: string
  /** Line number of its first line of code, starting at 1. */
  readonly line: number
  readonly language: string
  readonly code: string
  readonly notRun: string | undefined
  readonly ownProcess: boolean
  readonly before: string
  readonly json: string | undefined
  readonly file: string | undefined
  readonly service: { readonly first: string; readonly last: string } | undefined
}

export interface Page {
  readonly path: string
  readonly blocks: readonly Block[]
  /** Anchors of its headings. */
  readonly anchors: ReadonlySet<string>
  /** Targets of its relative links. */
  readonly links: readonly string[]
  readonly text: string
}

export function readPages(): Page[] {
  return ['.', 'docs', 'examples', 'benchmarks', '.github']
    .flatMap(markdownIn)
    .map(path => readPage(path, readFileSync(join(ROOT, path), 'utf8')))
}

function markdownIn(folder: string): string[] {
  try {
    const names = readdirSync(join(ROOT, folder)).filter(name => name.endsWith('.md'))
    return names.map(name => join(folder, name)).toSorted()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

export function readPage(path: string, text: string): Page {
  const fence = /^([ \t]*)```(\w*)\n([\s\S]*?)^\1```$/gm
  const blocks = [...text.matchAll(fence)].map(match => {
    const [, indent = '', language = '', code = ''] = match
    const [front = ''] = /(?:<!--(?:(?!-->)[\s\S])*-->\s*)+$/.exec(text.slice(0, match.index)) ?? []
    const comments = [...front.matchAll(/<!--\s*([\s\S]*?)\s*-->/g)].map(([, each = '']) => each)
    const valueOf = (name: string): string | undefined =>
      comments
        .find(comment => comment.startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim()
    return {
      page: path,
      line: text.slice(0, match.index).split('\n').length + 1,
      language,
      code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      notRun: valueOf('not run'),
      ownProcess: valueOf('own process') !== undefined,
      before: valueOf('before') ?? valueOf('own process') ?? '',
      json: valueOf('json'),
      file: valueOf('file'),
      service: parseService(valueOf('service')),
    }
  })
  const prose = text
    .replaceAll(fence, '')
    .replaceAll(/`[^`\n]*`/g, code => code.replaceAll(/[[\]]/g, ''))
  const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  return {
    path,
    blocks,
    anchors: new Set(anchorsOf(text.replaceAll(fence, ''))),
    links: links.filter(target => !/^[a-z]+:/.test(target)),
    text,
  }
}

function parseService(value: string | undefined): Block['service'] {
  const [first, last] = value?.split('; ') ?? []
  return first === undefined ? undefined : { first, last: last ?? first }
}

/** Returns the packages that a page says to install, in its examples or in its prose. */
export function installedBy({ text }: Page): string[] {
  const commands = [...text.matchAll(/npm install((?: [\w@./-]+)+)/g)]
  const names = commands.flatMap(([, list = '']) => list.trim().split(' '))
  return ['oss-spool', ...names.filter(name => !name.startsWith('-'))]
}

/** Returns anchors as GitHub generates them: lower case, hyphens for spaces, other characters removed. */
function anchorsOf(text: string): string[] {
  const counts = new Map<string, number>()
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const name = words
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-')
    const times = counts.get(name) ?? 0
    counts.set(name, times + 1)
    return times === 0 ? name : `${name}-${times}`
  })
}
