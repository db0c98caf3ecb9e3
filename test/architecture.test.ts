/**
 * The rules of ARCHITECTURE.md hold: who may import whom, no circles, no file that half the tree must
 * know, and every folder and file that it names is there. The rules are read from its table, so they are
 * said once.
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

/** What each file imports, types included: our files by their paths, packages by their names. */
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

/** The lines of the table: what is between backticks, in both columns. */
const rules = section('Who may import whom')
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

/** A file, or everything in a folder. */
function covers(path: string, file: string): boolean {
  return path.endsWith('/') ? file.startsWith(path) : file === path
}

function isOwn(file: string, other: string): boolean {
  const [folder] = file.split('/')
  return file.includes('/') && other.startsWith(`${folder}/`)
}

t.test('a file imports its folder and what its line in the table names', async t => {
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
  const said = rules.flatMap(({ about, may }) => may.map(path => `${about.join(' ')}: ${path}`))
  t.same(
    said.filter(each => !used.has(each)),
    [],
    'nothing is allowed that is not done',
  )
})

t.test('there are no circles, not even of types', async t => {
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

t.test('no file is imported by more than one in five', async t => {
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

t.test('the house is drawn as it is', async t => {
  const house = section('The house').split('\n\nBeside `src/`')[0] ?? ''
  const paragraphs = house.split(/^\*\*/m).slice(1)
  const drawn: string[] = []
  for (const paragraph of paragraphs) {
    const folder = /^`(\w+\/)`\*\*/.exec(paragraph)?.[1] ?? ''
    if (folder !== '') drawn.push(folder)
    const names = quoted(paragraph).filter(
      name => /^[\w/-]+(\.ts|\/)$/.test(name) && name !== folder,
    )
    const absent = names.filter(name => !existsSync(join(root, 'src', folder, name)))
    t.same(absent, [], `what is named of ${folder || 'the top'} is there`)
  }
  const folders = new Set(files.filter(file => file.includes('/')).map(file => file.split('/')[0]))
  t.same(drawn.toSorted(), [...folders].map(name => `${name}/`).toSorted())
})
