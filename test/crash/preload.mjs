/**
 * Preloaded into a worker. Counts the operations that change something below one directory, and at the nth
 * one kills the process or makes the operation fail. Can also count operations that only read, delay syncs,
 * report when a record without a predecessor is durable, and write a trace of all operations, from which
 * `disk-image.ts` derives the disk after a power cut. Its instructions are JSON in the environment.
 */
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { constants } from 'node:os'
import { dirname, sep } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

/** A `DiskPlan` of `worker-process.ts`. */
const plan = JSON.parse(process.env['OSS_SPOOL_TEST_DISK'])
const { openSync, writeSync, ftruncateSync, closeSync, readFileSync } = fs
const trace = plan.trace === undefined ? undefined : openSync(plan.trace, 'a')

/** Number of operations that have begun, and that have completed. */
let count = 0
let completed = 0
/** Open files by descriptor. Numbered, since paths change while a file is open. */
const files = new Map()
let opens = 0

process.on('exit', () => {
  writeSync(1, `${JSON.stringify({ operations: count })}\n`)
})

/** Paths of the upload that a worker runs after its one failure. They do not count. */
const NEXT = /-next(-[0-9a-f]{12})?(\/|$)/

let isNext = false
process.once('oss-spool-test:next', () => (isNext = true))

const inside = path =>
  !isNext && `${path}${sep}`.startsWith(`${plan.root}${sep}`) && !NEXT.test(path)
const die = () => process.kill(process.pid, 'SIGKILL')

function record(entry) {
  completed++
  if (trace !== undefined) writeSync(trace, `${JSON.stringify(entry)}\n`)
}

/** The kind of operation that failed first. With `always`, all later ones of this kind fail, too. */
let failingOp

/** Counts an operation that is about to begin. Kills the process if the plan says so. */
function begin({ op }) {
  const hit = ++count === plan.at
  if (hit && plan.do === 'kill' && plan.when === 'before') {
    if (plan.after === undefined) die()
    else setTimeout(die, plan.after)
  }
  const failing = (hit && plan.do === 'fail') || (plan.always === true && op === failingOp)
  return { hit, failing, before: completed }
}

function failure({ op, path }) {
  if (failingOp === undefined) writeSync(1, `${JSON.stringify({ failed: { op, path } })}\n`)
  failingOp = op
  return Object.assign(new Error(`${plan.code}: injected, ${op} '${path}'`), {
    errno: -constants.errno[plan.code],
    code: plan.code,
    syscall: op,
    path,
  })
}

function done(entry, { hit, before }) {
  record({ ...entry, before })
  if (hit && plan.do === 'kill' && plan.when !== 'before') die()
}

/**
 * Performs one operation, or makes it fail if the plan says so.
 * @param half – performs part of the operation before it fails, as on a full disk
 */
async function step(entry, run, half) {
  if (!inside(entry.path)) return run()
  const turn = begin(entry)
  if (turn.failing) {
    await half?.()
    throw failure(entry)
  }
  const result = await run()
  done(entry, turn)
  return result
}

function stepSync(entry, run) {
  if (!inside(entry.path)) return run()
  const turn = begin(entry)
  if (turn.failing) throw failure(entry)
  const result = run()
  done(entry, turn)
  return result
}

/** As `step` and `stepSync`, for an operation that only reads. */
const readStep = (entry, run) => (plan.reads === true ? step(entry, run) : run())
const readStepSync = (entry, run) => (plan.reads === true ? stepSync(entry, run) : run())

const isWriting = flags =>
  typeof flags === 'number' ? (flags & fs.constants.O_CREAT) !== 0 : /[wa]/.test(flags ?? 'r')

/** Describes an open. One that creates a file counts as an operation, any other only reads. */
function opening(path) {
  return { op: 'open', path: String(path), file: ++opens }
}

function opened(fd, entry, flags) {
  if (inside(entry.path)) {
    files.set(fd, entry)
    if (!isWriting(flags) && plan.reads !== true) record({ ...entry, before: completed })
  }
  return fd
}

/** Describes an operation on the file of a descriptor. */
function onFile(fd, op, details) {
  const { file, path } = files.get(fd) ?? { path: '' }
  return { op, path, file, ...details }
}

const base64 = data => Buffer.from(data).toString('base64')

// --- node:fs/promises ---------------------------------------------------------------------------

const original = { ...fsp }
for (const op of ['mkdir', 'unlink', 'rm', 'rmdir']) {
  fsp[op] = (path, options) => step({ op, path }, () => original[op](path, options))
}
fsp.rename = (path, to) => step({ op: 'rename', path, to }, () => original.rename(path, to))
for (const op of ['readdir', 'stat', 'lstat', 'statfs']) {
  fsp[op] = (path, options) =>
    readStep({ op, path: String(path) }, () => original[op](path, options))
}

