/**
 * Checks the rules of ARCHITECTURE.md: import rules, no circles, no file that half the tree imports, and that every
 * folder and file it names exists. The rules are read from its table, so that they stand in one place.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import { pathOf } from './support/project.js'

const root = pathOf('.')
const page = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .toSorted()

/** The imports of each file, types included: our files by path, packages by name. */
const imports = new Map(
  files.map(file => {
    const text = readFileSync(join(root, 'src', file), 'utf8')
    const named = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName)
    return [file, named.filter(name => !name.startsWith('node:')).map(name => resolved(file, name))]
  }),
)

function resolved(file: string, name: string): string {
  if (name.startsWith('.')) return posix.join(dirname(file), name).replace(/\.js$/, '.ts')
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/')
}

/** The rows of the table: the words between backticks in both columns. */
const rules = section('Import rules')
  .split('\n')
  .filter(line => line.startsWith('| `'))
  .map(line => {
    const [, about = '', may = ''] = line.split('|')
    return { about: quoted(about), may: quoted(may) }
  })

function section(title: string): string {
  return page.split(/^## /m).find(text => text.startsWith(`${title}\n`)) ?? ''
}

function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '')
}

/** Whether `path` is `file` or a folder that contains it. */
function covers(path: string, file: string): boolean {
  return path.endsWith('/') ? file.startsWith(path) : file === path
}

/** The folder a file belongs to; in `upload/`, its stage. */
function folderOf(file: string): string {
  const [folder = '', stage = ''] = file.split('/')
  return folder === 'upload' ? `${folder}/${stage}/` : `${folder}/`
}

function isOwn(file: string, other: string): boolean {
  return file.includes('/') && other.startsWith(folderOf(file))
}

t.test('a file imports only its own folder and what its line in the table allows', async t => {
  const used = new Set<string>()
  const wrong: string[] = []
  for (const [file, imported] of imports) {
    const may = rules.filter(({ about }) => about.some(path => covers(path, file)))
    if (may.length === 0) wrong.push(`${file} has no line in the table`)
    for (const other of imported) {
      if (isOwn(file, other)) continue
      const allowed = may.filter(rule => rule.may.some(path => covers(path, other)))
      if (allowed.length === 0) wrong.push(`${file} imports ${other}`)
      for (const { about, may } of allowed) {
        for (const path of may) if (covers(path, other)) used.add(`${about.join(' ')}: ${path}`)
      }
    }
  }
  t.same(wrong, [])
  const stated = rules.flatMap(({ about, may }) => may.map(path => `${about.join(' ')}: ${path}`))
  t.same(
    stated.filter(each => !used.has(each)),
    [],
    'no unused permission',
  )
})

t.test('imports have no circles, not even of types', async t => {
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) circles.push([...way.slice(way.indexOf(file)), file].join(' > '))
    if (way.includes(file) || done.has(file)) return
    for (const other of imports.get(file) ?? []) visit(other, [...way, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  t.same(circles, [])
})

t.test('no file is imported by more than one in five files', async t => {
  const all = [...imports.values()].flatMap(imported => [...new Set(imported)])
  const known = files.filter(file => all.filter(each => each === file).length > files.length / 5)
  t.same(known, [])
})

t.test('the entry points only re-export', async t => {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const entries = Object.values<string | { types: string }>(exports).flatMap(entry =>
    typeof entry === 'string' ? [] : [entry.types.replace('./dist/', '').replace('.d.ts', '.ts')],
  )
  t.ok(entries.length > 0)
  for (const entry of entries) {
    const text = readFileSync(join(root, 'src', entry), 'utf8')
    const { statements } = ts.createSourceFile(entry, text, ts.ScriptTarget.ES2023)
    t.ok(
      statements.every(each => ts.isExportDeclaration(each)),
      entry,
    )
  }
})

t.test('ARCHITECTURE.md describes every folder, and names only files that exist', async t => {
  const layout = section('Source layout').split('\n\nBeside `src/`')[0] ?? ''
  const paragraphs = layout.split(/^\*\*/m).slice(1)
  const described: string[] = []
  for (const paragraph of paragraphs) {
    const folder = /^`([\w/-]+\/)`\*\*/.exec(paragraph)?.[1] ?? ''
    if (folder !== '') described.push(folder)
    const names = quoted(paragraph).filter(
      name => /^[\w/-]+(\.ts|\/)$/.test(name) && name !== folder,
    )
    const absent = names.filter(name => !existsSync(join(root, 'src', folder, name)))
    t.same(absent, [], `files named for ${folder || 'the top'} exist`)
  }
  const folders = new Set(files.filter(file => file.includes('/')).map(folderOf))
  t.same(described.toSorted(), ['upload/', ...folders].toSorted())
})
