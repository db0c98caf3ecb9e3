/**
 * The pages of the documentation as data: their code blocks, with what the HTML comment in front of
 * one says about how it is tried, their headings and their links. Nothing is run here.
 *
 *   <!-- not run: REASON -->       it cannot be; the tests count these
 *   <!-- before: CODE -->          what a reader has that the block does not show
 *   <!-- own process: CODE -->     the same, and it is a program that ends by itself, such as a test
 *   <!-- json: SCHEMA -->          what a json block is: a schema's name, `checkpoint`, or a type
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathOf } from '../support/project.js'

export const ROOT = pathOf('.')

export interface Block {
  /** Path of the page from the root. */
  readonly page: string
  /** Line of its first line of code, from 1. */
  readonly line: number
  readonly language: string
  readonly code: string
  readonly notRun: string | undefined
  readonly ownProcess: boolean
  readonly before: string
  readonly json: string | undefined
}

export interface Page {
  readonly path: string
  readonly blocks: readonly Block[]
  /** Names of its headings, as links have them. */
  readonly anchors: ReadonlySet<string>
  /** Targets of its relative links. */
  readonly links: readonly string[]
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
    const comment = /<!--\s*((?:(?!-->)[\s\S])*?)\s*-->\s*$/.exec(text.slice(0, match.index))?.[1]
    const said = (name: string): string | undefined =>
      comment?.startsWith(`${name}:`) ? comment.slice(name.length + 1).trim() : undefined
    return {
      page: path,
      line: text.slice(0, match.index).split('\n').length + 1,
      language,
      code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
      notRun: said('not run'),
      ownProcess: said('own process') !== undefined,
      before: said('before') ?? said('own process') ?? '',
      json: said('json'),
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
  }
}

/** As GitHub makes them: letters in lower case, spaces as hyphens, the rest left out. */
function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>()
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    const words = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const name = words
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-')
    const times = seen.get(name) ?? 0
    seen.set(name, times + 1)
    return times === 0 ? name : `${name}-${times}`
  })
}
