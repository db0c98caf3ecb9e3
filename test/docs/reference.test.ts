/** Tables of the documentation have exactly the rows that the code defines. */
import { spawnSync } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import t from 'tap'
import ts from 'typescript'
import { exitStatusOf } from '../../src/cli/exit-status.js'
import { main } from '../../src/cli/main.js'
import type { ProcessIo } from '../../src/cli/session.js'
import { SETTING_DEFINITIONS } from '../../src/cli/config-schema.js'
import { SpoolError, type SpoolErrorCode } from '../../src/errors.js'
import { classify } from '../../src/oss/error-kinds.js'
import { readPages, ROOT } from './pages.js'

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Returns the rows of all tables of a page, each as its cells. */
function rowsOf(page: string): string[][] {
  return [...read(page).matchAll(/^\|(.*)\|$/gm)]
    .map(([, row = '']) => row.split(/(?<!\\)\|/).map(cell => cell.trim()))
    .filter(([first]) => first !== undefined && !/^-+$/.test(first))
}

/** Returns the texts in backticks. */
function names(cell = ''): string[] {
  return [...cell.matchAll(/`([^`]*)`/g)].map(([, name = '']) => name)
}

/** Returns what a command prints. */
async function help(...args: string[]): Promise<string> {
  const stdout = new PassThrough()
  const streams = { stdin: new PassThrough(), stdout, stderr: stdout, env: {} }
  const io = Object.assign(new EventEmitter(), streams) as unknown as ProcessIo // all that the help needs
  await main(args, io)
  stdout.end()
  return text(stdout)
}

const sorted = (list: Iterable<string>): string[] => [...new Set(list)].toSorted()

/** Returns the names of the members of an interface. */
function members(path: string, name: string): string[] {
  const file = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest)
  const found = file.statements.find(
    statement => ts.isInterfaceDeclaration(statement) && statement.name.text === name,
  )
  if (found === undefined || !ts.isInterfaceDeclaration(found))
    throw new Error(`${path} has no interface ${name}`)
  return found.members.map(member => member.name?.getText(file) ?? '')
}

/** Returns the names of the public methods of the class in a file. */
function publicMethods(path: string): string[] {
  const file = ts.createSourceFile(path, read(path), ts.ScriptTarget.Latest)
  const members = file.statements.filter(ts.isClassDeclaration).flatMap(each => [...each.members])
  const methods = members.filter(ts.isMethodDeclaration).filter(({ name }) => ts.isIdentifier(name))
  const isInternal = (method: ts.Node): boolean => method.getFullText(file).includes('@internal')
  return methods.filter(each => !isInternal(each)).map(({ name }) => name.getText(file))
}

t.test('options.md lists exactly the methods and options of the library', async t => {
  const options = [
    ...members('src/spool-options.ts', 'SpoolOptions'),
    ...members('src/spool-options.ts', 'ResumeOptions'),
    ...members('src/oss/client-options.ts', 'ClientOptions'),
    ...members('src/oss/object-headers.ts', 'ObjectOptions'),
    ...members('src/upload/model/options.ts', 'UploadOptions'),
    ...members('src/upload/model/retry.ts', 'RetryOptions'),
    ...members('src/upload/model/expectation.ts', 'Expectation'),
    ...members('src/upload/model/source.ts', 'SourceOptions'),
    ...members('src/upload/maintenance/prune.ts', 'PruneOptions'),
    ...members('src/spool-options.ts', 'AbortOptions'),
  ]
  const documented = rowsOf('docs/options.md').flatMap(([first]) => names(first))
  const isMethod = (name: string): boolean => name.includes('(')
  t.same(sorted(documented.filter(name => !isMethod(name))), sorted(options))
  const methods = documented.filter(isMethod).map(name => name.split('(')[0] ?? '')
  t.same(sorted(methods), sorted(publicMethods('src/spool.ts')))
  const callback = /`{ (.*) }`, as in `ali-oss`/.exec(read('docs/options.md'))?.[1] ?? ''
  t.same(
    callback.split(', ').toSorted(),
    members('src/oss/object-headers.ts', 'CallbackOptions').toSorted(),
  )
})

t.test('errors.md lists every error code with its exit status', async t => {
  const union = /type SpoolErrorCode =([\s\S]*?)\n\n/.exec(read('src/errors.ts'))?.[1] ?? ''
  const codes = [...union.matchAll(/'(\w+)'/g)].map(([, code = '']) => code)
  const rows = rowsOf('docs/errors.md').filter(([code]) => code?.startsWith('`ERR_SPOOL_'))
  t.same(
    rows.map(([code]) => names(code)[0]),
    codes,
  )
  for (const [code, , , resumable = '', status] of rows) {
    const can = resumable === 'no' ? [false] : resumable === 'yes' ? [true] : [true, false]
    const statuses = can.map(resumable =>
      exitStatusOf(new SpoolError(names(code)[0] as SpoolErrorCode, '', { resumable })),
    )
    t.equal(status, sorted(statuses.map(String)).toReversed().join(' or '), `${code}`)
  }
})

