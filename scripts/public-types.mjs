/**
 * Removes everything from the type declarations of a build that no entry point of the package reaches: nobody can
 * import it, and it is half of the declarations. Usage: node scripts/public-types.mjs BUILD-DIRECTORY
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative, resolve } from 'node:path'
import ts from 'typescript'

const [build = ''] = process.argv.slice(2)
const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))

const files = readdirSync(build, { recursive: true })
  .filter(file => file.endsWith('.d.ts'))
  .map(file => resolve(build, file))
const program = ts.createProgram(files, { module: ts.ModuleKind.NodeNext })
const checker = program.getTypeChecker()

/** Statements that are part of the public types, by file. */
const kept = new Map()
for (const { types } of Object.values(exports)) {
  if (types === undefined) continue
  const entry = program.getSourceFile(resolve(build, relative('dist', types)))
  for (const statement of entry.statements) keep(statement)
  for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(entry)))
    declarationsOf(symbol).forEach(each => keep(each))
}
for (const file of files) {
  const statements = kept.get(file)
  if (statements === undefined) rmSync(file)
  else writeFileSync(file, shortened(program.getSourceFile(file), statements))
}

/** Keeps a statement and all that it names. An import names more than is used here, so each use keeps its own. */
function keep(statement) {
  const { fileName, statements } = statement.getSourceFile()
  if (!kept.has(fileName)) {
    // An augmentation belongs to every program that reads the file, and `export {}` makes the rest private.
    kept.set(fileName, new Set(statements.filter(each => isNeeded(each))))
    kept.get(fileName).forEach(each => keepNamed(each))
  }
  if (kept.get(fileName).has(statement)) return
  kept.get(fileName).add(statement)
  if (!ts.isImportDeclaration(statement)) keepNamed(statement)
}

function isNeeded(statement) {
  if (ts.isExportDeclaration(statement)) return statement.exportClause?.elements.length === 0
  return (
    ts.isModuleDeclaration(statement) ||
    (ts.isImportDeclaration(statement) && statement.importClause === undefined)
  )
}

function keepNamed(node) {
  const symbol = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined
  if (symbol !== undefined) declarationsOf(symbol).forEach(each => keep(each))
  ts.forEachChild(node, keepNamed)
}

/** The statements of this build that declare a name, and those that import or re-export it on the way. */
function declarationsOf(symbol) {
  const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
  const target = isAlias ? checker.getImmediateAliasedSymbol(symbol) : undefined
  const own = (symbol.declarations ?? [])
    .filter(each => files.includes(each.getSourceFile().fileName))
    .map(statementOf)
    .filter(each => each !== undefined)
  return target === undefined ? own : [...own, ...declarationsOf(target)]
}

function statementOf(node) {
  if (node.parent === undefined) return undefined
  return ts.isSourceFile(node.parent) ? node : statementOf(node.parent)
}

/** The text of the kept statements, where imports have only the names that one of the others uses. */
function shortened(file, statements) {
  const used = new Set()
  for (const statement of statements) if (!ts.isImportDeclaration(statement)) collect(statement)
  return file.statements
    .filter(each => statements.has(each))
    .map(each => textOf(each))
    .join('')
    .trimStart()
    .concat('\n')

  function collect(node) {
    if (ts.isIdentifier(node)) used.add(node.text)
    ts.forEachChild(node, collect)
  }

  function textOf(statement) {
    const text = statement.getFullText()
    const names = statement.importClause?.namedBindings
    if (names === undefined || !ts.isNamedImports(names)) return text
    const unused = names.elements.filter(each => !used.has(each.name.text))
    if (unused.length === 0) return text
    const left = names.elements.filter(each => used.has(each.name.text))
    const list = `{ ${left.map(each => each.getText()).join(', ')} }`
    return text.replace(names.getText(), () => list)
  }
}
