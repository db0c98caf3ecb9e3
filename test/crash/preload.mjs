/**
 * Loaded before a worker: counts the operations that change something below one directory, and at
 * the n-th of them kills the process or lets the operation fail. Can write a trace of them all, from
 * which a disk after a power cut is made. What to do is in the environment, as JSON.
 */
import fs from 'node:fs'
import fsp from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { sep } from 'node:path'
import { promisify } from 'node:util'

/** `{ root, at, do: 'kill' | 'fail', when: 'before' | 'after', code, only, trace }` */
const plan = JSON.parse(process.env['OSS_SPOOL_TEST_DISK'])
const { openSync, writeSync, ftruncateSync, closeSync } = fs
const trace = plan.trace === undefined ? undefined : openSync(plan.trace, 'a')

/** How many operations there were, and how many of them are over. */
let count = 0
let over = 0
/** Open files by descriptor; numbered, since paths change while a file is open. */
const files = new Map()
let opens = 0

process.on('exit', () => {
  writeSync(1, `${JSON.stringify({ operations: count })}\n`)
})

/** What a worker does after its one failure is another upload, and no step of this one. */
const NEXT = /-next(-[0-9a-f]{12})?(\/|$)/

let isNext = false
process.once('oss-spool-test:next', () => (isNext = true))

const inside = path =>
  !isNext && `${path}${sep}`.startsWith(`${plan.root}${sep}`) && !NEXT.test(path)
const die = () => process.kill(process.pid, 'SIGKILL')

function record(entry) {
  over++
  if (trace !== undefined) writeSync(trace, `${JSON.stringify(entry)}\n`)
}

/** Counts an operation that is about to begin. */
function beginning() {
  const met = ++count === plan.at
  if (met && plan.do === 'kill' && plan.when === 'before') die()
  return { met, failing: met && plan.do === 'fail', before: over }
}

function failure({ op, path }) {
  writeSync(1, `${JSON.stringify({ failed: { op, path } })}\n`)
  return Object.assign(new Error(`${plan.code}: injected, ${op} '${path}'`), {
    code: plan.code,
    syscall: op,
    path,
  })
}

function done(entry, { met, before }) {
  record({ ...entry, before })
  if (met && plan.do === 'kill') die()
}

/**
 * Does one operation, unless it is the one.
 * @param half does a part of it: a full disk takes what still fits
 */
async function step(entry, run, half) {
  if (!inside(entry.path)) return run()
  const turn = beginning()
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
  const turn = beginning()
  if (turn.failing) throw failure(entry)
  const result = run()
  done(entry, turn)
  return result
}

const isWriting = flags =>
  typeof flags === 'number' ? (flags & fs.constants.O_CREAT) !== 0 : /[wa]/.test(flags ?? 'r')

/** An open that makes a file is a step; any other is only remembered. */
function opening(path) {
  return { op: 'open', path: String(path), file: ++opens }
}

function opened(fd, entry, flags) {
  if (inside(entry.path)) {
    files.set(fd, entry)
    if (!isWriting(flags)) record({ ...entry, before: over })
  }
  return fd
}

/** What is done to the file of a descriptor. */
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

// --- node:fs ------------------------------------------------------------------------------------

const callbacks = { ...fs }

/** Both forms of a function: `promisify` of a wrapper must give what it gives of the original. */
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
  return opened(isWriting(flags) ? await step(entry, run) : await run(), entry, flags)
})
fs.openSync = (path, flags, mode) => {
  const entry = opening(path)
  const run = () => openSync(path, flags, mode)
  return opened(isWriting(flags) ? stepSync(entry, run) : run(), entry, flags)
}
const write = promisify(callbacks.write)
replace('write', (fd, bytes, offset, length, position) => {
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
  replace(name, fd => step(onFile(fd, 'sync', {}), () => synchronise(fd)))
}
// Not yet imported by anyone: what is replaced here is what they get.
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