t.test('failures.md lists exactly the kinds and OSS codes of error-kinds.ts', async t => {
  const source = read('src/oss/error-kinds.ts')
  const rows = rowsOf('docs/failures.md').filter(([kind]) => kind?.startsWith('`'))
  const kinds = /type RequestErrorKind =([\s\S]*?)\n\n/.exec(source)?.[1] ?? ''
  t.same(
    rows.flatMap(([kind]) => names(kind)).toSorted(),
    [...kinds.matchAll(/'([\w-]+)'/g)].map(([, kind = '']) => kind).toSorted(),
  )
  const documented = rows.flatMap(([kind, codes]) =>
    names(codes).map(name => `${name}: ${names(kind).join()}`),
  )
  const tables = source.slice(
    source.indexOf('const KIND_BY_OSS_CODE'),
    source.indexOf('interface RequestErrorFacts'),
  )
  const known = [...tables.matchAll(/^ {2}(\w+): '([\w-]+)',$/gm)].map(
    ([, name, k]) => `${name}: ${k}`,
  )
  t.same(sorted(documented), sorted(known))
  for (const [status, kind] of [
    [500, 'transient'],
    [502, 'transient'],
    [400, 'refused'],
    [409, 'refused'],
    [307, 'refused'],
    [undefined, 'transient'],
  ] as const) {
    t.equal(
      classify({ name: 'Error', status }),
      kind,
      `an unlisted code with status ${status} is ${kind}`,
    )
  }
})

t.test('docs/README.md lists every page of docs', async t => {
  const pages = readPages().filter(({ path }) => path.startsWith('docs/'))
  const index = pages.find(({ path }) => path === 'docs/README.md')
  const listed = new Set(index?.links.map(link => `docs/${link.split('#')[0]}`))
  t.same(
    pages.map(({ path }) => path).filter(path => path !== index?.path && !listed.has(path)),
    [],
  )
})

t.test('reference.md is what its script writes', async t => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/reference.mjs', '--check'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  t.equal(status, 0, stderr)
})

t.test(
  'no page or help text leads with a pipe into put, or shows one without an expectation',
  async t => {
    const root = await help()
    const commands = [...root.matchAll(/^ {2}([a-z]+) /gm)].map(([, name = '']) => name)
    const texts = new Map<string, string>()
    for (const name of commands.filter(each => each !== 'help')) {
      texts.set(`${name} --help`, await help(name, '--help'))
    }
    t.ok(texts.size > 5)
    for (const page of readPages()) {
      const scripts = page.blocks.filter(({ language }) => language === 'sh')
      texts.set(page.path, scripts.map(({ code }) => code).join('\n'))
    }
    for (const [name, content] of [...texts, ['--help', root]] as const) {
      const pipes = content.split('\n').filter(line => /\| *(npx )?oss-spool put/.test(line))
      t.same(
        pipes.filter(line => !line.includes('--expect-')),
        [],
        name,
      )
      const [, first = ''] =
        /(oss-spool (?:put|run) .*)/.exec(content.split('Examples:').at(-1) ?? '') ?? []
      if (name === '--help' || name === 'README.md')
        t.match(first, /^oss-spool run .* -- pg_dump/, name)
      else if (name === 'put --help') t.match(first, /^oss-spool put .*oss:.* [\w.]+$/, name)
    }
  },
)

t.test('cli.md lists every command, option and setting', async t => {
  const rows = rowsOf('docs/cli.md')
  const [, list = ''] = /Commands:\n([\s\S]*?)\n\n/.exec(await help()) ?? []
  const commands = [...list.matchAll(/^ {2}([a-z]+)/gm)]
    .map(([, name = '']) => name)
    .filter(name => name !== 'help')
  const documented = rows.flatMap(([first]) => names(first)).map(code => code.split(' ')[0] ?? '')
  t.same(
    commands.filter(name => !documented.includes(name)),
    [],
  )
  t.ok(commands.length > 5)

  const groups = await Promise.all(commands.map(name => help(name, '--help')))
  const subpages = commands.flatMap((name, i) => {
    const [, subcommands = ''] = /\nCommands:\n([\s\S]*?)\n\n/.exec(groups[i] ?? '') ?? []
    const subnames = [...subcommands.matchAll(/^ {2}([a-z]+)/gm)]
    return subnames.map(([, subname = '']) => help(name, subname, '--help'))
  })
  const pages = [...groups, ...(await Promise.all(subpages))]
  const flags = pages.flatMap(page => [...page.matchAll(/^ +(?:-\w, )?(--[a-z0-9-]+)/gm)])
  const known = flags.map(([, flag = '']) => flag).filter(flag => flag !== '--help')
  const inTables = rows.flatMap(row => row.flatMap(names)).join(' ')
  t.same(sorted(inTables.match(/--[a-z0-9-]+/g) ?? []), sorted(known))

  const at = rows.findIndex(([first]) => first === 'setting')
  const end = rows.findIndex(([first], i) => i > at && names(first).length === 0)
  const settings = rows.slice(at + 1, end)
  const pairs = settings.flatMap(([setting, env]) => {
    const variables = names(env)
    return names(setting).map((name, i) => `${name} ${variables[i] ?? ''}`)
  })
  const documentable = SETTING_DEFINITIONS.filter(({ perCall }) => perCall !== true)
  t.same(sorted(pairs), sorted(documentable.map(({ name, env }) => `${name} ${env}`)))
})

t.test('checkpoint-format.md describes every field', async t => {
  const source = read('src/disk/checkpoint.ts')
  const schemas = source.slice(
    source.indexOf('const common'),
    source.indexOf('export type Spooling'),
  )
  const fields = [...schemas.matchAll(/^ {2}(\w+): /gm)].map(([, name = '']) => name)
  const page = read('docs/checkpoint-format.md')
  const documented = new Set(names(page.replaceAll(/^```[\s\S]*?^```/gm, '')))
  t.ok(fields.length > 20)
  t.same(
    fields.filter(name => !documented.has(name)),
    [],
  )
})
