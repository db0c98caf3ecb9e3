/**
 * Writes `docs/reference.md` from the type declarations of a build: every name that can be imported, with the first
 * sentence of its docstring. With `--check`, exits with 1 if the file differs.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import ts from 'typescript'

const PAGE = 'docs/reference.md'
const HEAD = `# Everything that can be imported

Each name with the first sentence of its documentation. To read all of it without a checkout, hover over the name in your editor, or open
the declarations: \`node_modules/oss-spool/dist/\`, from \`index.d.ts\` or \`ENTRY/index.d.ts\` on. In a checkout, \`npm run docs:api\` writes
them as HTML.

<!-- This page is generated: npm run build:reference -->
`

const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))
const entries = Object.entries(exports).filter(([, { types }]) => types !== undefined)
const program = ts.createProgram(
  entries.map(([, { types }]) => resolve(types)),
  { module: ts.ModuleKind.NodeNext, types: ['node'] },
)
const checker = program.getTypeChecker()
const page = [HEAD, ...entries.map(([path, { types }]) => sectionOf(path, types))].join('\n')

if (!process.argv.includes('--check')) writeFileSync(PAGE, page)
else if (readFileSync(PAGE, 'utf8') !== page) {
  console.error(`${PAGE} is out of date: npm run build:reference`)
  process.exitCode = 1
}

/** Values first, then types, each on its own line. */
function sectionOf(path, types) {
  const entry = program.getSourceFile(resolve(types))
  const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(entry))
  const values = symbols.filter(isValue).map(each => `- **\`${each.name}\`**: ${summaryOf(each)}`)
  const others = symbols.filter(each => !isValue(each))
  // Programs do not name the types of a chain: they appear in messages of the compiler.
  const names = others.map(({ name }) => `\`${name}\``).join(', ')
  const lines =
    path === './chain'
      ? [`- Types: ${names}`]
      : others.map(each => `- \`${each.name}\`: ${summaryOf(each)}`)
  return [`## \`oss-spool${path.slice(1)}\`\n`, ...values, ...lines, ''].join('\n')
}

function isValue(symbol) {
  return (declared(symbol).flags & ts.SymbolFlags.Value) !== 0
}

function declared(symbol) {
  return (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)
}

/** The first sentence, or the origin of a name of another package. */
function summaryOf(symbol) {
  const original = declared(symbol)
  const { fileName } = original.declarations[0].getSourceFile()
  const [, other] = /.*\/node_modules\/([^/]+)/.exec(fileName) ?? []
  if (other !== undefined) return `as in \`${other}\``
  const parts = original.getDocumentationComment(checker)
  const [text] = ts.displayPartsToString(parts).split(/[:.]?\n- /) // a list may follow
  const [sentence] = /^.*?\.(?=\s|$)/s.exec(text) ?? [text]
  return sentence.replace(/\.$/, '').replaceAll(/\s+/g, ' ')
}
