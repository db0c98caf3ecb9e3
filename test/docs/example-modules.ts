/**
 * The js and ts blocks of a page as modules. A page is read from top to bottom, so a name that a block does not
 * define refers to its last definition on the page, or else to a global (`example-globals.ts`).
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { ROOT, type Block, type Page } from './pages.js'

export interface Module {
  readonly block: Block
  /** File name without extension. */
  readonly name: string
  readonly source: string
}

interface Names {
  readonly values: readonly string[]
  readonly types: readonly string[]
}

export const GLOBALS_SOURCE = readFileSync(join(ROOT, 'test/docs/example-globals.ts'), 'utf8')
/** Globals always win over a page's own definitions, which may be closed by the next example. */
const GLOBALS = new Set([...GLOBALS_SOURCE.matchAll(/^ {2}var (\w+):/gm)].map(([, name]) => name))

export function modulesOf({ blocks }: Page): Module[] {
  const known = new Map<string, string>()
  return blocks.filter(isProgram).map(block => {
    const name = `${block.page.replaceAll(/\W/g, '-')}-${block.line}`
    const code = `${block.before}\n${block.code.replaceAll("'/var/", "'./var/")}`
    const file = ts.createSourceFile('block.ts', code, ts.ScriptTarget.Latest, true)
    const { values, types } = declared(file)
    const own = new Set([...values, ...types])
    const needed = [...used(file)].filter(
      each => known.has(each) && !own.has(each) && !GLOBALS.has(each),
    )
    const imports = needed
      .map(each => `import { ${each} } from './${known.get(each)}.mjs'; `)
      .join('')
    if (!block.ownProcess) for (const each of own) known.set(each, name)
    const exported = `export { ${values.join(', ')} }\nexport type { ${types.join(', ')} }\n`
    const unchecked = block.language === 'js' ? '// @ts-nocheck\n' : '' // JavaScript is not type-checked
    return { block, name, source: `${unchecked}${imports}${code}${exported}` }
  })
}

/** Whether other programs of the page continue a block. A js file is complete. */
function isProgram({ language, notRun, file }: Block): boolean {
  return (language === 'ts' || (language === 'js' && file === undefined)) && notRun === undefined
}

export function transpile(source: string): string {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext }
  return ts.transpileModule(source, { compilerOptions }).outputText
}

/** Type-checks the modules of a project against its installed packages. Returns the compiler's output. */
export function typeErrors(directory: string): string {
  const config = {
    compilerOptions: {
      target: 'es2022',
      module: 'esnext',
      moduleResolution: 'bundler',
      lib: ['es2023', 'es2024.string'],
      types: ['node'],
      strict: true,
      noEmit: true,
      skipLibCheck: true,
    },
    include: ['*.mts'],
  }
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(config))
  const tsc = join(ROOT, 'node_modules/typescript-7/bin/tsc')
  return spawnSync(process.execPath, [tsc, '-p', directory], { encoding: 'utf8' }).stdout
}

/** Returns the names declared at the top level of a module. */
function declared(file: ts.SourceFile): Names {
  const values: string[] = []
  const types: string[] = []
  const binding = (name: ts.BindingName): void => {
    if (ts.isIdentifier(name)) values.push(name.text)
    else
      for (const element of name.elements) if (ts.isBindingElement(element)) binding(element.name)
  }
  for (const statement of file.statements) {
    if (ts.isVariableStatement(statement)) {
      for (const { name } of statement.declarationList.declarations) binding(name)
    } else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)) {
      if (statement.name !== undefined) values.push(statement.name.text)
    } else if (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) {
      types.push(statement.name.text)
    } else if (ts.isImportDeclaration(statement) && statement.importClause !== undefined) {
      const { name, namedBindings, isTypeOnly } = statement.importClause
      if (name !== undefined) values.push(name.text)
      if (namedBindings === undefined) continue
      if (ts.isNamespaceImport(namedBindings)) values.push(namedBindings.name.text)
      else {
        for (const each of namedBindings.elements) {
          ;(isTypeOnly || each.isTypeOnly ? types : values).push(each.name.text)
        }
      }
    }
  }
  return { values, types }
}

/** Returns the names that a module uses, except property names. */
function used(file: ts.SourceFile): Set<string> {
  const names = new Set<string>()
  const visit = (node: ts.Node): void => {
    const { parent } = node
    const isProperty =
      parent !== undefined &&
      ((ts.isPropertyAccessExpression(parent) && parent.name === node) ||
        (ts.isPropertyAssignment(parent) && parent.name === node))
    if (ts.isIdentifier(node) && !isProperty) names.add(node.text)
    ts.forEachChild(node, visit)
  }
  visit(file)
  return names
}
