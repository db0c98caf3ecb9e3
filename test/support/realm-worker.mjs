/**
 * Runs the library and the emulator in a `node:vm` context with globals of its own, as a test file of Jest does, and
 * prints what came of it as JSON. Needs `--experimental-vm-modules`. Packages and Node's modules are of the main realm.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'

const [entry, ...args] = process.argv.slice(2)
const hostGlobals = [
  'AbortController',
  'AbortSignal',
  'Buffer',
  'TextDecoder',
  'TextEncoder',
  'URL',
  'URLSearchParams',
]
hostGlobals.push(
  'clearImmediate',
  'clearInterval',
  'clearTimeout',
  'console',
  'fetch',
  'performance',
  'process',
)
hostGlobals.push('queueMicrotask', 'setImmediate', 'setInterval', 'setTimeout', 'structuredClone')
const context = vm.createContext(
  Object.fromEntries(hostGlobals.map(name => [name, globalThis[name]])),
)
const modules = new Map()

async function load(url) {
  const known = modules.get(url)
  if (known !== undefined) return known
  const module = url.startsWith('file:') ? sourceOf(url) : await outside(url)
  modules.set(url, modules.get(url) ?? module) // another import of it may have been faster
  return modules.get(url)
}

function sourceOf(url) {
  return new vm.SourceTextModule(readFileSync(fileURLToPath(url), 'utf8'), {
    context,
    identifier: url,
    initializeImportMeta: meta => void (meta.url = url),
    importModuleDynamically: async name => {
      const module = await link(name, { identifier: url })
      if (module.status === 'unlinked') await module.link(link)
      await module.evaluate()
      return module
    },
  })
}

/** A module of Node or of a package, whose values belong to the main realm. */
async function outside(name) {
  const exports = await import(name)
  const names = Object.keys(exports)
  return new vm.SyntheticModule(
    names,
    function () {
      for (const each of names) this.setExport(each, exports[each])
    },
    { context, identifier: name },
  )
}

function link(name, { identifier }) {
  return load(name.startsWith('.') ? new URL(name, identifier).href : name)
}

const main = await load(pathToFileURL(entry).href)
await main.link(link)
await main.evaluate()
process.stdout.write(JSON.stringify(await main.namespace.run(...args)))