// --- node:fs ------------------------------------------------------------------------------------

const callbacks = { ...fs }

/** Replaces both forms of a function, so that `promisify` returns the same for the wrapper as for the original. */
function replace(name, wrapped) {
  const inCallback = ['write', 'writev'].includes(name)
    ? result => result.bytesWritten
    : result => result
  fs[name] = (...args) => {
    const callback = args.pop()
    wrapped(...args).then(result => callback(null, inCallback(result)), callback)
  }
  fs[name][promisify.custom] = wrapped
}

const open = promisify(callbacks.open)
replace('open', async (path, flags, mode) => {
  const entry = opening(path)
  const run = () => open(path, flags, mode)
  return opened(await (isWriting(flags) ? step : readStep)(entry, run), entry, flags)
})
fs.openSync = (path, flags, mode) => {
  const entry = opening(path)
  const run = () => openSync(path, flags, mode)
  return opened((isWriting(flags) ? stepSync : readStepSync)(entry, run), entry, flags)
}
const write = promisify(callbacks.write)
replace('write', (fd, bytes, offset = 0, length = bytes.length - offset, position = null) => {
  const data = bytes.subarray(offset, offset + length)
  return step(
    onFile(fd, 'write', { data: base64(data), position }),
    () => write(fd, data, 0, length, position),
    () => write(fd, data, 0, Math.floor(length / 2), position),
  )
})
fs.writeSync = (fd, text, position) =>
  stepSync(onFile(fd, 'write', { data: base64(text), position }), () =>
    writeSync(fd, text, position),
  )
const writev = promisify(callbacks.writev)
replace('writev', (fd, chunks, position) => {
  const bytes = Buffer.concat(chunks)
  return step(
    onFile(fd, 'write', { data: base64(bytes), position }),
    () => writev(fd, chunks, position),
    () => writev(fd, [bytes.subarray(0, bytes.length / 2)], position),
  )
})
const ftruncate = promisify(callbacks.ftruncate)
replace('ftruncate', (fd, size) =>
  step(onFile(fd, 'truncate', { size }), () => ftruncate(fd, size)),
)
fs.ftruncateSync = (fd, size) =>
  stepSync(onFile(fd, 'truncate', { size }), () => ftruncateSync(fd, size))
for (const name of ['fsync', 'fdatasync']) {
  const synchronise = promisify(callbacks[name])
  replace(name, fd => {
    const entry = onFile(fd, 'sync', {})
    return step(entry, async () => {
      const superseded = isSuperseded(entry.path)
      if (plan.delaySync !== undefined && inside(entry.path)) await sleep(plan.delaySync)
      await synchronise(fd)
      if (superseded && !reported) {
        reported = true
        writeSync(1, `${JSON.stringify({ superseded: Date.now() })}\n`)
      }
    })
  })
}

const watched = () => JSON.parse(readFileSync(plan.watch, 'utf8')).checkpoint
const predecessor = plan.watch === undefined ? undefined : watched().upload.file
let reported = false

/** True if a sync of `path` makes the record of a new stream durable that has no predecessor any more. */
function isSuperseded(path) {
  if (plan.watch === undefined || dirname(plan.watch) !== path) return false
  const { upload, previous } = watched()
  return upload.file !== predecessor && previous === undefined
}

for (const name of ['lstatSync', 'statSync', 'readdirSync']) {
  const op = name.replace('Sync', '')
  fs[name] = (path, options) =>
    readStepSync({ op, path: String(path) }, () => callbacks[name](path, options))
}
for (const name of ['fstatSync', 'readSync']) {
  fs[name] = (fd, ...args) =>
    readStepSync(onFile(fd, name.replace('Sync', ''), {}), () => callbacks[name](fd, ...args))
}
for (const name of ['fstat', 'read', 'readFile']) {
  const run = promisify(callbacks[name])
  const original = fs[name]
  const wrapped = (fd, ...args) => readStep(onFile(fd, name, {}), () => run(fd, ...args))
  // Only the forms that the package uses: promisified, on an open file.
  fs[name] = (...args) => original(...args)
  fs[name][promisify.custom] = wrapped
}
// Nothing has imported the module yet, so all importers get this replacement.
const native = createRequire(import.meta.url)('fs-native-extensions')
const { trim } = native
native.trim = (fd, position, size) =>
  step(onFile(fd, 'trim', { position, size }), () => trim(fd, position, size))
const close = promisify(callbacks.close)
replace('close', fd => {
  files.delete(fd)
  return close(fd)
})
fs.closeSync = fd => {
  files.delete(fd)
  closeSync(fd)
}

syncBuiltinESMExports()
